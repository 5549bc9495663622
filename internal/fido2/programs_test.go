//go:build unix && !libfido2

package fido2

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
	"github.com/seed-087d674e/tsh/login"
)

const testPIN = "canary-pin"

// plugIn has the programs see keys, in files, and returns their paths.
func plugIn(t *testing.T, keys ...*softkey.Key) (paths []string) {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	for _, name := range []string{"fido2-token", "fido2-assert", "fido2-cred"} {
		must(t, os.Symlink(self, filepath.Join(bin, name)))
	}
	for i, k := range keys {
		path := filepath.Join(bin, "a key no. "+string(rune('0'+i)))
		must(t, k.Save(path))
		paths = append(paths, path)
	}
	t.Setenv("PATH", bin)
	t.Setenv("TSH_TEST_KEYS", strings.Join(paths, string(filepath.ListSeparator)))
	return paths
}

func newKey(t *testing.T, users ...string) (*softkey.Key, [][]byte) {
	t.Helper()
	k := &softkey.Key{PIN: testPIN}
	var ids [][]byte
	for _, user := range users {
		made, err := k.MakeCredential(softkey.CreateRequest{RPID: "example.com", UserID: []byte("handle of " + user), UserName: user, Resident: true})
		must(t, err)
		ids = append(ids, made.ID)
	}
	return k, ids
}

func request(allow ...[]byte) login.AssertRequest {
	return login.AssertRequest{Challenge: make([]byte, 32), RPID: "example.com", Origin: "https://example.com:443", Allow: allow, UserVerification: len(allow) == 0}
}

func typesPIN(pin string) Options {
	return Options{PIN: func(context.Context, string) (string, error) { return pin, nil }}
}

func TestAssert(t *testing.T) {
	k, ids := newKey(t, "alice")
	other, _ := newKey(t, "mallory")
	plugIn(t, other, k)
	a, err := Open(Options{}).Assert(t.Context(), request([]byte("unknown"), ids[0]))
	if err != nil || !bytes.Equal(a.CredentialID, ids[0]) || len(a.UserHandle) > 0 || len(a.Signature) == 0 || a.AuthenticatorData[32]&1 == 0 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := Open(Options{}).Assert(t.Context(), request([]byte("unknown"))); !errors.Is(err, login.ErrNoKey) || !strings.Contains(err.Error(), "none of the 2") {
		t.Error(err)
	}
}

func TestAssertWithoutAUser(t *testing.T) {
	k, _ := newKey(t, "alice", "bob b")
	plugIn(t, k)
	req := request()
	req.User = "bob b"
	a, err := Open(typesPIN(testPIN)).Assert(t.Context(), req)
	if err != nil || string(a.UserHandle) != "handle of bob b" || a.AuthenticatorData[32]&4 == 0 {
		t.Errorf("%+v, %v", a, err)
	}
	req.User = ""
	if _, err := Open(typesPIN(testPIN)).Assert(t.Context(), req); !errors.Is(err, login.ErrNoKey) {
		t.Error(err)
	}
	if _, err := Open(typesPIN("wrong")).Assert(t.Context(), req); err == nil || err.Error() != errWrongPIN().Error() {
		t.Error(err)
	}
	if _, err := Open(Options{}).Assert(t.Context(), req); !errors.Is(err, login.ErrCannotAsk) {
		t.Error(err)
	}
}

// The key is let go as soon as the context ends.
func TestAssertIsCancelled(t *testing.T) {
	k, ids := newKey(t, "alice")
	paths := plugIn(t, k)
	must(t, os.WriteFile(paths[0]+softkey.Untouched, nil, 0o600))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the person gave up")
	timer := time.AfterFunc(300*time.Millisecond, func() { cancel(why) })
	defer timer.Stop()
	if _, err := Open(Options{}).Assert(ctx, request(ids...)); !errors.Is(err, why) {
		t.Error(err)
	}
}

// A program that is killed by the ^C that is about to end everything has not failed.
func TestKilledByWhatEndsUs(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	pressed := errors.New("^C")
	killed := &call{path: "/bin/sh", args: []string{"-c", "kill -INT $$"}}
	time.AfterFunc(50*time.Millisecond, func() { cancel(pressed) })
	if _, err := killed.run(ctx); err != pressed {
		t.Errorf("%v", err)
	}
	var failed *programError
	if _, err := killed.run(t.Context()); !errors.As(err, &failed) {
		t.Errorf("nothing else ends: %v", err)
	}
}

func TestRegister(t *testing.T) {
	k, ids := newKey(t, "alice")
	fresh, _ := newKey(t)
	plugIn(t, k, fresh)
	req := login.RegisterRequest{
		Challenge: make([]byte, 32), RPID: "example.com", RPName: "Teleport", Origin: "https://example.com:443",
		UserID: []byte("handle"), User: "alice", Exclude: ids, Resident: true, UserVerification: true,
	}
	r, err := Open(typesPIN(testPIN)).Register(t.Context(), req)
	if err != nil || len(r.CredentialID) == 0 || !bytes.Contains(r.AttestationObject, r.CredentialID) {
		t.Fatalf("%+v, %v", r, err)
	}
	req.Exclude = append(req.Exclude, r.CredentialID)
	if _, err := Open(typesPIN(testPIN)).Register(t.Context(), req); !errors.Is(err, login.ErrNoKey) {
		t.Errorf("both keys are registered: %v", err)
	}
}

func TestNothingToSpeakWith(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if Open(Options{}) != nil {
		t.Error("programs were found where there are none")
	}
	plugIn(t)
	if _, err := Open(Options{}).Assert(t.Context(), request([]byte("x"))); !errors.Is(err, login.ErrNoKey) {
		t.Error(err)
	}
}

// The output of a program is bounded, and a program that is none is an error.
func TestHostilePrograms(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"fido2-token", "fido2-assert", "fido2-cred"} {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nexec 2>/dev/null\nwhile :; do echo '/dev/x: vendor=0x1'; done\n"), 0o700))
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+"/bin")
	if _, err := Open(Options{}).Assert(t.Context(), request([]byte("x"))); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// The real programs, with a key that is a library loaded before theirs: command
// line, input and output are as this package takes them to be.
func TestRealPrograms(t *testing.T) {
	gcc := testenv.Program(t, "gcc")
	for _, name := range []string{"fido2-token", "fido2-assert", "fido2-cred"} {
		testenv.Program(t, name)
	}
	if _, err := os.Stat("/usr/include/fido.h"); err != nil {
		testenv.Missing(t, "libfido2-dev is not installed")
	}
	lib := filepath.Join(t.TempDir(), "onekey.so")
	if out, err := exec.Command(gcc, "-shared", "-fPIC", "-w", "-o", lib, "testdata/onekey.c", "-lfido2").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	k := &softkey.Key{Packed: true}
	_, hash := softkey.ClientData("webauthn.create", "https://example.com:443", make([]byte, 32))
	made, err := k.MakeCredential(softkey.CreateRequest{RPID: "example.com", ClientDataHash: hash, UV: true})
	must(t, err)
	t.Setenv("LD_PRELOAD", lib)
	t.Setenv("ONEKEY_PIN", testPIN)
	t.Setenv("ONEKEY_ID", hex.EncodeToString(made.ID))
	t.Setenv("ONEKEY_USER", hex.EncodeToString([]byte("handle")))
	set := func(data, sig []byte) {
		t.Setenv("ONEKEY_AUTHDATA", hex.EncodeToString(data))
		t.Setenv("ONEKEY_SIG", hex.EncodeToString(sig))
	}
	set(made.AuthData, made.Signature)
	r, err := Open(typesPIN(testPIN)).Register(t.Context(), login.RegisterRequest{
		Challenge: make([]byte, 32), RPID: "example.com", Origin: "https://example.com:443", UserID: []byte("handle"), User: "alice", UserVerification: true,
	})
	if err != nil || !bytes.Equal(r.AttestationObject, made.AttestationObject()) || !bytes.Equal(r.CredentialID, made.ID) {
		t.Errorf("register: %+v, %v", r, err)
	}
	list, err := k.GetAssertion(softkey.GetRequest{RPID: "example.com", ClientDataHash: hash, Allow: [][]byte{made.ID}, UV: true})
	must(t, err)
	set(list[0].AuthData, list[0].Signature)
	for name, req := range map[string]login.AssertRequest{"with a credential": request(made.ID), "without": request()} {
		a, err := Open(typesPIN(testPIN)).Assert(t.Context(), req)
		if err != nil || !bytes.Equal(a.AuthenticatorData, list[0].AuthData) || !bytes.Equal(a.Signature, list[0].Signature) || !bytes.Equal(a.CredentialID, made.ID) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if err == nil && len(req.Allow) == 0 && string(a.UserHandle) != "handle" {
			t.Errorf("%s: user handle %q", name, a.UserHandle)
		}
	}
	if _, err := Open(typesPIN("wrong")).Assert(t.Context(), request()); err == nil || err.Error() != errWrongPIN().Error() {
		t.Errorf("wrong PIN: %v", err)
	}
	set(nil, nil)
	if _, err := Open(Options{}).Assert(t.Context(), request(made.ID)); !errors.Is(err, login.ErrNoKey) {
		t.Errorf("no credential: %v", err)
	}
}
