package durable

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// case F02: what could not be finished of an earlier change is an error of its own: the
// caller's change does not count.
func TestWhatCannotBeFinishedIsNotTheCallersChange(t *testing.T) {
	home := pendingHome(t)
	ctx := WithFaults(t.Context(), func(op, path string) error {
		if op == "fsync" && path == "keys/gate" {
			return errKilled
		}
		return nil
	})
	_, err := Begin(ctx, home)
	var unfinished *UnfinishedError
	if !errors.Is(err, errKilled) || errors.As(err, &unfinished) {
		t.Errorf("err = %v", err)
	}
	begun(t, home).Close()
	if now := tree(t, home); now != newTree {
		t.Errorf("left %q", now)
	}
}

// case F02: a journal that cannot be removed is in nobody's way, although what it names
// is gone.
func TestJournalThatStays(t *testing.T) {
	home := pendingHome(t)
	put(t, home, "known_hosts", "first\ntheirs\n")
	ctx := WithFaults(t.Context(), func(op, path string) error {
		if op == "remove" && path == journalFile {
			return errKilled
		}
		return nil
	})
	for range 2 {
		tx, err := Begin(ctx, home)
		if err != nil {
			t.Fatal(err)
		}
		tx.Close()
		if data, err := Look(home).ReadFile("known_hosts", 100); err != nil || string(data) != "first\ntheirs\nours\n" {
			t.Errorf("known_hosts is %q, %v", data, err)
		}
	}
	begun(t, home).Close()
	if left := ownFiles(t, home); !slices.Equal(left, []string{"lock"}) {
		t.Errorf("left %v", left)
	}
}

// case F01, case F25: a missing file that somebody locks becomes an empty one. That is no
// change of it.
func TestLockOnAMissingFileIsNoChange(t *testing.T) {
	home := t.TempDir()
	tx := begun(t, home)
	tx.disk.hook = func(op, path string) error {
		if op == "rename" && path != journalFile || op == "remove" {
			return errKilled
		}
		return nil
	}
	tx.Lock("keys/gate/alice.key", time.Second, time.Millisecond)
	tx.Write("keys/gate/alice.key", []byte("key"), 0o600)
	tx.Write("keys/gate/alice.crt", []byte("crt"), 0o600)
	_ = done(tx)
	put(t, home, "keys/gate/alice.key", "")
	const want = "keys/gate/alice.crt=crt keys/gate/alice.key=key"
	if saw := viewed(t, home); saw != want {
		t.Errorf("a reader sees %q", saw)
	}
	begun(t, home).Close()
	if now := tree(t, home); now != want {
		t.Errorf("left %q", now)
	}
}

// A reader finds files by name that are not in place yet, and misses those that go.
func TestDirectoryWithAPendingChange(t *testing.T) {
	home := pendingHome(t)
	put(t, home, "keys/gate/other", "")
	for dir, want := range map[string]string{
		".": "config current-profile keys known_hosts", "keys/gate": "alice.crt alice.key other", filepath.Join("keys", "gate") + "/": "alice.crt alice.key other",
	} {
		entries, err := Look(home).ReadDir(dir)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
			if info, err := e.Info(); err != nil || info.IsDir() != e.IsDir() {
				t.Errorf("%s: %v, %v", e.Name(), info, err)
			}
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", dir, got, err, want)
		}
	}
	if _, err := Look(home).ReadDir("keys/port"); err == nil {
		t.Error("a directory that is missing was read")
	}
}
