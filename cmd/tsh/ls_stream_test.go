package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// The first row is there while most of the list is still to come.
func TestFirstRowAtOnce(t *testing.T) {
	c := startRough(t, devcluster.Config{Nodes: 4000})
	c.net.SetDelay(25 * time.Millisecond)
	for _, tc := range []struct{ format, mark string }{{"text", "node-1 "}, {"json", `"hostname": `}} {
		withinBudget(t, func(t *testing.T) error {
			cmd := c.tsh(t, "ls", "--format="+tc.format)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			before := c.net.Stats().Down
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines, first := bufio.NewScanner(out), int64(0)
			for lines.Scan() {
				if first == 0 && strings.Contains(lines.Text(), tc.mark) {
					first = c.net.Stats().Down - before
				}
			}
			status, all := waitStatus(cmd), c.net.Stats().Down-before
			if t.Logf("%s: %d of %d bytes", tc.format, first, all); status != 0 || first == 0 || first > all/2 {
				return fmt.Errorf("--format=%s: the first row is there after %d of %d bytes, status %d", tc.format, first, all, status)
			}
			return nil
		})
	}
}
