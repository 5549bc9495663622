package fido2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
	"github.com/seed-087d674e/tsh/login"
)

// TestMain plays the programs of libfido2 where it is called by their names.
func TestMain(m *testing.M) {
	programs := map[string]func(){"fido2-token": softkey.TokenMain, "fido2-assert": softkey.AssertMain, "fido2-cred": softkey.CredMain}
	if play := programs[filepath.Base(os.Args[0])]; play != nil {
		play()
		return
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnwrap(t *testing.T) {
	for _, n := range []int{0, 23, 24, 255, 256, 4000} {
		data := bytes.Repeat([]byte{7}, n)
		got, err := unwrap(cborBlob(nil, data))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
	}
	for _, bad := range [][]byte{nil, {0x41}, {0x40, 1}, {0x58}, {0x58, 2, 1}, {0x59, 1}, {0x5a, 0, 0, 0, 1, 1}, {0x61, 'a'}, {0xff}} {
		if _, err := unwrap(bad); err == nil {
			t.Errorf("%x was taken", bad)
		}
	}
}

func TestPick(t *testing.T) {
	alice, bob := resident{user: "alice"}, resident{user: "bob"}
	for _, tc := range []struct {
		list       []resident
		user, want string
	}{
		{[]resident{alice}, "", "alice"},
		{[]resident{alice, bob}, "bob", "bob"},
		{[]resident{alice, bob}, "", "several users (alice, bob)"},
		{[]resident{alice}, "carol", "speaks for alice, not for carol"},
		{nil, "", "not registered"},
		{[]resident{{user: "a\x1b[31m"}}, "x", "not for x"},
	} {
		got, err := pick(tc.list, tc.user)
		said := got.user
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, tc.want) || strings.Contains(said, "\x1b") || err != nil && !errors.Is(err, login.ErrNoKey) {
			t.Errorf("%+v for %q: %q", tc.list, tc.user, said)
		}
	}
}

// What a key says of its make goes to the server in the form of the standard.
func TestAttestationObject(t *testing.T) {
	for _, packed := range []bool{false, true} {
		k := softkey.Key{Packed: packed}
		made, err := k.MakeCredential(softkey.CreateRequest{RPID: "example.com"})
		must(t, err)
		a := &attestation{format: made.Format, authData: made.AuthData, sig: made.Signature}
		if got, want := a.object(), made.AttestationObject(); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x\nwant\n%x", made.Format, got, want)
		}
	}
	with := (&attestation{format: "fido-u2f", authData: []byte{1}, sig: []byte{2}, cert: []byte{3}}).object()
	if want := "a363666d74686669646f2d7532666761747453746d74a26373696741026378356381410368617574684461746141" + "01"; hex.EncodeToString(with) != want {
		t.Errorf("%x", with)
	}
}

func TestAuthDataIsChecked(t *testing.T) {
	hash := sha256.Sum256([]byte("example.com"))
	data := append(hash[:], 1, 0, 0, 0, 1)
	must(t, checkAuthData(data, "example.com"))
	if checkAuthData(data, "example.org") == nil || checkAuthData(data[:36], "example.com") == nil {
		t.Error("an answer for something else was taken")
	}
}

// The first to answer counts; the others are let go before it is over.
func TestFirst(t *testing.T) {
	ended := make(chan struct{}, 2)
	got, err := first(t.Context(), []string{"slow", "quick", "never"}, func(ctx context.Context, name string) (*string, error) {
		if name == "quick" {
			return &name, nil
		}
		<-ctx.Done()
		ended <- struct{}{}
		return nil, ctx.Err()
	})
	if err != nil || *got != "quick" || len(ended) != 2 {
		t.Errorf("%v, %v, %d ended", got, err, len(ended))
	}
	broken := errors.New("broken")
	if _, err := first(t.Context(), []int{1, 2}, func(context.Context, int) (*int, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}
