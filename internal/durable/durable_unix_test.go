//go:build unix

package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// flock takes the lock as another client would, on its own open file.
func flock(t *testing.T, path string, how int) (*os.File, error) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
}

// lockAt takes the lock that commits take.
func lockAt(path string) (lock, error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return lockFile(root, filepath.Base(path))
}

// case F18, case F25: another client's lock is waited for, and what it wrote is seen.
func TestLockOfAnotherClientIsRespected(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "known_hosts")
	put(t, home, "known_hosts", "theirs\n")
	other, err := flock(t, path, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	tx, _ := watched(t, home)
	waits := 0
	tx.wait = func(_ context.Context, d time.Duration) error {
		if waits++; waits == 3 {
			put(t, home, "known_hosts", "theirs\nmore of theirs\n")
			other.Close()
		}
		return nil
	}
	tx.Lock("known_hosts", time.Second, 10*time.Millisecond)
	tx.Update("known_hosts", 0o600, 100, func(old []byte) ([]byte, error) { return append(old, "ours\n"...), nil })
	if err := done(tx); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, home); waits != 3 || got != "known_hosts=theirs\nmore of theirs\nours" {
		t.Errorf("after %d waits: %q", waits, got)
	}
}

func TestLockTimesOutBeforeAnythingChanged(t *testing.T) {
	home := t.TempDir()
	put(t, home, "alice.key", "old")
	if _, err := flock(t, filepath.Join(home, "alice.key"), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	tx, _ := watched(t, home)
	var waited time.Duration
	tx.wait = func(_ context.Context, d time.Duration) error { waited += d; return nil }
	tx.Lock("alice.key", 200*time.Millisecond, 50*time.Millisecond)
	tx.Write("alice.key", []byte("new"), 0o600)
	err := done(tx)
	// case F18: the error names the file and, where the system tells, the holder.
	var busy *BusyError
	if !errors.As(err, &busy) || busy.Path != filepath.Join(home, "alice.key") || runtime.GOOS == "linux" && !strings.Contains(err.Error(), fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("err = %v", err)
	}
	if waited != 200*time.Millisecond || tree(t, home) != "alice.key=old" {
		t.Errorf("waited %v, left %q", waited, tree(t, home))
	}
}

// A file that is replaced while we wait must not give us a lock on the old one.
func TestLockFollowsAReplacedFile(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "known_hosts")
	put(t, home, "known_hosts", "old\n")
	first, err := flock(t, path, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lockAt(path)
	if !errors.Is(err, errBusy) {
		t.Fatalf("got %v, %v", l, err)
	}
	put(t, home, "new", "new\n")
	second, err := flock(t, filepath.Join(home, "new"), syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(home, "new"), path); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := lockAt(path); !errors.Is(err, errBusy) {
		t.Errorf("the new file is locked, got %v", err)
	}
	second.Close()
	l, err = lockAt(path)
	if err != nil {
		t.Fatal(err)
	}
	l.release()
}

// Whoever opens the new file before we are done waits as it would for the old.
func TestTheNewFileIsLockedToo(t *testing.T) {
	home := t.TempDir()
	tx, s := watched(t, home)
	tx.Lock("keys/alice.key", time.Second, time.Millisecond)
	tx.Lock("keys/alice.key", time.Second, time.Millisecond) // once is enough
	tx.Write("keys/alice.key", []byte("key"), 0o600)
	tx.Write("keys/alice.crt", []byte("crt"), 0o600)
	tx.Lock("known_hosts", time.Second, time.Millisecond)
	tx.Write("known_hosts", []byte("x"), 0o600)
	tx.Write("current-profile", []byte("x"), 0o600)
	key, hosts := filepath.Join(home, "keys", "alice.key"), filepath.Join(home, "known_hosts")
	checked := 0
	s.at = func(step string) error {
		free := func(path string) bool {
			f, err := flock(t, path, syscall.LOCK_SH)
			f.Close()
			return err == nil
		}
		switch step {
		case "rename keys/alice.crt":
			checked++
			if free(key) || free(hosts) {
				t.Error("the new key file or known_hosts is not locked")
			}
		case "opendir keys":
			// Others give up on a key file after a fifth of a second.
			checked++
			if !free(key) || !free(hosts) {
				t.Error("a file is locked during a flush")
			}
		case "rename current-profile":
			checked++
			if free(hosts) {
				t.Error("known_hosts is not locked")
			}
		}
		return nil
	}
	if err := done(tx); err != nil || checked != 3 {
		t.Fatal(err, checked)
	}
	for _, path := range []string{key, hosts} {
		if _, err := flock(t, path, syscall.LOCK_EX); err != nil {
			t.Errorf("the lock stays: %v", err)
		}
	}
}

func TestReadersLock(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "alice.key")
	if _, ok := TryShared(path); !ok {
		t.Error("no file, and yet it is locked")
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("reading made a file")
	}
	put(t, home, "alice.key", "key")
	release, ok := TryShared(path)
	again, ok2 := TryShared(path)
	if !ok || !ok2 {
		t.Error("readers exclude each other")
	}
	if _, err := lockAt(path); !errors.Is(err, errBusy) {
		t.Errorf("a writer got in: %v", err)
	}
	release()
	again()
	writer, err := lockAt(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := TryShared(path); ok {
		t.Error("a reader got in")
	}
	writer.release()
}

func TestLockGoesThroughTheLinkOfTheOldLayout(t *testing.T) {
	home := t.TempDir()
	put(t, home, "alice", "rsa")
	if err := os.Symlink("alice", filepath.Join(home, "alice.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := flock(t, filepath.Join(home, "alice"), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := lockAt(filepath.Join(home, "alice.key")); !errors.Is(err, errBusy) {
		t.Errorf("err = %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(home, "bob.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := lockAt(filepath.Join(home, "bob.key")); !errors.Is(err, ErrLink) {
		t.Errorf("link elsewhere: %v", err)
	}
}

// A file that was made only to be locked does not outlive a failed commit.
func TestFailedCommitLeavesNoEmptyLockFile(t *testing.T) {
	home := t.TempDir()
	tx, s := watched(t, home)
	tx.Lock("alice.key", time.Second, time.Millisecond)
	tx.Write("alice.key", []byte("key"), 0o600)
	s.at = func(step string) error {
		if strings.HasPrefix(step, "rename alice") {
			return errors.New("broken")
		}
		return nil
	}
	if done(tx) == nil || tree(t, home) != "" {
		t.Errorf("left %q", tree(t, home))
	}
}

// case F14: whatever the umask, files are ours alone from the first instant.
func TestModesDoNotDependOnTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o777, 0o022} {
		home := filepath.Join(t.TempDir(), "home")
		old := syscall.Umask(mask)
		tx, s := watched(t, home)
		s.at = func(step string) error { // look at the staged file right after its creation
			if step == "rename keys/gate/alice" {
				staged, _ := filepath.Glob(filepath.Join(home, ownDir, stagePrefix+"*", "001"))
				if info, err := os.Stat(staged[0]); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("umask %o: staged %v, %v", mask, info.Mode(), err)
				}
			}
			return nil
		}
		tx.Write("keys/gate/alice", []byte("key"), 0o600)
		err := done(tx)
		syscall.Umask(old)
		if err != nil {
			t.Fatalf("umask %o: %v", mask, err)
		}
		for rel, want := range map[string]fs.FileMode{".": 0o700, "keys": 0o700, "keys/gate": 0o700, "keys/gate/alice": 0o600, ownDir: 0o700} {
			if info, err := os.Stat(filepath.Join(home, rel)); err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %o: %s is %v, want %v", mask, rel, info.Mode().Perm(), want)
			}
		}
	}
}

// case F13: links, pipes and devices where files belong.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "file", "x")
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(link, 10); !errors.Is(err, ErrLink) {
		t.Errorf("link: %v", err)
	}
	for _, path := range []string{pipe, "/dev/zero"} {
		if _, err := ReadFile(path, 10); err == nil {
			t.Errorf("%s was read", path)
		}
	}
}

func TestLinksAreReplacedAndDirectoriesKept(t *testing.T) {
	home := t.TempDir()
	put(t, home, "elsewhere", "untouched")
	put(t, home, "dir/x", "x")
	if err := os.Symlink("elsewhere", filepath.Join(home, "link")); err != nil {
		t.Fatal(err)
	}
	tx := begun(t, home)
	tx.Write("link", []byte("own"), 0o600)
	if err := done(tx); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, home); got != "dir/x=x elsewhere=untouched link=own" {
		t.Errorf("left %q", got)
	}
	tx = begun(t, home)
	tx.Write("link", []byte("again"), 0o600)
	tx.Write("dir", []byte("own"), 0o600)
	if err := done(tx); err == nil || strings.Contains(tree(t, home), "again") {
		t.Errorf("%v, left %q", err, tree(t, home))
	}
}

// case F13: a directory that is a link could lead secrets anywhere; only home may.
func TestLinkedDirectories(t *testing.T) {
	real, home := t.TempDir(), filepath.Join(t.TempDir(), "home")
	if err := os.Symlink(real, home); err != nil {
		t.Fatal(err)
	}
	tx := begun(t, home)
	tx.Write("keys/a", []byte("x"), 0o600)
	if err := done(tx); err != nil {
		t.Fatalf("home is a link: %v", err)
	}
	if err := os.Rename(filepath.Join(real, "keys"), filepath.Join(real, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("moved", filepath.Join(real, "keys")); err != nil {
		t.Fatal(err)
	}
	tx = begun(t, home)
	tx.Write("keys/a", []byte("y"), 0o600)
	if err := done(tx); !errors.Is(err, ErrLink) {
		t.Errorf("keys is a link: %v", err)
	}
	put(t, real, "file", "")
	if err := PlainDirs(real, "file/x"); err == nil {
		t.Error("a file passed as a directory")
	}
}

// case F14: private files that others can read are told apart.
func TestExposedPrivateFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "key", "secret text")
	path := filepath.Join(dir, "key")
	for mode, exposed := range map[fs.FileMode]fs.FileMode{0o600: 0, 0o400: 0, 0o644: 0o644, 0o620: 0o620, 0o777: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		data, got, err := ReadPrivate(path, 100)
		if err != nil || string(data) != "secret text" || got != exposed {
			t.Errorf("mode %o: %q, exposed %o, %v", mode, data, got, err)
		}
	}
}

// Directories may be on file systems of their own: then a rename is refused, and new
// content is written once more, there. Killed anywhere, nothing else changes.
func TestDirectoriesOnAnotherFileSystem(t *testing.T) {
	for n, over := 1, false; !over; n++ {
		home := oldState(t)
		tx := begun(t, home)
		tx.disk.hook = elsewhere(killAt(n, false))
		changeAll(tx)
		over = done(tx) == nil
		saw := viewed(t, home)
		if saw != oldTree && saw != newTree || over && saw != newTree {
			t.Fatalf("killed at operation %d: a reader sees %q", n, saw)
		}
		again := newTx(t.Context(), home)
		again.disk.hook = elsewhere(func(string, string) error { return nil })
		if err := again.begin(); err != nil {
			t.Fatalf("killed at operation %d: %v", n, err)
		}
		again.Close()
		if now := tree(t, home); now != saw {
			t.Fatalf("killed at operation %d: a reader saw %q, then it was %q", n, saw, now)
		}
	}
}

// elsewhere refuses to rename to each name below keys once, as it is refused from
// another file system.
func elsewhere(next func(op, path string) error) func(op, path string) error {
	seen := map[string]bool{}
	return func(op, path string) error {
		if err := next(op, path); err != nil {
			return err
		}
		if op == "rename" && strings.HasPrefix(path, "keys/") && !seen[path] {
			seen[path] = true
			return syscall.EXDEV
		}
		return nil
	}
}
