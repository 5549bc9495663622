//go:build unix

package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// ^C ends the command on the node at once, not when the node has given up waiting for
// the connection to be resumed.
func TestInterruptEndsTheRemoteCommand(t *testing.T) {
	c := startRough(t, devcluster.Config{})
	for range 3 { // goodbye and the end of the stream used to race
		cmd := c.tsh(t, "ssh", "root@node-1", "echo $$; exec sleep 300")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		remote, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("tsh exits with %d", code)
		}
		deadline := time.After(10 * time.Second)
		tick := time.NewTicker(10 * time.Millisecond)
		for syscall.Kill(remote, 0) == nil {
			select {
			case <-deadline:
				t.Fatal("the command goes on")
			case <-tick.C:
			}
		}
		tick.Stop()
	}
}
