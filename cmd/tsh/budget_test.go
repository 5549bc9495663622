package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

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

// The whole login uses one connection; the probe for the connection upgrade,
// told by its ALPN, goes on beside it while the person types.
func TestLoginBudget(t *testing.T) {
	withinBudget(t, func(t *testing.T) error {
		c := startFarCluster(t, "otp")
		mark := c.login(t)
		after := c.net.Since(mark)
		logins := connsSince(c.net, 0)
		t.Logf("login: %v; after the code: %v", logins, after)
		if after.Opened > 0 || after.Trips > maxTripsAfterCode {
			return fmt.Errorf("after the code: %v; the limit is %d round trip", after, maxTripsAfterCode)
		}
		return checkTrips(logins, maxLoginTrips)
	})
}

func TestSSHBudget(t *testing.T) {
	withinBudget(t, func(t *testing.T) error {
		c := startFarCluster(t, "otp")
		c.login(t)
		before := len(c.net.Conns())
		conns := c.firstOutput(t, "--no-resume")[before:]
		t.Logf("ssh: %v", conns)
		return checkTrips(conns, maxSSHTrips)
	})
}

// firstOutput runs a command on the node and returns the connections as they
// are when its first line has arrived. The command goes on until its input
// ends, so that nothing of its end is counted.
func (c *farCluster) firstOutput(t *testing.T, flags ...string) []netsim.Conn {
	t.Helper()
	cmd := exec.Command(releasedTsh(t), append(append([]string{"ssh"}, flags...), "root@node-1", "echo hello; cat")...)
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
