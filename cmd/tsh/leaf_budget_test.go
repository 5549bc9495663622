package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// What leaf clusters and access requests cost: nothing for a plain login, one
// connection besides for what was asked for. A connection for the first use of a leaf
// fetches its authority, once.
func TestLeafConnections(t *testing.T) {
	c := startFar(t, devcluster.Config{Leaf: "leaf.example", SecondFactor: "off"})
	env := append(c.env, "TELEPORT_PROXY="+c.PublicAddr(), "TELEPORT_USER=alice")
	for _, step := range []struct {
		args string
		want int // connections
	}{
		{"login --password-stdin", 1},
		{"ls --cluster=leaf.example", 2},
		{"ls --cluster=leaf.example", 1},
		{"ssh --cluster=leaf.example root@leaf-node-1 true", 1},
		{"login leaf.example", 1},
		{"ls", 1},
		{"login --force --password-stdin dev.example", 1},
		{"login --force --password-stdin leaf.example", 2},
	} {
		before := len(c.net.Conns())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		cmd := exec.CommandContext(ctx, releasedTsh(t), strings.Fields(step.args)...)
		cmd.Env, cmd.Stdin = env, strings.NewReader(farPassword+"\n")
		out, err := cmd.CombinedOutput()
		cancel()
		noSecretIn(t, string(out))
		if err != nil {
			t.Fatalf("%s: %v\n%s", step.args, err, out)
		}
		used := connsSince(c.net, before)
		if len(used) != step.want {
			t.Errorf("%s: %d connections, want %d: %v", step.args, len(used), step.want, used)
		}
	}
}
