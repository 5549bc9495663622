package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

const (
	fannedNodes   = 500
	fannedAtOnce  = 300        // as many as may run the command without --parallel
	maxManyMemory = 60_000_000 // bytes, resident at the most
)

// 500 servers run a command, and as many as may at the same time are under way together:
// in one process of bounded size, over one connection to the proxy.
func TestManyNodesBudget(t *testing.T) {
	c := startRough(t, devcluster.Config{Nodes: fannedNodes, NodeLabels: map[string]string{"env": "all"}})
	t.Setenv("HOME", t.TempDir()) // of the sessions, which otherwise run what a person has in ~/.bashrc
	before := len(c.net.Conns())
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := c.tsh(t, "ssh", "root@env=all", "echo hello; : <"+gate)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	peak := watchMemory(t, cmd.Process.Pid)
	said := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if !strings.HasSuffix(lines.Text(), "] hello") {
			t.Errorf("%q", lines.Text())
		}
		if said++; said == fannedAtOnce { // all of them wait: let them go
			open, err := os.OpenFile(gate, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
		}
	}
	status := waitStatus(cmd)
	if want := fmt.Sprintf("%d of %[1]d servers succeeded, 0 failed\n", fannedNodes); status != 0 || errs.String() != want || said != fannedNodes {
		t.Errorf("status %d, %d lines, stderr %.1000s", status, said, errs.String())
	}
	most := <-peak
	t.Logf("%d servers, %d at once: %.1f MB", fannedNodes, fannedAtOnce, float64(most)/1e6)
	if most == 0 || most > maxManyMemory {
		t.Errorf("%d bytes with %d at once, the limit is %d", most, fannedAtOnce, maxManyMemory)
	}
	ways, used := 0, connsSince(c.net, before)
	for _, conn := range used {
		if slices.Contains(conn.Protocols, "teleport-proxy-ssh-grpc") {
			ways++
		}
	}
	if ways != 1 || len(used) != 2 { // the other one lists the servers
		t.Errorf("%d connections to the transport service among %d", ways, len(used))
	}
}

// watchMemory tells, when the process has ended, how much memory it had at the most. What
// the kernel tells of a dead child begins with the size of its parent, and is of no use.
func watchMemory(t *testing.T, pid int) <-chan int {
	t.Helper()
	peak := make(chan int, 1)
	go func() {
		most := 0
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for range ticker.C {
			kb, err := peakMemoryNow(pid)
			if err != nil { // it is a zombie, or gone
				peak <- most
				return
			}
			most = max(most, kb*1024)
		}
	}()
	return peak
}
