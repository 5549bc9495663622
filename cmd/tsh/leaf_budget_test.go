package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/netsim"
)

// What leaf clusters and access requests cost: nothing for a plain login, one
// connection besides for what was asked for. A connection for the first use of a leaf
// fetches its authority, once.
func TestLeafConnections(t *testing.T) {
	network := netsim.New()
	t.Cleanup(func() { _ = network.Close() })
	front, err := network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(front.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c, err := devcluster.Start(context.Background(), devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", PublicAddr: "localhost:" + port, Leaf: "leaf.example",
		SecondFactor: "off", PasswordCost: 4, Log: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	front.SetTarget(c.Addr())
	if _, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: farPassword, Roles: []string{"access"}, Logins: []string{"root"}}); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "TELEPORT_HOME="+t.TempDir(), "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY=localhost:"+port, "TELEPORT_USER=alice")
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
		before := len(network.Conns())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		cmd := exec.CommandContext(ctx, releasedTsh(t), strings.Fields(step.args)...)
		cmd.Env, cmd.Stdin = env, strings.NewReader(farPassword+"\n")
		out, err := cmd.CombinedOutput()
		cancel()
		noSecretIn(t, string(out))
		if err != nil {
			t.Fatalf("%s: %v\n%s", step.args, err, out)
		}
		used := slices.DeleteFunc(network.Conns()[before:], func(conn netsim.Conn) bool {
			return slices.Contains(conn.Protocols, "teleport-reversetunnel") // the probe for the upgrade
		})
		if len(used) != step.want {
			t.Error(fmt.Errorf("%s: %d connections, want %d: %v", step.args, len(used), step.want, used))
		}
	}
}
