package testenv

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FixtureTime lies in the validity of every captured certificate.
func FixtureTime() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }

// CopyHome copies a captured profile directory ("18.3" or "14.0") to a place of
// its own, with the modes the reference client gave it.
func CopyHome(t testing.TB, version string) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	from := filepath.Join(moduleRoot(t), "testdata", "fixtures", version, "home")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(filepath.Join(home, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(home, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return home
}

// Snapshot is every file below dir with content, mode and time of change. Our own
// directory, which other clients never look at, is left out.
func Snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if rel == "config" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[rel] = info.Mode().String() + " " + info.ModTime().String() + "\n" + string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Write makes a file that only we can read, with the directories above it.
func Write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Read is what a file holds.
func Read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// moduleRoot is the directory of go.mod, above the package that is tested.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no go.mod above the test: %v", err)
	return ""
}

// FastDir is t.TempDir in memory where there is a place for that: for tests that store
// so often that flushing to a disk would be most of their time.
func FastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tsh-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
