//go:build unix

package profile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-087d674e/tsh/internal/durable"
)

// case F18, case F19: a process that keeps the lock does not keep secrets from being
// removed; the error says that it was there.
func TestLogoutBesideAProcessThatHangs(t *testing.T) {
	s, _ := fleet(t)
	tx, err := durable.Begin(t.Context(), s.Home())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("waited enough")
	cancel(enough)
	done, err := s.Logout(ctx, "", "")
	if !errors.Is(err, enough) || len(done.Logins) != 3 || len(done.Left) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
}

// case F13: a profile or a current profile of another user is not followed.
func TestProfileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can make files of other users")
	}
	const stranger, person = 54321, 54322
	for _, file := range []string{"gate.yaml", "current-profile"} {
		s := Open(filepath.Join(t.TempDir(), "home"))
		loggedIn(t, s, "gate", "alice", "harbor")
		dir := filepath.Dir(s.Home())
		err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
		err = errors.Join(err, filepath.Walk(s.Home(), func(path string, _ os.FileInfo, err error) error {
			return errors.Join(err, os.Chown(path, person, 0))
		}))
		path := filepath.Join(s.Home(), file)
		if err := errors.Join(err, os.Chown(path, stranger, 0), os.Chmod(path, 0o644)); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Seteuid(person); err != nil {
			t.Fatal(err)
		}
		p, loadErr := s.Load("")
		var useErr error
		if loadErr == nil {
			_, useErr = s.Identity(p)
		}
		if err := syscall.Seteuid(0); err != nil {
			t.Fatal(err)
		}
		var owner *durable.OwnerError
		if loadErr != nil || !errors.As(useErr, &owner) || !strings.Contains(useErr.Error(), path+" belongs to another user (uid 54321)") {
			t.Errorf("%s: %v, %v", file, loadErr, useErr)
		}
	}
}
