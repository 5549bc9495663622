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

// case K11: what SSH_AUTH_SOCK may name.
func TestAddresses(t *testing.T) {
	dir := shortDir(t)
	t.Chdir(dir)
	path := func(name string) string { return filepath.Join(dir, name) }
	l, err := net.Listen("unix", path("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("dead"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := errors.Join(dead.Close(), os.WriteFile(path("file"), nil, 0o600), syscall.Mkfifo(path("fifo"), 0o600), os.Symlink("socket", path("link")),
		os.Symlink("nothing", path("broken")), os.Symlink("loop", path("loop"))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ value, want string }{
		{"socket", "not an absolute path"},
		{"./socket", "not an absolute path"},
		{"@abstract", "not an absolute path"},
		{"\x1b[2J", `SSH_AUTH_SOCK is "\x1b[2J", not an absolute path`},
		{path("missing"), "no such file"},
		{path("broken"), "no such file"},
		{path("loop"), "too many levels"},
		{path("file"), "not a socket"},
		{path("fifo"), "not a socket"},
		{dir, "not a socket"},
		{"/dev/null", "not a socket"},
		{path("dead"), "connection refused"},
		{"/" + strings.Repeat("x", 5000), "name too long"},
	} {
		t.Setenv(variable, tc.value)
		quickly(t, tc.value, func() {
			if _, err := Dial(10 * time.Second); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%.60q: %v, want %q", tc.value, err, tc.want)
			}
		})
	}
	for _, name := range []string{"socket", "link"} {
		t.Setenv(variable, path(name))
		dial(t)
	}
	t.Setenv(variable, "")
	if _, err := Dial(inUse); err != ErrNone {
		t.Errorf("not set: %v", err)
	}
	if _, err := OpenKey(newP256(t).Public()); err != ErrNone {
		t.Errorf("not set: %v", err)
	}
	for value, want := range map[string]bool{"": false, path("socket"): false, "/run/user/1000/gnupg/S.gpg-agent.ssh": true, "/home/a/.gnupg/gpg-agent/x": true} {
		t.Setenv(variable, value)
		if Unwanted() != want {
			t.Errorf("%q is unwanted: %v", value, !want)
		}
	}
}

// case K11: so many are waiting for the agent that it is not even reached.
func TestAgentThatAcceptsNobody(t *testing.T) {
	path := filepath.Join(shortDir(t), "socket")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	t.Setenv(variable, path)
	for range 10 {
		quickly(t, "nothing", func() {
			a, err := Dial(60 * time.Millisecond)
			if err == nil {
				t.Cleanup(func() { _ = a.Close() })
				_, err = a.List()
			}
			if err == nil {
				t.Error("it answers")
			}
		})
	}
}
