//go:build unix

package durable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const stranger, person = 54321, 54322

// openHome is a directory that other users can get to. Only root can give files
// away, so without root there is nothing to test.
func openHome(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can make files of other users")
	}
	home := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(home), 0o755), os.Chmod(home, 0o755)); err != nil {
		t.Fatal(err)
	}
	return home
}

// asPerson makes f run as an ordinary user.
func asPerson(t *testing.T, f func()) {
	t.Helper()
	if err := syscall.Seteuid(person); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Seteuid(0); err != nil {
			panic(err)
		}
	}()
	f()
}

// case F13: what belongs to somebody else is neither trusted nor written to; root
// reads it.
func TestFilesOfAnotherUser(t *testing.T) {
	for _, foreign := range []string{".", "keys", "keys/gate", "keys/gate/alice", "known_hosts"} {
		home := openHome(t)
		put(t, home, "keys/gate/alice", "key")
		put(t, home, "known_hosts", "x")
		var all []string
		for _, rel := range []string{".", "keys", "keys/gate", "keys/gate/alice", "known_hosts"} {
			path := filepath.Join(home, rel)
			all = append(all, path)
			owner := person
			if rel == foreign {
				owner = stranger
			}
			if err := errors.Join(os.Chown(path, owner, 0), os.Chmod(path, 0o755)); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(home, foreign)
		refused := func(what string, err error) {
			t.Helper()
			var owned *OwnerError
			if !errors.As(err, &owned) || owned.Path != path || owned.UID != stranger ||
				!strings.Contains(err.Error(), path+" belongs to another user (uid 54321)") {
				t.Errorf("%s, %s is foreign: %v", what, foreign, err)
			}
		}
		if _, err := CheckOwners(all...); err != nil {
			t.Errorf("root may not read: %v", err)
		}
		write := func() error {
			tx, err := Begin(t.Context(), home)
			if err != nil {
				return err
			}
			defer tx.Close()
			tx.Write("keys/gate/alice", []byte("new"), 0o600)
			tx.Write("known_hosts", []byte("new"), 0o600)
			return done(tx)
		}
		before := tree(t, home)
		asPerson(t, func() {
			_, err := CheckOwners(all...)
			refused("reading", err)
			refused("writing", write())
			if foreign == "keys/gate/alice" {
				_, _, err := ReadPrivate(path, 100)
				refused("reading a key", err)
			}
		})
		if err := write(); err == nil || tree(t, home) != before {
			t.Errorf("root wrote below %s: %v", foreign, err)
		}
	}
}

// case F13: what root owns is as good as ours.
func TestFilesOfRoot(t *testing.T) {
	home := openHome(t)
	put(t, home, "known_hosts", "x")
	asPerson(t, func() {
		if _, err := CheckOwners(home, filepath.Join(home, "known_hosts"), filepath.Join(home, "missing")); err != nil {
			t.Error(err)
		}
	})
}

// case F14: directories that others may write to are found; a link counts as what
// it leads to.
func TestLooseDirectories(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "file", "")
	var paths, want []string
	for mode, loose := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o770: true, 0o702: true, 0o777 | os.ModeSticky: true} {
		path := filepath.Join(dir, mode.String())
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, mode), os.Symlink(path, path+"-link")); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path, path+"-link")
		if loose {
			want = append(want, path, path+"-link")
		}
	}
	if err := os.Chmod(filepath.Join(dir, "file"), 0o666); err != nil {
		t.Fatal(err)
	}
	got, err := CheckOwners(append(paths, filepath.Join(dir, "file"))...)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("found %v, %v; want %v", got, err, want)
	}
}

// case F13: a journal that others could have written is no word of ours: it is neither
// read through nor carried out, by root neither.
func TestForgedJournals(t *testing.T) {
	for name, forge := range map[string]func(home string) error{
		"config is of another user":      func(home string) error { return os.Chown(filepath.Join(home, "config"), stranger, 0) },
		"the journal is of another user": func(home string) error { return os.Chown(filepath.Join(home, journalFile), stranger, 0) },
		"the stage is of another user": func(home string) error {
			stages, _ := filepath.Glob(filepath.Join(home, ownDir, stagePrefix+"*"))
			return os.Chown(stages[0], stranger, 0)
		},
	} {
		openHome(t)
		home := pendingHome(t)
		before := tree(t, home)
		if err := forge(home); err != nil {
			t.Fatal(err)
		}
		if v := Look(home); len(v.pending) != 0 {
			t.Errorf("%s: a reader believes it", name)
		}
		_ = Settle(t.Context(), home)
		if now := tree(t, home); now != before {
			t.Errorf("%s: it was carried out: %q", name, now)
		}
	}
}

// case F13: as long as others can write there a reader does not look through a journal.
func TestJournalWhereOthersCanWrite(t *testing.T) {
	home := pendingHome(t)
	if err := os.Chmod(filepath.Join(home, ownDir), 0o777); err != nil {
		t.Fatal(err)
	}
	if v := Look(home); len(v.pending) != 0 {
		t.Error("a reader believes it")
	}
}

// case F13: root does not make a directory in the home of somebody else.
func TestRootInAForeignHome(t *testing.T) {
	dir := openHome(t)
	if err := os.Chown(dir, stranger, 0); err != nil {
		t.Fatal(err)
	}
	var owned *OwnerError
	if _, err := Begin(t.Context(), filepath.Join(dir, "new", "home")); !errors.As(err, &owned) {
		t.Errorf("err = %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// case F13, case F14: a directory that many share stays shared, and a lock with another name
// is not written to.
func TestWhatIsSharedOnPurpose(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := Protect(dir); err == nil {
		t.Error("a shared directory was closed")
	}
	home := t.TempDir()
	put(t, home, "victim", "victim")
	put(t, home, ownDir+"/x", "")
	if err := os.Link(filepath.Join(home, "victim"), filepath.Join(home, lockPath)); err != nil {
		t.Fatal(err)
	}
	if _, err := Begin(t.Context(), home); err == nil || tree(t, home) != "victim=victim" {
		t.Errorf("%v, left %q", err, tree(t, home))
	}
}

// case F14: a directory for settings that somebody made with a shared umask is closed
// before our journal lies in it: a change that is interrupted then is not lost.
func TestSharedUmask(t *testing.T) {
	home := oldState(t)
	put(t, home, "config/config.yaml", "x")
	if err := os.Chmod(filepath.Join(home, "config"), 0o775); err != nil {
		t.Fatal(err)
	}
	tx := begun(t, home)
	tx.disk.hook = func(op, path string) error {
		if op == "rename" && path == "keys/gate/alice.crt" {
			return errKilled
		}
		return nil
	}
	changeAll(tx)
	if done(tx) == nil {
		t.Fatal("not interrupted")
	}
	if saw := viewed(t, home); saw != newTree {
		t.Errorf("a reader sees %q", saw)
	}
	if info, err := os.Stat(filepath.Join(home, "config")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("config is %v, %v", info.Mode(), err)
	}
}
