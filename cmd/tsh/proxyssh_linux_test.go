package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// maxPipeMemory is what a proxy ssh may have needed at its peak, in kB.
const maxPipeMemory = 16 << 10

// What an Ansible run with fifty forks has fifty of has to be small, also after it has
// carried something.
func TestProxySSHMemory(t *testing.T) {
	testenv.SecondRing(t)
	c := startRough(t, devcluster.Config{})
	_, cmd, _ := c.firstLine(t)
	idle := peakMemory(t, cmd.Process.Pid)
	_ = cmd.Process.Kill()
	_ = waitStatus(cmd)

	busy := c.opensshTo(t, "head -c 30000000 /dev/zero; cat >/dev/null")
	in, err := busy.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := busy.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, out, 30000000); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(make([]byte, 30000000)); err != nil {
		t.Fatal(err)
	}
	carried := peakMemory(t, child(t, busy.Process.Pid))
	_ = in.Close()
	_ = waitStatus(busy)
	t.Logf("peak: %d kB idle, %d kB after 30 MB each way", idle, carried)
	idle = max(idle, carried)
	if idle > maxPipeMemory {
		t.Errorf("%d kB, the limit is %d", idle, maxPipeMemory)
	}
}

// child is the only child of a process.
func child(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	only, err := strconv.Atoi(strings.TrimSpace(string(list)))
	if err != nil {
		t.Fatalf("children %q", list)
	}
	return only
}
