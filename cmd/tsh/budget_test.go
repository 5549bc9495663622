package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/pquerna/otp/totp"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/internal/release"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// Budgets that do not depend on the machine.
const (
	maxBinary         = 10_000_000 // bytes, stripped; with keyring and ssh-agent
	maxLoginTrips     = 5
	maxTripsAfterCode = 1
	maxSSHTrips       = 11
	maxStatusFiles    = 16
)

// testOnlyRelease builds the program as "make build" does, once for all tests.
var testOnlyRelease = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tsh-budget-")
	if err != nil {
		return "", err
	}
	testOnlyReleaseDir = dir
	path := filepath.Join(dir, "tsh")
	return path, release.Command(context.Background(), path, ".").Run()
})

// testOnlyReleaseDir is where that program is, if it has been built.
var testOnlyReleaseDir string

func releasedTsh(t *testing.T) string {
	t.Helper()
	testenv.Program(t, "go")
	path, err := testOnlyRelease()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBinaryIsSmall(t *testing.T) {
	info, err := os.Stat(releasedTsh(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("stripped tsh: %d bytes", info.Size())
	if info.Size() > maxBinary {
		t.Errorf("stripped tsh has %d bytes, the limit is %d", info.Size(), maxBinary)
	}
}

const farPassword = canary + "pass word"

// farCluster is a cluster behind a network that delays and counts.
type farCluster struct {
	*devcluster.Cluster
	net  *netsim.Network
	user devcluster.Enrolment
	env  []string
}

func startFarCluster(t *testing.T, secondFactor string) *farCluster {
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
	c, err := devcluster.Start(context.Background(), devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", PublicAddr: "localhost:" + port, Name: "dev.example",
		SecondFactor: secondFactor, Suite: "balanced-v1", PasswordCost: 4, Log: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	front.SetTarget(c.Addr())
	user, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: farPassword, Roles: []string{"access"}, Logins: []string{"root"}})
	if err != nil {
		t.Fatal(err)
	}
	// Delays well above what the machine takes to answer make the count exact.
	network.SetDelay(25 * time.Millisecond)
	return &farCluster{c, network, user, append(os.Environ(),
		"TELEPORT_HOME="+t.TempDir(), "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY=", "TERM=xterm")}
}

// login types the password and the code, and returns the state of the network
// just before the code was typed.
func (c *farCluster) login(t *testing.T) netsim.Mark {
	t.Helper()
	cmd := exec.Command(releasedTsh(t), "login", "--proxy="+c.PublicAddr(), "--user=alice")
	cmd.Env = c.env
	f, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	screen := watchedScreen(t, f)
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

// The whole login uses one connection; the probe for the connection upgrade,
// told by its ALPN, goes on beside it while the person types.
func TestLoginBudget(t *testing.T) {
	withinBudget(t, func(t *testing.T) error {
		c := startFarCluster(t, "otp")
		mark := c.login(t)
		after := c.net.Since(mark)
		var logins []netsim.Conn
		for _, conn := range c.net.Conns() {
			if !slices.Contains(conn.Protocols, "teleport-reversetunnel") {
				logins = append(logins, conn)
			}
		}
		t.Logf("login: %v; after the code: %v", logins, after)
		switch {
		case len(logins) != 1 || after.Opened > 0:
			return fmt.Errorf("the login used %d connections, not 1", len(logins))
		case logins[0].Trips > maxLoginTrips:
			return fmt.Errorf("the login took %d round trips, the limit is %d", logins[0].Trips, maxLoginTrips)
		case after.Trips > maxTripsAfterCode:
			return fmt.Errorf("after the code: %v; the limit is %d round trip", after, maxTripsAfterCode)
		}
		return nil
	})
}

func TestSSHBudget(t *testing.T) {
	withinBudget(t, func(t *testing.T) error {
		c := startFarCluster(t, "otp")
		c.login(t)
		before := len(c.net.Conns())
		conns := c.firstOutput(t)[before:]
		t.Logf("ssh: %v", conns)
		switch {
		case len(conns) != 1:
			return fmt.Errorf("ssh used %d connections, not 1", len(conns))
		case conns[0].Trips > maxSSHTrips:
			return fmt.Errorf("ssh took %d round trips, the limit is %d", conns[0].Trips, maxSSHTrips)
		}
		return nil
	})
}

// firstOutput runs a command on the node and returns the connections as they
// are when its first line has arrived. The command goes on until its input
// ends, so that nothing of its end is counted.
func (c *farCluster) firstOutput(t *testing.T) []netsim.Conn {
	t.Helper()
	cmd := exec.Command(releasedTsh(t), "ssh", "root@node-1", "echo hello; cat")
	cmd.Env, cmd.Stderr = c.env, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	conns := c.net.Conns()
	if err != nil || line != "hello\n" {
		t.Errorf("%q, %v", line, err)
	}
	_ = in.Close()
	if status := waitStatus(cmd); status != 0 {
		t.Errorf("ssh exits with %d", status)
	}
	return conns
}

// status is asked at every prompt of some shells: it opens few files and no
// socket at all.
func TestStatusBudget(t *testing.T) {
	strace := testenv.Program(t, "strace")
	home := testenv.CopyHome(t, "18.3")
	log := filepath.Join(t.TempDir(), "calls")
	cmd := exec.Command(strace, "-f", "-qq", "-o", log, "-e", "trace=openat,open,socket", releasedTsh(t), "status")
	cmd.Env = append(os.Environ(), "TELEPORT_HOME="+home, "TELEPORT_PROXY=")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "fixture") {
		t.Fatalf("%v: %s", err, out)
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	opened := regexp.MustCompile(`(?m)^.*open(?:at)?\(.*\) = \d+.*$`).FindAllString(string(calls), -1)
	t.Logf("status opens %d files:\n%s", len(opened), strings.Join(opened, "\n"))
	if len(opened) == 0 || len(opened) > maxStatusFiles {
		t.Errorf("status opens %d files, the limit is %d", len(opened), maxStatusFiles)
	}
	if strings.Contains(string(calls), "socket(") {
		t.Errorf("status opens a socket:\n%s", calls)
	}
}
