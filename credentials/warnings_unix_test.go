//go:build unix

package credentials

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// case F14: a key that others can read, and a place where others can put another, are
// used with a warning, which comes once; nothing is refused or changed.
func TestWarnings(t *testing.T) {
	c := newTestCluster(t)
	dir := filepath.Join(t.TempDir(), "open")
	path := filepath.Join(dir, "id")
	testenv.Write(t, path, c.file(t, 7))
	pair := c.pair(t, 7).write(t)
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(pair.path("key"), 0o640)
	for name, tt := range map[string]struct {
		file, dir os.FileMode
		want      []string
	}{
		"narrow":            {0o600, 0o700, nil},
		"readable":          {0o644, 0o755, []string{"private key in " + path + " (mode 0644)"}},
		"replaceable":       {0o600, 0o777, []string{"replace files in " + dir + " (mode 0777)"}},
		"in a shared place": {0o600, 0o777 | os.ModeSticky, nil},
		"both":              {0o660, 0o770, []string{"(mode 0660)", "(mode 0770)"}},
	} {
		chmod(path, tt.file)
		chmod(dir, tt.dir)
		check := func(loader string, load func(Option) addressed) {
			var got []string
			creds := load(WithWarning(func(text string) { got = append(got, text) }))
			for range 3 {
				if _, err := creds.TLSConfig(); err != nil {
					t.Errorf("%s: %s: %v", name, loader, err)
				}
			}
			if d, ok := creds.(*DynamicIdentityFile); ok {
				if err := d.Reload(); err != nil {
					t.Error(err)
				}
				_ = d.Close()
			}
			if !slices.EqualFunc(got, tt.want, strings.Contains) {
				t.Errorf("%s: %s warns %q", name, loader, got)
			}
		}
		check("LoadIdentityFile", func(o Option) addressed { return LoadIdentityFile(path, o) })
		check("NewDynamicIdentityFile", func(o Option) addressed {
			d, err := NewDynamicIdentityFile(path, o)
			if err != nil {
				t.Fatal(err)
			}
			return d
		})
		tt.want = []string{"private key in " + pair.path("key") + " (mode 0640)"}
		check("LoadKeyPair", func(o Option) addressed { return pair.load(o) })
	}
}

// A link warns of the directory that it leads to as well.
func TestWarningsThroughLinks(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	testenv.Write(t, filepath.Join(real, "id"), newTestCluster(t).file(t, 7))
	if err := os.Symlink(filepath.Join("real", "id"), filepath.Join(dir, "id")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(real, 0o777); err != nil {
		t.Fatal(err)
	}
	var got []string
	creds := LoadIdentityFile(filepath.Join(dir, "id"), WithWarning(func(text string) { got = append(got, text) }))
	if _, err := creds.SSHClientConfig(); err != nil || len(got) != 1 || !strings.Contains(got[0], real+" (mode 0777)") {
		t.Error(got, err)
	}
}

// Who can change the authorities of a key pair chooses which servers are believed.
func TestWarningsOfAuthorities(t *testing.T) {
	pair := newTestCluster(t).pair(t, 7).write(t)
	ca := pair.path("cas")
	for path, mode := range map[string]os.FileMode{ca: 0o666, filepath.Dir(ca): 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	creds := pair.load(WithWarning(func(text string) { got = append(got, text) }))
	for range 2 {
		if _, err := creds.TLSConfig(); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(got)
	want := []string{"can change " + ca + " (mode 0666)", "replace files in " + filepath.Dir(ca) + " (mode 0777)"}
	if !slices.EqualFunc(got, want, strings.Contains) {
		t.Errorf("%q", got)
	}
}
