package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// A proxy has moved to another port: the port that is typed wins over the stored one,
// and a login with it is what is stored from then on.
func TestTypedPortWins(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	start := func() *devcluster.Cluster {
		c, err := devcluster.Start(context.Background(), devcluster.Config{
			Dir: dir, Addr: "127.0.0.1:0", SecondFactor: "off", PasswordCost: 4, Log: io.Discard,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := start()
	if _, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: crowdPassword, Roles: []string{"access"}, Logins: []string{"root"}}); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("tsh")
	if err != nil {
		t.Fatal(err)
	}
	tsh := func(args ...string) (string, error) {
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), "HOME="+home, "TELEPORT_HOME="+home, "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY=", "SSH_AUTH_SOCK=")
		cmd.Stdin = strings.NewReader(crowdPassword + "\n")
		out, err := cmd.CombinedOutput()
		noSecretIn(t, string(out))
		return string(out), err
	}
	must := func(words string, args ...string) {
		t.Helper()
		if out, err := tsh(args...); err != nil || !strings.Contains(out, words) {
			t.Errorf("tsh %v: %v, %q is missing: %s", args, err, words, out)
		}
	}
	old := c.PublicAddr()
	must("Logged in as:       alice", "login", "--proxy="+old, "--user=alice", "--password-stdin")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	moved := start()
	if moved.PublicAddr() == old {
		t.Fatal("it has not moved")
	}
	if out, err := tsh("ls"); err == nil || !strings.Contains(out, "refused") {
		t.Errorf("%v: %s", err, out)
	}
	must("node-1", "ls", "--proxy="+moved.PublicAddr())
	stored := func() string {
		data, err := os.ReadFile(filepath.Join(home, "localhost.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if !strings.Contains(stored(), "web_proxy_addr: "+old) {
		t.Errorf("listing has changed the profile:\n%s", stored())
	}
	must("https://"+moved.PublicAddr(), "login", "--proxy="+moved.PublicAddr(), "--password-stdin")
	if !strings.Contains(stored(), "web_proxy_addr: "+moved.PublicAddr()) {
		t.Errorf("the login has not changed the profile:\n%s", stored())
	}
	must("node-1", "ls")
	must("hello", "ssh", "root@node-1", "echo hello")
}
