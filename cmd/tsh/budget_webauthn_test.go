package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/creack/pty"

	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// maxKeyLoginTrips: TCP, TLS, ping, begin, finish, and one to spare.
const maxKeyLoginTrips = 6

// A login with a password and a security key uses one connection, and a call
// more than one with a code: the challenge has to be fetched.
func TestSecurityKeyLoginBudget(t *testing.T) {
	withinBudget(t, func(t *testing.T) error {
		c := startFarCluster(t, "webauthn")
		c.plugInKey(t)
		cmd := exec.Command(releasedTsh(t), "login", "--proxy="+c.PublicAddr(), "--user=alice")
		cmd.Env = c.env
		f, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		screen := watchedScreen(t, f)
		if !screen.waitFor("Password") {
			t.Fatalf("the terminal shows:\n%s", screen.text())
		}
		if _, err := io.WriteString(f, farPassword+"\r"); err != nil {
			t.Fatal(err)
		}
		if status := waitStatus(cmd); status != 0 {
			t.Fatalf("login exits with %d; the terminal shows:\n%s", status, screen.text())
		}
		logins := slices.DeleteFunc(c.net.Conns(), func(conn netsim.Conn) bool {
			return slices.Contains(conn.Protocols, "teleport-reversetunnel")
		})
		t.Logf("login: %v", logins)
		switch {
		case len(logins) != 1:
			return fmt.Errorf("the login used %d connections, not 1", len(logins))
		case logins[0].Trips > maxKeyLoginTrips:
			return fmt.Errorf("the login took %d round trips, the limit is %d", logins[0].Trips, maxKeyLoginTrips)
		}
		return nil
	})
}

// plugInKey gives alice a key, and the programs that speak with it.
func (c *farCluster) plugInKey(t *testing.T) {
	t.Helper()
	options, err := c.BeginRegistration("alice", false)
	if err != nil {
		t.Fatal(err)
	}
	var k softkey.Key
	answer, err := k.Create("https://"+c.PublicAddr(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.FinishRegistration("alice", "key", answer); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := k.Save(path); err != nil {
		t.Fatal(err)
	}
	// The test's own program plays them, by the name that it is called by.
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fido2-token", "fido2-assert", "fido2-cred"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	c.env = append(c.env, envTestKeys+"="+path, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}
