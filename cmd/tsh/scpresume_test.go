package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// A copy goes on by itself after a cut with --resume; otherwise it ends, and --continue
// uses what has arrived.
func TestCopiesAfterACut(t *testing.T) {
	there, here := t.TempDir(), t.TempDir()
	c := startRough(t, devcluster.Config{Home: there})
	data := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
	source := filepath.Join(here, "source")
	if err := os.WriteFile(source, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args   string
		cut    bool
		status int
		least  int64 // bytes that must travel
		most   int64
	}{
		{"--resume " + source + " root@node-1:up", true, 0, 16 << 20, 0},
		{"--resume root@node-1:up " + here + "/down", true, 0, 16 << 20, 0},
		{source + " root@node-1:lost", true, 1, 0, 0},
		{"--continue " + source + " root@node-1:again", true, 1, 0, 0},
		{"--continue " + source + " root@node-1:again", false, 0, 8 << 20, 15 << 20},
	} {
		before := len(c.net.Conns())
		travelled := func() (sum int64) {
			for _, conn := range c.net.Conns()[before:] {
				sum += conn.Up + conn.Down
			}
			return sum
		}
		cmd := c.tsh(t, append([]string{"scp"}, strings.Fields(tc.args)...)...)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan int, 1)
		go func() { ended <- waitStatus(cmd) }()
		status, cut, tick := -1, !tc.cut, time.NewTicker(time.Millisecond)
		for status < 0 {
			select {
			case status = <-ended:
			case <-tick.C:
				if !cut && travelled() > 13<<20 {
					cut = true
					c.net.Cut()
				}
			}
		}
		tick.Stop()
		if sum := travelled(); status != tc.status || !cut || sum < tc.least || tc.most > 0 && sum > tc.most {
			t.Errorf("%s: status %d, cut %t, %d bytes: %s", tc.args, status, cut, sum, said.String())
		}
	}
	for _, path := range []string{filepath.Join(there, "up"), filepath.Join(here, "down"), filepath.Join(there, "again")} {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	if _, err := os.Stat(filepath.Join(there, "lost")); err == nil {
		t.Error("half of a file has the name of the whole")
	}
}
