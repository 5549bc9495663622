//go:build !linux && !freebsd && !netbsd && !openbsd

package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	gokeyring "github.com/zalando/go-keyring"
)

// The person's own keyring is left alone: go-keyring keeps this in memory.
func TestKeysOfTwoLogins(t *testing.T) {
	gokeyring.MockInit()
	var s System
	one, other := bytes.Repeat([]byte{1}, KeySize), bytes.Repeat([]byte{2}, KeySize)
	if _, err := s.Get("one"); !errors.Is(err, ErrMissing) {
		t.Errorf("an empty slot: %v", err)
	}
	for slot, key := range map[string][]byte{"one": one, "other": other} {
		if err := s.Set(slot, key); err != nil {
			t.Fatal(err)
		}
	}
	// case K06: what one slot holds says nothing about another.
	for slot, key := range map[string][]byte{"one": one, "other": other} {
		if got, err := s.Get(slot); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v", slot, got, err)
		}
	}
	for range 2 {
		if err := s.Delete("one"); err != nil {
			t.Error(err)
		}
	}
	// case K05: what another program put into our slot.
	for _, value := range damaged() {
		if err := gokeyring.Set(service, "one", value); err != nil {
			t.Fatal(err)
		}
		if key, err := s.Get("one"); !errors.Is(err, ErrDamaged) || key != nil {
			t.Errorf("%q: %x, %v", value, key, err)
		}
	}
}

// case K05, case K09: errors of go-keyring become ours, without bytes of the entry.
func TestErrorsOfGoKeyring(t *testing.T) {
	for err, want := range map[error]error{
		hex.InvalidByteError('s'):        ErrDamaged,
		hex.ErrLength:                    ErrDamaged,
		base64.CorruptInputError(3):      ErrDamaged,
		errors.New("something\x1b[31m"):  ErrUnavailable,
		gokeyring.ErrUnsupportedPlatform: ErrUnavailable,
	} {
		gokeyring.MockInitWithError(err)
		if _, got := (System{}).Get("slot"); !errors.Is(got, want) || bytes.ContainsRune([]byte(got.Error()), '\x1b') {
			t.Errorf("%q: %q, want %v", err, got, want)
		}
	}
}

// case K02: a prompt of the Keychain that nobody answers.
func TestCallThatHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	_, err := within(10*time.Millisecond, func() (string, error) { <-release; return "", nil })
	if !errors.Is(err, ErrNoAnswer) || err.Error() != "the keyring does not answer within 10ms" {
		t.Errorf("%v, want %v", err, ErrNoAnswer)
	}
}
