package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

const (
	fannedNodes   = 500
	maxManyMemory = 60_000_000 // bytes, resident at the most
)

// 500 servers run a command that keeps every session open for a while: in one process of
// bounded size, over one connection to the proxy.
func TestManyNodesBudget(t *testing.T) {
	testenv.SecondRing(t)
	tsh := releasedTsh(t)
	c := startFar(t, devcluster.Config{SecondFactor: "off", Suite: "balanced-v1", Nodes: fannedNodes, NodeLabels: map[string]string{"env": "all"}})
	t.Setenv("HOME", t.TempDir()) // of the sessions, which otherwise run what a person has in ~/.bashrc
	login := exec.Command(tsh, "login", "--proxy="+c.PublicAddr(), "--user=alice", "--password-stdin")
	login.Env, login.Stdin = c.env, strings.NewReader(farPassword+"\n")
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("login: %v: %s", err, out)
	}
	before := len(c.net.Conns())
	cmd := exec.Command(tsh, "ssh", "root@env=all", "echo hello; sleep 1")
	var out, errs strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	peak := watchMemory(t, cmd.Process.Pid)
	status := waitStatus(cmd)
	if want := fmt.Sprintf("%d of %[1]d servers succeeded, 0 failed\n", fannedNodes); status != 0 || errs.String() != want {
		t.Errorf("status %d, stderr %.1000s", status, errs.String())
	}
	if got := strings.Count(out.String(), "] hello\n"); got != fannedNodes {
		t.Errorf("%d lines, not %d", got, fannedNodes)
	}
	most := <-peak
	t.Logf("%d servers: %.1f MB", fannedNodes, float64(most)/1e6)
	if most == 0 || most > maxManyMemory {
		t.Errorf("%d bytes, the limit is %d", most, maxManyMemory)
	}
	ways := 0
	for _, conn := range connsSince(c.net, before) {
		if slices.Contains(conn.Protocols, "teleport-proxy-ssh-grpc") {
			ways++
		}
	}
	if all := len(connsSince(c.net, before)); ways != 1 || all != 2 { // the other one lists the servers
		t.Errorf("%d connections to the transport service among %d", ways, all)
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
