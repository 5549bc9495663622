package durable

import (
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

// spy passes everything on to the disk, notes it, and can fail or act at a step.
type spy struct {
	diskFiles
	home  string
	steps []string
	at    func(step string) error
}

func (s *spy) note(op string, paths ...string) error {
	step := op
	for _, p := range paths {
		rel, err := filepath.Rel(s.home, p)
		if err != nil {
			rel = p
		}
		step += " " + filepath.ToSlash(rel)
	}
	s.steps = append(s.steps, step)
	if s.at != nil {
		return s.at(step)
	}
	return nil
}

func (s *spy) mkdir(path string) error {
	if err := s.note("mkdir", path); err != nil {
		return err
	}
	return s.diskFiles.mkdir(path)
}

func (s *spy) create(path string, data []byte, mode fs.FileMode) error {
	if err := s.note("create", path); err != nil {
		return err
	}
	return s.diskFiles.create(path, data, mode)
}

func (s *spy) rename(from, to string) error {
	if err := s.note("rename", to); err != nil {
		return err
	}
	return s.diskFiles.rename(from, to)
}

func (s *spy) remove(path string) error {
	if err := s.note("remove", path); err != nil {
		return err
	}
	return s.diskFiles.remove(path)
}

func (s *spy) syncDir(path string) error {
	if err := s.note("sync", path); err != nil {
		return err
	}
	return s.diskFiles.syncDir(path)
}

func (s *spy) lock(path string) (lock, error) {
	if err := s.note("lock", path); err != nil {
		return nil, err
	}
	return s.diskFiles.lock(path)
}

func watched(home string) (*Tx, *spy) {
	s := &spy{home: home}
	tx := Begin(home)
	tx.files = s
	tx.wait = func(time.Duration) {}
	return tx, s
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
		if !d.IsDir() {
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
	tx, s := watched(home)
	tx.Write("keys/gate/alice.key", []byte("key"), 0o600)
	tx.Write("keys/gate/alice.crt", []byte("crt"), 0o600)
	tx.Update("known_hosts", 0o600, 100, func(old []byte) ([]byte, error) { return append(old, "line\n"...), nil })
	tx.Write("current-profile", []byte("gate\n"), 0o600)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, home), "current-profile=gate\n keys/gate/alice.crt=crt keys/gate/alice.key=key known_hosts=line"; got != want {
		t.Errorf("tree is %q, want %q", got, want)
	}
	var order []string
	for _, step := range s.steps {
		if strings.HasPrefix(step, "rename") || step == "sync keys/gate" {
			order = append(order, step)
		}
	}
	// case F04: what is pointed to is on the disk before the pointer.
	want := []string{"rename keys/gate/alice.key", "rename keys/gate/alice.crt", "sync keys/gate", "rename known_hosts", "rename current-profile"}
	if !slices.Equal(order, want) {
		t.Errorf("order is %q, want %q", order, want)
	}
	left, err := os.ReadDir(filepath.Join(home, stageParent))
	if err != nil || len(left) != 0 {
		t.Errorf("left in our directory: %v, %v", left, err)
	}
}

// case F02, F03: any failure before the first rename leaves the old state.
func TestFailureBeforeTheFirstRenameChangesNothing(t *testing.T) {
	for n := 1; ; n++ {
		home := t.TempDir()
		put(t, home, "keys/gate/alice.key", "old key")
		put(t, home, "known_hosts", "old\n")
		before := tree(t, home)
		tx, s := watched(home)
		tx.Lock("known_hosts", time.Second, time.Millisecond)
		tx.Write("keys/gate/alice.key", []byte("new"), 0o600)
		tx.Update("known_hosts", 0o600, 100, func([]byte) ([]byte, error) { return []byte("new\n"), nil })
		steps, broken, failed := 0, errors.New("broken"), ""
		s.at = func(step string) error {
			if steps++; steps == n {
				failed = step
				return broken
			}
			return nil
		}
		err := tx.Commit()
		if strings.HasPrefix(failed, "rename") {
			if n < 5 {
				t.Fatalf("only %d steps before the first rename", n)
			}
			return
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
	tx, s := watched(home)
	tx.Update("known_hosts", 0o600, 100, func(old []byte) ([]byte, error) { return old, nil })
	if err := tx.Commit(); err != nil {
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
		tx := Begin(home)
		tx.Write("a", []byte("new"), 0o600)
		tx.Update("known_hosts", 0o600, limit, func([]byte) ([]byte, error) { return nil, errors.New("no") })
		if err := tx.Commit(); err == nil || !strings.Contains(err.Error(), "known_hosts") {
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
	tx, s := watched(home)
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
	if err := tx.Commit(); !errors.Is(err, stuck) {
		t.Errorf("err = %v", err)
	}
	if got := tree(t, home); got != "a=x" {
		t.Errorf("left %q", got)
	}
	again := Begin(home)
	again.Remove("a")
	again.Remove("b")
	if err := again.Commit(); err != nil || tree(t, home) != "" {
		t.Errorf("second time: %v, left %q", err, tree(t, home))
	}
}

func TestRemovingFromNothingCreatesNothing(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	tx := Begin(home)
	tx.Remove("keys/gate/alice")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(home); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("home is there: %v", err)
	}
}

func TestPathsOutsideAreRefused(t *testing.T) {
	for _, path := range []string{"", ".", "../x", "/etc/x", "a/../../x"} {
		tx := Begin(t.TempDir())
		tx.Write(path, nil, 0o600)
		if tx.Commit() == nil {
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
