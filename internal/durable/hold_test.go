package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// case F18: a lock that is kept across the network is one of its own: nobody who stores
// something waits for it, and it says who has it.
func TestHold(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	h, err := TryHold(home, "login-1.lock")
	if err != nil {
		t.Fatal(err)
	}
	h.Write([]byte("a long text of the one before"))
	h.Write([]byte("mine"))
	var busy *BusyError
	if _, err := TryHold(home, "login-1.lock"); !errors.As(err, &busy) {
		t.Errorf("%v while it is held", err)
	}
	if got, err := ReadFile(filepath.Join(home, ownDir, "login-1.lock"), 100); err != nil || string(got) != "mine" {
		t.Errorf("%q, %v", got, err)
	}
	other, err := TryHold(home, "login-2.lock")
	if err != nil {
		t.Errorf("another name: %v", err)
	} else {
		other.Release()
	}
	tx, err := Begin(t.Context(), home)
	if err != nil {
		t.Fatalf("a transaction beside it: %v", err)
	}
	tx.Write("file", []byte("x"), 0o600)
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	tx.Close()
	h.Release()
	again, err := TryHold(home, "login-1.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	if got, err := ReadFile(filepath.Join(home, ownDir, "login-1.lock"), 100); err != nil || string(got) != "mine" {
		t.Errorf("taking it changed the text to %q, %v", got, err)
	}
	for _, name := range []string{"", "../lock", "a/b"} {
		if _, err := TryHold(home, name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

// case F18: a lock on a file that was replaced is none.
func TestHoldOfReplacedFile(t *testing.T) {
	home := t.TempDir()
	h, err := TryHold(home, "login.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	if err := os.Remove(filepath.Join(home, ownDir, "login.lock")); err != nil {
		t.Skip("a file that is open cannot be removed here")
	}
	again, err := TryHold(home, "login.lock")
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}
