//go:build unix

package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A hundred proxy ssh whose login has expired: one of them asks, on the terminal and not on
// its input, all go on, and the cluster sees one login.
func TestOneLoginForManyProxySSH(t *testing.T) {
	c := newCrowd(t, t.TempDir())
	asker := c.start(t, "proxy", "ssh", "node-1")
	asker.expect(t, asks)
	type waiter struct {
		cmd      *exec.Cmd
		out, err bytes.Buffer
	}
	var all []*waiter
	for range 99 {
		w := &waiter{cmd: c.command(t, "proxy", "ssh", "node-1")}
		w.cmd.Stdout, w.cmd.Stderr = &w.out, &w.err
		withoutTerminal(w.cmd)
		if err := w.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	asker.keys(t, crowdPassword+"\r")
	asker.expect(t, "SSH-2.0-Teleport")
	for i, w := range all {
		status := make(chan int, 1)
		go func() { status <- waitStatus(w.cmd) }()
		select {
		case got := <-status:
			if got != 0 || !strings.HasPrefix(w.out.String(), "SSH-2.0-Teleport") {
				t.Errorf("process %d: status %d, %q, %s", i, got, w.out.String(), w.err.String())
			}
		case <-time.After(time.Minute):
			_ = w.cmd.Process.Kill()
			t.Errorf("process %d does not end", i)
		}
	}
	asker.keys(t, "\x04")
	asker.ends(t, 0)
	if n := c.log.since(); n != 1 {
		t.Errorf("the cluster saw %d logins", n)
	}
}
