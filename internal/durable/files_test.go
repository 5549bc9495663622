package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

func twoFiles() []File {
	return []File{{"id-cert.pub", []byte("new certificate\n")}, {"id", []byte("new key\n")}}
}

// names lists a directory, without reading it.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestWriteFiles(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFiles(t.Context(), dir, twoFiles(), false); err != nil {
		t.Fatal(err)
	}
	if got := testenv.Read(t, filepath.Join(dir, "id")); got != "new key\n" || names(t, dir) != "id id-cert.pub" {
		t.Errorf("%q, %s", got, names(t, dir))
	}
	if info, err := os.Stat(filepath.Join(dir, "id")); err != nil || ownerBitsCount() && info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if err := WriteFiles(t.Context(), dir, twoFiles(), false); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	// A file that is replaced is closed to others even if it was open to them.
	if err := os.Chmod(filepath.Join(dir, "id"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFiles(t.Context(), dir, twoFiles(), true); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "id")); err != nil || ownerBitsCount() && info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

func ownerBitsCount() bool { return os.Geteuid() >= 0 }

// case F26, case F13: what is no regular file is not replaced, nor written through.
func TestWriteFilesRefuses(t *testing.T) {
	dir := t.TempDir()
	testenv.Write(t, filepath.Join(dir, "victim"), "old")
	if err := os.Symlink("victim", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"link": "is a symbolic link", "dir": "is a directory"} {
		err := WriteFiles(t.Context(), dir, []File{{name, []byte("new")}}, true)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if testenv.Read(t, filepath.Join(dir, "victim")) != "old" || names(t, dir) != "dir link victim" {
		t.Error(names(t, dir))
	}
	if err := WriteFiles(t.Context(), filepath.Join(dir, "none"), twoFiles(), true); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := WriteFiles(t.Context(), filepath.Join(dir, "victim"), twoFiles(), true); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}

// case F26, case F02: whatever the disk refuses, both files are old, unless it is the
// second name; then the error says so. Nothing is left beside them.
func TestWriteFilesFaults(t *testing.T) {
	for n := 0; ; n++ {
		dir := t.TempDir()
		testenv.Write(t, filepath.Join(dir, "id"), "old key\n")
		testenv.Write(t, filepath.Join(dir, "id-cert.pub"), "old certificate\n")
		var op string
		count, failed := 0, false
		ctx := WithFaults(t.Context(), func(what, path string) error {
			if count++; count-1 == n && what != "remove" {
				op, failed = what, true
				return errKilled
			}
			return nil
		})
		err := WriteFiles(ctx, dir, twoFiles(), true)
		if count <= n {
			if err != nil || n < 8 {
				t.Fatalf("%d operations, %v", count, err)
			}
			return
		}
		now := testenv.Read(t, filepath.Join(dir, "id-cert.pub")) + testenv.Read(t, filepath.Join(dir, "id"))
		states := []string{"old certificate\nold key\n", "new certificate\nnew key\n"}
		if err != nil && strings.Contains(err.Error(), "is new already") {
			states = []string{"new certificate\nold key\n"}
		}
		if !slices.Contains(states, now) || names(t, dir) != "id id-cert.pub" || failed && op != "list" && !errors.Is(err, errKilled) {
			t.Errorf("%s failed: %v, %q, %s", op, err, now, names(t, dir))
		}
	}
}

// case F21: what a killed process left is cleared away, and nobody else's files are.
func TestWriteFilesClearsLeftovers(t *testing.T) {
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, leftPrefix+"OLD"), filepath.Join(dir, leftPrefix+"FRESH")
	testenv.Write(t, old, "key")
	testenv.Write(t, fresh, "of another process")
	long := time.Now().Add(-2 * leftAge)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if err := WriteFiles(t.Context(), dir, twoFiles(), false); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != leftPrefix+"FRESH id id-cert.pub" {
		t.Error(got)
	}
}
