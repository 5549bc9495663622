//go:build libfido2

package fido2

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
	"github.com/seed-087d674e/tsh/login"
)

const testPIN = "canary-pin"

func request(uv bool, allow ...[]byte) login.AssertRequest {
	return login.AssertRequest{Challenge: make([]byte, 32), RPID: "example.com", Origin: "https://example.com:443", Allow: allow, UserVerification: uv}
}

func typesPIN(pin string) Options {
	return Options{PIN: func(context.Context, string) (string, error) { return pin, nil }}
}

// The library, with the functions that reach for a device replaced: the test
// runs itself again with them loaded first.
func TestLibrary(t *testing.T) {
	if os.Getenv("ONEKEY_ID") != "" {
		speak(t)
		return
	}
	lib := filepath.Join(t.TempDir(), "onekey.so")
	if out, err := exec.Command(testenv.Program(t, "gcc"), "-shared", "-fPIC", "-w", "-o", lib, "testdata/onekey.c", "-lfido2").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	k := &softkey.Key{Packed: true}
	made, err := k.MakeCredential(softkey.CreateRequest{RPID: "example.com", ClientDataHash: make([]byte, 32), UV: true})
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run=^TestLibrary$", "-test.v")
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+lib, "ONEKEY_PIN="+testPIN, "ONEKEY_ID="+hex.EncodeToString(made.ID), "ONEKEY_USER=00",
		"ONEKEY_AUTHDATA="+hex.EncodeToString(made.AuthData), "ONEKEY_SIG="+hex.EncodeToString(made.Signature))
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("spoke")) {
		t.Errorf("%v: %s", err, out)
	}
}

func speak(t *testing.T) {
	unhex := func(name string) []byte {
		b, err := hex.DecodeString(os.Getenv(name))
		must(t, err)
		return b
	}
	id, data, sig := unhex("ONEKEY_ID"), unhex("ONEKEY_AUTHDATA"), unhex("ONEKEY_SIG")
	r, err := Open(typesPIN(testPIN)).Register(t.Context(), login.RegisterRequest{
		Challenge: make([]byte, 32), RPID: "example.com", RPName: "Teleport", Origin: "https://example.com:443", UserID: []byte("handle"), User: "alice",
		Exclude: [][]byte{{1, 2, 3}},
	})
	if err != nil || !bytes.Equal(r.CredentialID, id) || !bytes.Contains(r.AttestationObject, data) || !bytes.Contains(r.AttestationObject, sig) {
		t.Errorf("register: %+v, %v", r, err)
	}
	if _, err := Open(typesPIN("wrong")).Assert(t.Context(), request(true, id)); err == nil || err.Error() != errWrongPIN().Error() {
		t.Errorf("wrong PIN: %v", err)
	}
	if _, err := Open(Options{}).Assert(t.Context(), request(true, id)); !errors.Is(err, login.ErrCannotAsk) {
		t.Errorf("nobody to ask: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(Options{}).Assert(ended, request(false, id)); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	for _, uv := range []bool{false, true} {
		// What a key signs over a new credential has the form of an assertion,
		// with more data; the client does not look at that.
		a, err := Open(typesPIN(testPIN)).Assert(t.Context(), request(uv, id))
		if err != nil || !bytes.Equal(a.CredentialID, id) || !bytes.Equal(a.Signature, sig) {
			t.Errorf("assert: %+v, %v", a, err)
		}
	}
	t.Log("spoke")
}

// Where nothing is plugged in that is said, and what else there is.
func TestNoDevice(t *testing.T) {
	if list, _ := filepath.Glob("/dev/hidraw*"); len(list) > 0 {
		t.Skip("skipped: something is plugged in that may be a key")
	}
	if _, err := Open(Options{}).Assert(t.Context(), request(false, []byte("x"))); !errors.Is(err, login.ErrNoKey) {
		t.Error(err)
	}
}
