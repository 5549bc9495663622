package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// maxKeyLoginTrips: TCP, TLS, ping, begin, finish, and one to spare.
const maxKeyLoginTrips = 6

// A login with a password and a security key uses one connection, and a call
// more than one with a code: the challenge has to be fetched.
func TestSecurityKeyLoginBudget(t *testing.T) {
	withinBudget(t, func(t *testing.T) error {
		c := startFarCluster(t, "webauthn")
		c.plugInKey(t)
		cmd, f, screen := c.startLogin(t)
		defer f.Close()
		if !screen.waitFor("Password") {
			t.Fatalf("the terminal shows:\n%s", screen.text())
		}
		if _, err := io.WriteString(f, farPassword+"\r"); err != nil {
			t.Fatal(err)
		}
		if status := waitStatus(cmd); status != 0 {
			t.Fatalf("login exits with %d; the terminal shows:\n%s", status, screen.text())
		}
		logins := connsSince(c.net, 0)
		t.Logf("login: %v", logins)
		return checkTrips(logins, maxKeyLoginTrips)
	})
}

// plugInKey gives alice a key, and the programs that speak with it.
func (c *farCluster) plugInKey(t *testing.T) {
	t.Helper()
	k := c.addKey(t)
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
