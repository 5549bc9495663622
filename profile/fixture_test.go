package profile

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const fixtures = "../testdata/fixtures"

// fixtureTime lies in the validity of every captured certificate.
var fixtureTime = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// copyHome copies a captured profile directory ("18.3" or "14.0") to a place of
// its own, with the modes the reference client gave it.
func copyHome(t testing.TB, version string) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	from := filepath.Join(fixtures, version, "home")
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

// snapshot is every file below dir with content, mode and time of change. Our own
// directory, which other clients never look at, is left out.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
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

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
