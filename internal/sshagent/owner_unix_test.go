//go:build unix

package sshagent

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const person, stranger = 54322, 54321

// as makes f run as another user. Only root can.
func as(t *testing.T, uid int, f func()) {
	t.Helper()
	if uid == 0 {
		f()
		return
	}
	if err := syscall.Seteuid(uid); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Seteuid(0); err != nil {
			panic(err)
		}
	}()
	f()
}

// case K11: an agent of another user is refused, by the owner of the socket and by
// the process that listens. What root runs may be used by everyone; root uses only
// its own.
func TestAgentOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can make sockets of other users")
	}
	for _, tc := range []struct {
		what                 string
		listens, owns, dials int
		want                 string
	}{
		{"one's own", person, person, person, ""},
		{"root's own", 0, 0, 0, ""},
		{"root's, used by a person", 0, 0, person, ""},
		{"a listener of root", 0, person, person, ""},
		{"root uses a person's", person, person, 0, "the socket belongs to another user (uid 54322)"},
		{"another's", stranger, stranger, person, "the socket belongs to another user (uid 54321)"},
		{"another's socket", person, stranger, person, "the socket belongs to another user (uid 54321)"},
		{"another's socket for root", 0, stranger, 0, "the socket belongs to another user (uid 54321)"},
		{"another listens", stranger, person, person, "it belongs to another user (uid 54321)"},
		{"another listens for root", stranger, 0, 0, "it belongs to another user (uid 54321)"},
	} {
		dir := shortDir(t)
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "socket")
		var l net.Listener
		var err error
		as(t, tc.listens, func() { l, err = net.Listen("unix", path) })
		if err := errors.Join(err, os.Chown(path, tc.owns, 0), os.Chmod(path, 0o777)); err != nil {
			t.Fatal(err)
		}
		t.Setenv(variable, path)
		as(t, tc.dials, func() {
			a, err := Dial(10 * time.Second)
			if err == nil {
				_ = a.Close()
			}
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: %v", tc.what, err)
			}
		})
		_ = l.Close()
	}
}
