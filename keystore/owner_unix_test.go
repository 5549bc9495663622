//go:build unix

package keystore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-087d674e/tsh/internal/durable"
)

// case F13: a login in files of another user is neither used nor replaced, and
// that is nothing a new login mends.
func TestLoginInFilesOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can make files of other users")
	}
	const stranger, person = 54321, 54322
	for _, foreign := range []string{".", "keys", "keys/gate", "known_hosts", "keys/gate/alice", "keys/gate/alice.key"} {
		home, c, _ := stored(t, SuiteBalanced)
		all := []string{filepath.Dir(filepath.Dir(home)), filepath.Dir(home)} // made by the test
		err := filepath.Walk(home, func(path string, _ os.FileInfo, err error) error {
			all = append(all, path)
			return errors.Join(err, os.Chown(path, person, 0))
		})
		for _, path := range all {
			err = errors.Join(err, os.Chmod(path, 0o755))
		}
		path := filepath.Join(home, foreign)
		if err := errors.Join(err, os.Chown(path, stranger, 0)); err != nil {
			t.Fatal(err)
		}
		d, _ := quick(home)
		if _, err := d.Load("gate", "alice", "harbor"); err != nil {
			t.Errorf("root may not read: %v", err)
		}
		fresh := c.issue(t, "gate", "alice", SuiteBalanced)
		if err := syscall.Seteuid(person); err != nil {
			t.Fatal(err)
		}
		_, loadErr := d.Load("gate", "alice", "harbor")
		storeErr := reached(home, "gate", fresh)
		if err := syscall.Seteuid(0); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{"load": loadErr, "store": storeErr} {
			if what == "store" && foreign == "known_hosts" {
				continue // it is written only when it changes
			}
			var owner *durable.OwnerError
			if !errors.As(err, &owner) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path+" belongs to another user (uid 54321)") {
				t.Errorf("%s, %s is foreign: %v", what, foreign, err)
			}
		}
	}
}
