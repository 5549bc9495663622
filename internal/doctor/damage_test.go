package doctor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/profile"
)

func put(rel, content string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) { testenv.Write(t, w.path(rel), content) }
}

func remove(rel string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if err := os.Remove(w.path(rel)); err != nil {
			t.Fatal(err)
		}
	}
}

func addTo(rel, content string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		testenv.Write(t, w.path(rel), testenv.Read(t, w.path(rel))+content)
	}
}

func empty(rel string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		testenv.Write(t, w.path(rel), "")
		old(t, w.path(rel))
	}
}

// huge makes a file of 100 MB that takes no room.
func huge(rel string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if err := os.Truncate(w.path(rel), 100<<20); err != nil {
			t.Fatal(err)
		}
	}
}

func renamed(t *testing.T, w *world) {
	if err := os.Rename(w.path("example.com.yaml"), w.path("gate.example.yaml")); err != nil {
		t.Fatal(err)
	}
}

func renamedCA(t *testing.T, w *world) {
	dir := w.path("keys", gate, "cas")
	if err := os.Rename(filepath.Join(dir, "harbor.pem"), filepath.Join(dir, "other.pem")); err != nil {
		t.Fatal(err)
	}
}

// mixed puts the SSH key of another login beside the certificates.
func mixed(t *testing.T, w *world) {
	other := newWorld(t)
	other.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	testenv.Write(t, w.path("keys", gate, "alice"), testenv.Read(t, other.path("keys", gate, "alice")))
}

// orphan leaves an entry in the keyring as a login that was killed does.
func orphan(t *testing.T, w *world) {
	// The name says whose it is; other directories' entries are left to them.
	sum := sha256.Sum256([]byte(w.home + "\x00example.com\x00alice"))
	slot := hex.EncodeToString(sum[:12]) + ".abc"
	w.ring.keys[slot] = []byte(strings.Repeat("k", 32))
	var others string
	if data, err := os.ReadFile(w.path("config/tsh/keys.json")); err == nil {
		if _, rest, ok := strings.Cut(string(data), `"slots": [`); ok {
			others, _, _ = strings.Cut(rest, "]")
			others += ","
		}
	}
	testenv.Write(t, w.path("config/tsh/keys.json"), fmt.Sprintf(`{"profiles":{},"slots":[%s{"slot":%q,"proxy":"example.com","user":"alice","made":%d}]}`,
		others, slot, time.Now().Add(-time.Hour).Unix()))
}

// contents are all files below dir, but for the one in which we say who has the lock.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) == "lock" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[path] = info.Mode().String()
		if info.Mode().IsRegular() && info.Size() < 1<<20 {
			all[path] += testenv.Read(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
