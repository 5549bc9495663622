package api

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/keystore"
)

// routedSite is a cluster that does TLS routing, behind a network that takes its time.
func routedSite(t *testing.T) (*site, *netsim.Network) {
	t.Helper()
	network := netsim.New()
	t.Cleanup(func() { _ = network.Close() })
	near, err := network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(c *devcluster.Config) {
		_, port, _ := net.SplitHostPort(near.Addr())
		c.SeparatePorts, c.TunnelAddr, c.PublicAddr = false, "", "localhost:"+port
	})
	near.SetTarget(s.Addr())
	network.SetDelay(10 * time.Millisecond)
	return s, network
}

// The usual case costs one connection and three round trips to the first answer: TCP, TLS
// and the call.
func TestCostOfAKnownRoute(t *testing.T) {
	s, network := routedSite(t)
	identity, err := keystore.ReadIdentityFile(s.path("file"))
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Credentials: []credentials.Credentials{credentials.LoadProfile(s.profile(t, identity), "")}, headStart: time.Minute}
	client, err := Connect(testContext(t), config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if stats := network.Stats(); stats.Opened != 1 || stats.Trips != 3 {
		t.Errorf("%v, want one connection and three round trips", stats)
	}
}

// Where an address may be anything the right way takes no longer for that: the others are
// tried beside it.
func TestCostOfAnAddress(t *testing.T) {
	s, network := routedSite(t)
	config := Config{Addrs: []string{s.PublicAddr()}, RootCAs: s.web, Credentials: []credentials.Credentials{s.file()}}
	client, err := Connect(testContext(t), config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, c := range network.Conns() {
		if slices.ContainsFunc(c.Protocols, func(p string) bool { return strings.HasPrefix(p, "teleport-auth@") }) && c.Open > 0 {
			if c.Trips != 3 {
				t.Errorf("%d round trips to the first answer, want 3", c.Trips)
			}
			return
		}
	}
	t.Errorf("no connection to the auth server among %+v", network.Conns())
}
