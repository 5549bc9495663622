package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// spy notes every operation on the disk, and can fail or act at one.
type spy struct {
	steps []string
	at    func(step string) error
}

func (s *spy) hook(op, path string) error {
	step := op + " " + path
	s.steps = append(s.steps, step)
	if s.at != nil {
		return s.at(step)
	}
	return nil
}

// watched is Begin with a spy that sees all from then on.
func watched(t testing.TB, home string) (*Tx, *spy) {
	t.Helper()
	s := &spy{}
	tx := begun(t, home)
	tx.disk.hook = s.hook
	tx.wait = func(context.Context, time.Duration) error { return nil }
	return tx, s
}

func begun(t testing.TB, home string) *Tx {
	t.Helper()
	tx, err := Begin(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tx.Close)
	return tx
}

// done commits and closes.
func done(tx *Tx) error {
	defer tx.Close()
	return tx.Commit()
}

func put(t testing.TB, home, rel, content string) {
	t.Helper()
	path := filepath.Join(home, rel)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tree is every file below home except our own directory.
func tree(t testing.TB, home string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == home {
			return nil
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(home, path)
		if rel == "config" {
			return fs.SkipDir
		}
		if !d.IsDir() && !strings.HasSuffix(rel, ".lock.tmp") { // where Windows locks
			data, _ := os.ReadFile(path)
			fmt.Fprintf(&b, "%s=%s ", filepath.ToSlash(rel), data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func TestCommitMakesAllChangesInOrderAndThePointerLast(t *testing.T) {
	home := filepath.Join(t.TempDir(), "new", "home")
	tx, s := watched(t, home)
	tx.Write("keys/gate/alice.key", []byte("key"), 0o600)
	tx.Write("keys/gate/alice.crt", []byte("crt"), 0o600)
	tx.Update("known_hosts", 0o600, 100, func(old []byte) ([]byte, error) { return append(old, "line\n"...), nil })
	tx.Write("current-profile", []byte("gate\n"), 0o600)
	if err := done(tx); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, home), "current-profile=gate\n keys/gate/alice.crt=crt keys/gate/alice.key=key known_hosts=line"; got != want {
		t.Errorf("tree is %q, want %q", got, want)
	}
	var order []string
	for _, step := range s.steps {
		if strings.HasPrefix(step, "rename") {
			order = append(order, step)
		}
	}
	want := []string{"rename " + journalFile, "rename keys/gate/alice.key", "rename keys/gate/alice.crt", "rename known_hosts", "rename current-profile"}
	if !slices.Equal(order, want) {
		t.Errorf("order is %q, want %q", order, want)
	}
	if left := ownFiles(t, home); !slices.Equal(left, []string{"lock"}) {
		t.Errorf("left in our directory: %v", left)
	}
}

func ownFiles(t testing.TB, home string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(home, ownDir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// case F04, case F24: content and the journal are on the disk before anything is put in
// place, and what was put in place before the journal goes.
func TestFlushesComeBeforeWhatNeedsThem(t *testing.T) {
	home := t.TempDir()
	tx, s := watched(t, home)
	tx.Write("keys/gate/alice", []byte("key"), 0o600)
	tx.Write("keys/gate/alice.pub", []byte("pub"), 0o600)
	tx.Write("current-profile", []byte("gate"), 0o600)
	if err := done(tx); err != nil {
		t.Fatal(err)
	}
	at := func(step string) int {
		for i, s := range s.steps {
			if parts := strings.Split(s, "/tx-"); parts[0] == step || len(parts) == 2 && parts[0]+"/tx-/"+s[strings.LastIndexByte(s, '/')+1:] == step {
				return i
			}
		}
		t.Fatalf("no %q in %q", step, s.steps)
		return 0
	}
	first, last := at("rename keys/gate/alice"), at("rename current-profile")
	counts := at("rename " + journalFile)
	for _, step := range []string{"fsync " + ownDir + "/tx-/001", "fsync " + ownDir + "/tx-/002", "fsync " + ownDir + "/tx-/003", "fsync " + ownDir + "/tx-/journal"} {
		if at(step) > counts {
			t.Errorf("%s comes after the journal counts", step)
		}
	}
	if counts > first {
		t.Error("the first file is in place before the journal counts")
	}
	if !flushesDirs {
		return
	}
	if gone := at("remove " + journalFile); at("opendir keys/gate") < last || at("opendir keys/gate") > gone || at("opendir .") > gone || slices.Index(s.steps[counts:], "fsync "+ownDir) < 0 {
		t.Errorf("directories are not flushed between renames and the end: %q", s.steps)
	}
}

// case F02, case F03: any failure before the first rename leaves the old state.
func TestFailureBeforeAnythingIsInPlaceChangesNothing(t *testing.T) {
	for n := 1; ; n++ {
		home := t.TempDir()
		put(t, home, "keys/gate/alice.key", "old key")
		put(t, home, "known_hosts", "old\n")
		before := tree(t, home)
		tx, s := watched(t, home)
		tx.Lock("known_hosts", time.Second, time.Millisecond)
		tx.Write("keys/gate/alice.key", []byte("new"), 0o600)
		tx.Update("known_hosts", 0o600, 100, func([]byte) ([]byte, error) { return []byte("new\n"), nil })
		steps, broken, failed, counts := 0, errors.New("broken"), "", false
		s.at = func(step string) error {
			counts = counts || failed == "" && s.steps[max(len(s.steps)-2, 0)] == "rename "+journalFile
			if steps++; steps == n {
				failed = step
				return broken
			}
			return nil
		}
		err := done(tx)
		if counts {
			if n < 20 {
				t.Fatalf("only %d steps before the journal counts", n)
			}
			return
		}
		if left := ownFiles(t, home); len(left) > 1 {
			t.Fatalf("step %d (%s) left %v", n, failed, left)
		}
		if strings.HasPrefix(failed, "close ") {
			continue // of a file that is flushed already, or of one that is given up
		}
		if failed == "" || !errors.Is(err, broken) {
			t.Fatalf("step %d (%s): err = %v", n, failed, err)
		}
		if after := tree(t, home); after != before {
			t.Fatalf("step %d (%s) failed and left %q, want %q", n, failed, after, before)
		}
	}
}

func TestUpdateThatChangesNothingWritesNothing(t *testing.T) {
	home := t.TempDir()
	put(t, home, "known_hosts", "same\n")
	tx, s := watched(t, home)
	tx.Update("known_hosts", 0o600, 100, func(old []byte) ([]byte, error) { return old, nil })
	if err := done(tx); err != nil {
		t.Fatal(err)
	}
	for _, step := range s.steps {
		if strings.HasPrefix(step, "rename") || strings.HasPrefix(step, "create") {
			t.Errorf("did %s", step)
		}
	}
}

func TestUpdateErrorsEndTheCommit(t *testing.T) {
	home := t.TempDir()
	put(t, home, "known_hosts", strings.Repeat("x", 101))
	put(t, home, "a", "old")
	for name, limit := range map[string]int64{"too large": 100, "refused": 200} {
		tx := begun(t, home)
		tx.Write("a", []byte("new"), 0o600)
		tx.Update("known_hosts", 0o600, limit, func([]byte) ([]byte, error) { return nil, errors.New("no") })
		if err := done(tx); err == nil || !strings.Contains(err.Error(), "known_hosts") {
			t.Errorf("%s: err = %v", name, err)
		}
		if data, _ := os.ReadFile(filepath.Join(home, "a")); string(data) != "old" {
			t.Errorf("%s: a = %q", name, data)
		}
	}
}

// case F19: removals go on after an error and can be repeated.
func TestRemovalsGoOnAfterAnError(t *testing.T) {
	home := t.TempDir()
	for _, f := range []string{"a", "b/c/d", "e"} {
		put(t, home, f, "x")
	}
	tx, s := watched(t, home)
	tx.Remove("a")
	tx.Remove("b")
	tx.Remove("missing")
	tx.Remove("e")
	stuck := errors.New("stuck")
	s.at = func(step string) error {
		if step == "remove a" {
			return stuck
		}
		return nil
	}
	if err := done(tx); !errors.Is(err, stuck) {
		t.Errorf("err = %v", err)
	}
	if got := tree(t, home); got != "a=x" {
		t.Errorf("left %q", got)
	}
	again := begun(t, home)
	again.Remove("a")
	again.Remove("b")
	if err := done(again); err != nil || tree(t, home) != "" {
		t.Errorf("second time: %v, left %q", err, tree(t, home))
	}
}

func TestRemovingFromNothingCreatesNothing(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	tx := BeginRemoval(t.Context(), home)
	if err := tx.Trouble(); err != nil {
		t.Fatal(err)
	}
	tx.Remove("keys/gate/alice")
	if err := done(tx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(home); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("home is there: %v", err)
	}
}

func TestPathsOutsideAreRefused(t *testing.T) {
	for _, path := range []string{"", ".", "../x", "/etc/x", "a/../../x"} {
		tx := begun(t, t.TempDir())
		tx.Write(path, nil, 0o600)
		if done(tx) == nil {
			t.Errorf("%q was accepted", path)
		}
	}
}

func TestReadFileIsBounded(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "ten", "0123456789")
	path := filepath.Join(dir, "ten")
	if data, err := ReadFile(path, 10); err != nil || string(data) != "0123456789" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := ReadFile(path, 9); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("one byte too many: %v", err)
	}
	if _, err := ReadFile(dir, 10); err == nil {
		t.Error("a directory was read")
	}
	if _, err := ReadFile(filepath.Join(dir, "none"), 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := ReadFile(path+"\x00", 10); err == nil {
		t.Error("a name with NUL was read")
	}
}
