package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

const (
	manyNodes  = 10_000
	maxListRSS = 60 << 10 // kB
)

// A list of 10,000 servers is printed in little memory, whatever the format, over one
// connection. The program is looked at when it has all but the end behind it, and cannot
// go on because nobody takes what it prints.
func TestListBudget(t *testing.T) {
	testenv.SecondRing(t)
	c := startFar(t, devcluster.Config{SecondFactor: "off", Nodes: manyNodes})
	run := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), releasedTsh(t), args...)
		cmd.Env, cmd.Stderr = c.env, os.Stderr
		return cmd
	}
	login := run("login", "--password-stdin", "--proxy="+c.PublicAddr(), "--user=alice")
	login.Stdin = strings.NewReader(farPassword + "\n")
	if out, err := login.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, tc := range []struct {
		args string
		mark string // in what is printed of a server
		far  int    // servers after which there is more to come than a pipe holds
	}{
		{"ls --format=json", `"hostname": `, 9_600},
		{"ls --format=yaml", "hostname: ", 9_600},
		{"ls", ":3022 ", 7_000},
	} {
		before := len(c.net.Conns())
		cmd := run(strings.Fields(tc.args)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, seen := bufio.NewScanner(out), 0
		for lines.Scan() {
			if strings.Contains(lines.Text(), tc.mark) {
				if seen++; seen == tc.far {
					peak := peakMemory(t, cmd.Process.Pid)
					t.Logf("tsh %s: %d kB", tc.args, peak)
					if peak > maxListRSS {
						t.Errorf("tsh %s takes %d kB; the limit is %d", tc.args, peak, maxListRSS)
					}
				}
			}
		}
		if status := waitStatus(cmd); status != 0 || seen != manyNodes {
			t.Errorf("tsh %s: %d servers, status %d", tc.args, seen, status)
		}
		if used := connsSince(c.net, before); len(used) != 1 {
			t.Errorf("tsh %s: connections %v", tc.args, used)
		}
	}
}
