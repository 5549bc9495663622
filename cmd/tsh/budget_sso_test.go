package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/netsim"
)

// maxSSOTrips is what tsh itself takes; the browser has its own connections.
const maxSSOTrips = 4

// A login in the browser takes one connection of tsh, and four round trips: TCP,
// TLS, ping, and where the browser starts. The probe for the connection upgrade,
// told by its ALPN, goes on beside it. The browser goes another way to the cluster,
// and stops before the page that it would end on, which is this way.
func TestSSOBudget(t *testing.T) {
	withinBudget(t, func(t *testing.T) error {
		network := netsim.New()
		t.Cleanup(func() { _ = network.Close() })
		front, err := network.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		c, err := devcluster.Start(context.Background(), devcluster.Config{
			Dir: t.TempDir(), Addr: "127.0.0.1:0", SecondFactor: "off", PasswordCost: 4,
			Connectors: []devcluster.Connector{{Kind: "oidc", Name: "corp"}}, DefaultConnector: "corp",
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		front.SetTarget(c.Addr())
		network.SetDelay(25 * time.Millisecond)

		dir := t.TempDir()
		browser, seen := filepath.Join(dir, "fakebrowser"), filepath.Join(dir, "seen")
		if err := os.Symlink(os.Args[0], browser); err != nil {
			t.Skip(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, releasedTsh(t), "login", "--proxy="+strings.Replace(front.Addr(), "127.0.0.1", "localhost", 1), "--browser="+browser)
		cmd.Env = append(os.Environ(), "TELEPORT_HOME="+dir, "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY=", "PERSON=alice", "BROWSER_LOG="+seen, "BROWSER_STOPS=yes")
		out, err := cmd.CombinedOutput()
		noSecretIn(t, string(out))
		if err != nil || !strings.Contains(string(out), "Logged in as:       alice") {
			t.Fatalf("%v: %s", err, out)
		}
		conns := connsSince(network, 0)
		if pages, err := os.ReadFile(seen); err != nil || !strings.HasSuffix(string(pages), "302 /callback \n") {
			t.Fatalf("%v; the browser: %s", err, pages)
		}
		t.Logf("login: %v", conns)
		return checkTrips(conns, maxSSOTrips)
	})
}
