package devcluster

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

func withAuthAddr(c *Config) { c.AuthAddr = "127.0.0.1:0" }

// A program that is inside the data centre asks the auth server itself.
func TestAuthAddr(t *testing.T) {
	f := startCluster(t, withAuthAddr)
	if f.AuthAddr() == "" || f.AuthAddr() == f.Addr() {
		t.Fatalf("auth server at %q, proxy at %q", f.AuthAddr(), f.Addr())
	}
	l := f.login(nil)
	cc := f.dialAt(f.AuthAddr(), l, alpnH2)
	ping := new(pb.PingResponse)
	if err := cc.Invoke(t.Context(), "/"+authName+"/Ping", new(pb.Empty), ping); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(ping.RemoteAddr); ping.ClusterName != f.Name() || host != "127.0.0.1" {
		t.Errorf("ping: %v", ping)
	}
	self := new(pb.User)
	if err := cc.Invoke(t.Context(), "/"+authName+"/GetCurrentUser", new(pb.Empty), self); err != nil || self.Metadata.Name != "alice" {
		t.Errorf("current user: %v, %v", self, err)
	}
	// It ends with the cluster.
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", f.AuthAddr()); err == nil {
		_ = conn.Close()
		t.Error("the address of a cluster that is closed takes connections")
	}
}

func TestNoAuthAddr(t *testing.T) {
	if f := startCluster(t, nil); f.AuthAddr() != "" {
		t.Errorf("auth server at %s without being asked to", f.AuthAddr())
	}
	f := startCluster(t, withAuthAddr)
	_, err := Start(context.Background(), Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", AuthAddr: f.AuthAddr()})
	if err == nil || !strings.Contains(err.Error(), "auth server: listen tcp "+f.AuthAddr()) {
		t.Errorf("an address that is taken: %v", err)
	}
}

// What the address takes and refuses: it is the auth server and nothing else, and knows
// users by their certificates alone.
func TestAuthAddrHandshakes(t *testing.T) {
	f := startCluster(t, func(c *Config) { withAuthAddr(c); withLeaf(c) })
	l := f.login(func(m map[string]any) { m["ttl"] = time.Hour })
	other := startCluster(t, func(c *Config) { c.Name = f.Name() })
	foreign := other.tlsConfig(other.login(nil)).GetClientCertificate
	leafs, err := f.leaf.signTLS(l.tlsKey.Public(), certRequest{user: &user{Name: "alice", Roles: []string{"access"}}, ttl: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	config := func(change func(*tls.Config)) *tls.Config {
		c := f.tlsConfig(l, alpnH2)
		change(c)
		return c
	}
	for _, tc := range []struct {
		name    string
		cfg     *tls.Config
		refusal string // empty: connected
	}{
		{"the SDK", config(func(c *tls.Config) { c.ServerName = clusterSuffix }), ""},
		{"by the cluster's name", config(func(*tls.Config) {}), ""},
		{"TLS 1.2", config(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), ""},
		{"with the name for TLS routing", config(func(c *tls.Config) { c.NextProtos = []string{alpnAuth + encodeCluster(f.Name()), alpnH2} }), ""},
		{"TLS 1.1", config(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }), "protocol version"},
		{"the proxy's services", config(func(c *tls.Config) { c.NextProtos = []string{alpnSSH} }), "no application protocol"},
		{"no certificate", config(func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
		}), "certificate required"},
		{"of another cluster", config(func(c *tls.Config) { c.GetClientCertificate = foreign }), "unknown certificate authority"},
		{"of the leaf cluster", config(func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{parseCert(t, leafs).Raw}, PrivateKey: l.tlsKey}, nil
			}
		}), "unknown certificate authority"},
		{"a server's certificate", config(func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &f.router.configs[routeAuth].Certificates[0], nil
			}
		}), "unknown certificate authority"},
	} {
		state, err := f.tlsDialAt(f.AuthAddr(), tc.cfg)
		if tc.refusal != "" {
			if err == nil || !strings.Contains(err.Error(), tc.refusal) {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.refusal)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		cert := state.PeerCertificates[0]
		if state.NegotiatedProtocol != alpnH2 || cert.CheckSignatureFrom(f.auths.host.tlsCert) != nil ||
			!slices.Contains(cert.DNSNames, clusterSuffix) || cert.VerifyHostname(encodeCluster(f.Name())) != nil {
			t.Errorf("%s: protocol %q, certificate %v %v", tc.name, state.NegotiatedProtocol, cert.Subject, cert.DNSNames)
		}
	}
	f.clock.Advance(time.Hour + time.Second)
	if _, err := f.tlsDialAt(f.AuthAddr(), config(func(*tls.Config) {})); err == nil || !strings.Contains(err.Error(), "expired certificate") {
		t.Errorf("expired: %v", err)
	}
}
