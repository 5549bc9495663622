package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// A connection of its own, TLS, and the request: three round trips to the node's first
// byte, of which OpenSSH alone would need one.
const maxPipeTrips = 3

// firstLine runs proxy ssh until the node has presented itself, and returns the
// connections as they are then, and the process with its open input.
func (c *farCluster) firstLine(t *testing.T, flags ...string) ([]netsim.Conn, *exec.Cmd, io.Closer) {
	t.Helper()
	cmd := c.tsh(t, append(append([]string{"proxy", "ssh"}, flags...), "root@node-1:22")...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	before := len(c.net.Conns())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	conns := c.net.Conns()[before:]
	if err != nil || !strings.HasPrefix(line, "SSH-2.0-Teleport") {
		t.Errorf("%q, %v", line, err)
	}
	return conns, cmd, in
}

func TestProxySSHBudget(t *testing.T) {
	for _, flag := range []string{"--no-resume", "--no-resume=false"} {
		withinBudget(t, func(t *testing.T) error {
			c := startRough(t, devcluster.Config{})
			c.net.SetDelay(25 * time.Millisecond)
			conns, cmd, _ := c.firstLine(t, flag)
			_ = cmd.Process.Kill() // an end of its own would take lingerFor
			_ = waitStatus(cmd)
			if err := checkTrips(conns, maxPipeTrips); err != nil {
				return fmt.Errorf("%s: %w", flag, err)
			}
			return nil
		})
	}
}

// opensshTo is OpenSSH through proxy ssh, with the keys of the login.
func (c *farCluster) opensshTo(t *testing.T, words ...string) *exec.Cmd {
	t.Helper()
	program := testenv.Program(t, "ssh")
	config := filepath.Join(t.TempDir(), "config")
	made, err := c.tsh(t, "config").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, made, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, append([]string{"-F", config, "root@node-1.dev.example"}, words...)...)
	cmd.Env = c.env
	return cmd
}

// OpenSSH does not notice either that the network breaks.
func TestProxySSHCutsLoseNothing(t *testing.T) {
	c := startRough(t, devcluster.Config{})
	for _, trouble := range troubles() {
		t.Run(trouble.name, func(t *testing.T) {
			echoThrough(t, c, c.opensshTo(t, "cat"), trouble)
		})
	}
}

// Many at once are served, all of them.
func TestProxySSHCrowd(t *testing.T) {
	testenv.SecondRing(t)
	c := startRough(t, devcluster.Config{})
	releasedTsh(t)
	for _, size := range []int{50, 100} {
		var wg sync.WaitGroup
		for i := range size {
			cmd := c.tsh(t, "proxy", "ssh", "node-1")
			wg.Go(func() {
				out, err := cmd.Output() // its input is at its end from the beginning
				if err != nil || !strings.HasPrefix(string(out), "SSH-2.0-Teleport") {
					t.Errorf("%d of %d: %q, %v", i, size, out, err)
				}
			})
		}
		wg.Wait()
	}
}
