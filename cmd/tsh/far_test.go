package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/pquerna/otp/totp"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

const farPassword = canary + "pass word"

// farCluster is a cluster behind a network that delays and counts.
type farCluster struct {
	*devcluster.Cluster
	net  *netsim.Network
	user devcluster.Enrolment
	env  []string
}

// startFar starts a cluster behind a network that counts, and does not delay yet. What
// config does not say is filled in.
func startFar(t *testing.T, config devcluster.Config) *farCluster {
	t.Helper()
	network := netsim.New()
	t.Cleanup(func() { _ = network.Close() })
	front, err := network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(front.Addr())
	if err != nil {
		t.Fatal(err)
	}
	config.Dir, config.Addr, config.PublicAddr, config.Name = t.TempDir(), "127.0.0.1:0", "localhost:"+port, "dev.example"
	config.PasswordCost, config.Log = 4, io.Discard
	if config.Home == "" { // what somebody's shell does when it starts would count as round trips
		config.Home = t.TempDir()
	}
	c, err := devcluster.Start(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	front.SetTarget(c.Addr())
	user, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: farPassword, Roles: []string{"access"}, Logins: []string{"root"}})
	if err != nil {
		t.Fatal(err)
	}
	return &farCluster{c, network, user, append(os.Environ(),
		"TELEPORT_HOME="+t.TempDir(), "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY=", "TERM=xterm")}
}

// startFarCluster is startFar where round trips are counted: the delay is well above
// what the machine takes to answer, which makes the count exact.
func startFarCluster(t *testing.T, secondFactor string) *farCluster {
	t.Helper()
	c := startFar(t, devcluster.Config{SecondFactor: secondFactor, Suite: "balanced-v1"})
	c.net.SetDelay(25 * time.Millisecond)
	return c
}

// addKey registers a security key of alice.
func (c *farCluster) addKey(t *testing.T) *softkey.Key {
	t.Helper()
	options, err := c.BeginRegistration("alice", false)
	if err != nil {
		t.Fatal(err)
	}
	k := new(softkey.Key)
	answer, err := k.Create("https://"+c.PublicAddr(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.FinishRegistration("alice", "key", answer); err != nil {
		t.Fatal(err)
	}
	return k
}

// startLogin starts a login on a terminal.
func (c *farCluster) startLogin(t *testing.T) (*exec.Cmd, *os.File, *screen) {
	t.Helper()
	cmd := exec.Command(releasedTsh(t), "login", "--proxy="+c.PublicAddr(), "--user=alice")
	cmd.Env = c.env
	f, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, f, watchedScreen(t, f)
}

// login types the password and the code, and returns the state of the network
// just before the code was typed.
func (c *farCluster) login(t *testing.T) netsim.Mark {
	t.Helper()
	cmd, f, screen := c.startLogin(t)
	defer f.Close()
	answer := func(question, text string) {
		if !screen.waitFor(question) {
			t.Fatalf("%q was not asked; the terminal shows:\n%s", question, screen.text())
		}
		if _, err := io.WriteString(f, text+"\r"); err != nil {
			t.Fatal(err)
		}
	}
	answer("Password", farPassword)
	if !screen.waitFor("One-time code: ") {
		t.Fatalf("the terminal shows:\n%s", screen.text())
	}
	code, err := totp.GenerateCode(c.user.TOTPSecret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c.settle(t)
	mark := c.net.Mark()
	if _, err := io.WriteString(f, code+"\r"); err != nil {
		t.Fatal(err)
	}
	if status := waitStatus(cmd); status != 0 {
		t.Fatalf("login exits with %d; the terminal shows:\n%s", status, screen.text())
	}
	return mark
}

// settle waits until nothing is under way any more: the person types slowly.
func (c *farCluster) settle(t *testing.T) {
	t.Helper()
	for last := (netsim.Stats{}); ; {
		now := c.net.Stats()
		if now == last {
			return
		}
		last = now
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
}

// connsSince are the connections after the first ones, without the probe for the
// connection upgrade, which is told by its ALPN and goes on beside a login.
func connsSince(network *netsim.Network, first int) []netsim.Conn {
	return slices.DeleteFunc(network.Conns()[first:], func(conn netsim.Conn) bool {
		return slices.Contains(conn.Protocols, "teleport-reversetunnel")
	})
}

// checkTrips says what is wrong unless there is one connection with at most limit round
// trips.
func checkTrips(conns []netsim.Conn, limit int) error {
	switch {
	case len(conns) != 1:
		return fmt.Errorf("%d connections, not 1: %v", len(conns), conns)
	case conns[0].Trips > limit:
		return fmt.Errorf("%d round trips, the limit is %d", conns[0].Trips, limit)
	}
	return nil
}

// withinBudget measures until the budget is kept, three times at most: a count
// of round trips is an upper bound, which a busy machine can only push up.
func withinBudget(t *testing.T, measure func(t *testing.T) error) {
	t.Helper()
	const attempts = 3
	var err error
	for range attempts {
		if err = measure(t); err == nil {
			return
		}
		t.Log(err)
	}
	t.Error(err)
}
