package durable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func stages(t *testing.T, home string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(home, stageParent))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// case F19, F21: what killed processes left goes at once, whatever its age, and
// nothing else.
func TestLeftoversAreSwept(t *testing.T) {
	for name, change := range map[string]func(*Tx){
		"a commit that writes":  func(tx *Tx) { tx.Write("a", nil, 0o600) },
		"a commit that removes": func(tx *Tx) { tx.Remove("a") },
	} {
		home := t.TempDir()
		put(t, home, filepath.Join(stageParent, "tx-OLD", "001"), "secret")
		put(t, home, filepath.Join(stageParent, "tx-NEW", stageLock), "")
		put(t, home, filepath.Join(stageParent, "tx-NEW", "001"), "secret")
		put(t, home, filepath.Join(stageParent, "other", "001"), "somebody's")
		put(t, home, filepath.Join(stageParent, "tx-file"), "somebody's")
		put(t, home, filepath.Join(stageParent, "tx-BUSY", "001"), "of a running process")
		busy := filepath.Join(home, stageParent, "tx-BUSY")
		l, err := (diskFiles{}).lock(filepath.Join(busy, stageLock))
		if err != nil {
			t.Fatal(err)
		}
		tx := Begin(home)
		change(tx)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if left := stages(t, home); !slices.Equal(left, []string{"other", "tx-BUSY", "tx-file"}) {
			t.Errorf("%s: left %v", name, left)
		}
		if left := Sweep(home); !slices.Equal(left, []string{busy}) {
			t.Errorf("%s: reported %v", name, left)
		}
		l.release(false)
		if left := Sweep(home); len(left) != 0 || slices.Contains(stages(t, home), "tx-BUSY") {
			t.Errorf("%s: left after its end: %v", name, left)
		}
	}
}

// case F21: a running commit keeps its directory, however often others sweep.
func TestRunningCommitIsNotSwept(t *testing.T) {
	home := t.TempDir()
	tx, s := watched(home)
	tx.Write("keys/a", []byte("x"), 0o600)
	tx.Write("current-profile", []byte("x"), 0o600)
	swept := 0
	s.at = func(step string) error {
		if strings.HasPrefix(step, "rename") {
			swept++
			if left := Sweep(home); len(left) != 1 {
				t.Errorf("at %s: in use are %v", step, left)
			}
		}
		return nil
	}
	if err := tx.Commit(); err != nil || swept != 2 {
		t.Fatal(err, swept)
	}
	if left := stages(t, home); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// case F21: a sweep between making the directory and locking it is survived.
func TestSweepBeforeTheLockIsSurvived(t *testing.T) {
	home := t.TempDir()
	tx, s := watched(home)
	tx.Write("a", []byte("x"), 0o600)
	sweeps := 0
	s.at = func(step string) error {
		if strings.HasPrefix(step, "lock "+stageParent) && sweeps < 3 {
			sweeps++
			Sweep(home)
		}
		return nil
	}
	if err := tx.Commit(); err != nil || sweeps != 3 || tree(t, home) != "a=x" {
		t.Errorf("%v after %d sweeps, tree %q", err, sweeps, tree(t, home))
	}
}

// case F18: all locks together take no more than 5 s, and the error names the file.
func TestAllLocksShareOneDeadline(t *testing.T) {
	home := t.TempDir()
	tx, s := watched(home)
	var waited time.Duration
	tx.wait = func(d time.Duration) { waited += d }
	for _, f := range []string{"alice.key", "known_hosts"} {
		tx.Lock(f, 5*time.Second, 10*time.Millisecond)
		tx.Write(f, []byte("new"), 0o600)
	}
	s.at = func(step string) error {
		if step == "lock known_hosts" || step == "lock alice.key" && waited < 3*time.Second {
			return errBusy
		}
		return nil
	}
	err := tx.Commit()
	if !errors.Is(err, errBusy) || !strings.Contains(err.Error(), filepath.Join(home, "known_hosts")) {
		t.Errorf("err = %v", err)
	}
	if waited != maxLockWait || tree(t, home) != "" {
		t.Errorf("waited %v, left %q", waited, tree(t, home))
	}
}
