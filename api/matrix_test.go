package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// site is a cluster with everything that can be connected to, and the files of a user.
type site struct {
	*devcluster.Cluster
	web      *x509.CertPool
	balancer string // a load balancer before the proxy that ends TLS
	dead     string // an address where nobody listens
	dir      string
}

func newSite(t *testing.T, change func(*devcluster.Config)) *site {
	t.Helper()
	config := devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", Name: "dev.example", SecondFactor: "off", PasswordCost: 4,
		AuthAddr: "127.0.0.1:0", TunnelAddr: "127.0.0.1:0", SeparatePorts: true,
	}
	if change != nil {
		change(&config)
	}
	cluster, err := devcluster.Start(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	s := &site{Cluster: cluster, web: x509.NewCertPool(), dead: deadAddr(t), dir: t.TempDir()}
	ca, err := os.ReadFile(cluster.CAFile())
	if err != nil || !s.web.AppendCertsFromPEM(ca) {
		t.Fatal("no authority of the web", err)
	}
	s.balancer = s.startBalancer(t)
	spec := devcluster.UserSpec{Name: "alice", Password: "canary-password", Roles: []string{"access"}, Logins: []string{"root"}}
	if _, err := cluster.AddUser(spec); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"file", "tls"} {
		if _, err := cluster.SignUser(devcluster.SignSpec{User: "alice", Format: format, TTL: time.Hour, Out: s.path(format)}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *site) path(format string) string { return filepath.Join(s.dir, format) }

// deadAddr is an address that refuses connections.
func deadAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}

// startBalancer runs a load balancer for HTTP: it ends TLS, with a certificate for
// localhost, and makes TLS to the proxy anew; protocol names get lost.
func (s *site) startBalancer(t *testing.T) string {
	t.Helper()
	var authority authServer
	authority.makeAuthority(t)
	s.web.AddCert(authority.caCert)
	cert := authority.issue(t, func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go s.balance(near)
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "localhost:" + port
}

func (s *site) balance(near net.Conn) {
	defer near.Close()
	if near.(*tls.Conn).Handshake() != nil {
		return
	}
	far, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: s.web, ServerName: "localhost"})
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}

// loaders are all that a program may have its credentials from, for the same user.
func (s *site) loaders(t *testing.T) map[string]credentials.Credentials {
	t.Helper()
	identity, err := keystore.ReadIdentityFile(s.path("file"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.path("file"))
	if err != nil {
		t.Fatal(err)
	}
	dynamic, err := credentials.NewDynamicIdentityFile(s.path("file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dynamic.Close() })
	tlsConfig, err := identity.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]credentials.Credentials{
		"profile":       credentials.LoadProfile(s.profile(t, identity), ""),
		"identity file": credentials.LoadIdentityFile(s.path("file")),
		"string":        credentials.LoadIdentityString(string(text)),
		"dynamic":       dynamic,
		"key pair":      credentials.LoadKeyPair(s.path("tls.crt"), s.path("tls.key"), s.path("tls.cas")),
		"TLS":           credentials.LoadTLS(tlsConfig),
	}
}

// profile stores the identity as a login and returns the directory.
func (s *site) profile(t *testing.T, identity *keystore.Identity) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	host, _, _ := net.SplitHostPort(s.PublicAddr())
	login := *identity
	login.Proxy, login.User, login.Cluster = host, "alice", s.Name()
	p := &profile.Profile{WebProxyAddr: s.PublicAddr(), SSHProxyAddr: s.SSHAddr(), User: "alice", Cluster: s.Name(), TLSRouting: true}
	if err := profile.Open(home).Commit(t.Context(), p, &login); err != nil {
		t.Fatal(err)
	}
	return home
}

// only leaves the tries of one kind, wherever they appear.
func only(tries []*try, is func(*way) bool) []*try {
	var left []*try
	for _, t := range tries {
		t.next = only(t.next, is)
		if find := t.find; find != nil {
			t.find = func(ctx context.Context) ([]*try, error) {
				more, err := find(ctx)
				return only(more, is), err
			}
		}
		if t.way == nil || is(t.way) {
			left = append(left, t)
		} else {
			left = append(left, t.next...)
		}
	}
	return left
}

// Every loader by every way in every situation: it works, or the error says by its type
// what is in the way.
func TestMatrix(t *testing.T) {
	s := newSite(t, nil)
	routed := func(w *way) bool { return w.kind == WayProxy && w.route.TLSRouting && !w.route.ConnUpgrade }
	upgraded := func(w *way) bool { return w.kind == WayProxy && w.route.TLSRouting && w.route.ConnUpgrade }
	separate := func(w *way) bool { return w.kind == WayProxy && !w.route.TLSRouting }
	auth := func(w *way) bool { return w.kind == WayAuth }
	tunnel := func(w *way) bool { return w.kind == WayTunnel }
	at := func(addrs ...string) Config { return Config{Addrs: addrs} }
	for _, way := range []struct {
		name   string
		is     func(*way) bool
		ssh    bool      // it needs an SSH identity
		config [3]Config // by situation: auth server reachable, unreachable, behind the proxy only
		fails  [3]bool
	}{
		{"auth", auth, false, [3]Config{at(s.AuthAddr()), at(s.dead), at(s.PublicAddr())}, [3]bool{false, true, true}},
		{"proxy", routed, false, [3]Config{at(s.AuthAddr(), s.PublicAddr()), at(s.dead, s.PublicAddr()), at(s.PublicAddr())}, [3]bool{}},
		{"upgraded", upgraded, false, [3]Config{at(s.AuthAddr(), s.balancer), at(s.dead, s.balancer), at(s.balancer)}, [3]bool{}},
		{"separate ports", separate, false, [3]Config{at(s.AuthAddr(), s.PublicAddr()), at(s.dead, s.PublicAddr()), at(s.PublicAddr())}, [3]bool{}},
		{"tunnel given", tunnel, true, [3]Config{{Addrs: []string{s.AuthAddr()}, TunnelAddr: s.TunnelAddr()}, {Addrs: []string{s.dead}, TunnelAddr: s.TunnelAddr()}, at(s.TunnelAddr())}, [3]bool{}},
		{"tunnel found", tunnel, true, [3]Config{at(s.AuthAddr(), s.PublicAddr()), at(s.dead, s.PublicAddr()), at(s.PublicAddr())}, [3]bool{}},
	} {
		for i, situation := range []string{"auth reachable", "auth unreachable", "behind the proxy only"} {
			for name, creds := range s.loaders(t) {
				config := way.config[i]
				config.Credentials, config.RootCAs = []credentials.Credentials{creds}, s.web
				won, conn, failed := run(testContext(t), headStart, only(config.tries(), way.is))
				if conn != nil {
					_ = conn.Close()
				}
				tlsOnly := name == "key pair" || name == "TLS"
				cell := fmt.Sprintf("%s, %s, %s", name, way.name, situation)
				switch err := error(&ConnectError{failed}); {
				case way.ssh && tlsOnly:
					var unsupported *credentials.UnsupportedError
					if won != nil || !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "as SSH tunnel: credentials of Load") {
						t.Errorf("%s: %v", cell, err)
					}
				case way.fails[i]:
					var refused *net.OpError
					var untrusted *tls.CertificateVerificationError
					if won != nil || i == 1 && !errors.As(err, &refused) || i == 2 && !errors.As(err, &untrusted) {
						t.Errorf("%s: %v", cell, err)
					}
				case won == nil:
					t.Errorf("%s: %v", cell, err)
				case !way.is(won):
					t.Errorf("%s: it was %s at %s", cell, won.kind, won.addr())
				}
			}
		}
	}
}

// The program's view: it gives addresses, and whatever they are, a way is found.
func TestConnectWhateverWorks(t *testing.T) {
	s := newSite(t, nil)
	for name, creds := range s.loaders(t) {
		for what, config := range map[string]Config{
			"the proxy":                    {Addrs: []string{s.PublicAddr()}},
			"the auth server":              {Addrs: []string{s.AuthAddr()}},
			"a dead address and the proxy": {Addrs: []string{s.dead, s.PublicAddr()}},
			"behind a load balancer":       {Addrs: []string{s.balancer}},
			"the SSH address":              {Addrs: []string{s.dead}, SSHAddr: s.SSHAddr()},
			"nothing":                      {},
		} {
			config.Credentials, config.RootCAs = []credentials.Credentials{creds}, s.web
			client, err := Connect(testContext(t), config)
			if what == "nothing" && name != "profile" {
				var unsupported *credentials.UnsupportedError
				if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "LoadProfile") {
					t.Errorf("%s, %s: %v", name, what, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
				continue
			}
			if ping, err := client.Ping(testContext(t)); err != nil || ping.ClusterName != s.Name() {
				t.Errorf("%s, %s: %+v, %v", name, what, ping, err)
			}
			_ = client.Close()
		}
	}
}

// A tunnel that TLS routing leads to, given and found, also behind a load balancer.
func TestTunnelByALPN(t *testing.T) {
	s := newSite(t, func(c *devcluster.Config) { c.SeparatePorts, c.TunnelAddr = false, "" })
	creds := []credentials.Credentials{credentials.LoadIdentityFile(s.path("file"))}
	for name, config := range map[string]Config{
		"given":             {TunnelAddr: s.PublicAddr()},
		"given, behind":     {TunnelAddr: s.balancer},
		"found":             {Addrs: []string{s.PublicAddr()}},
		"found, behind":     {Addrs: []string{s.balancer}},
		"found, insecurely": {Addrs: []string{s.PublicAddr()}, Insecure: true},
	} {
		config.Credentials, config.RootCAs = creds, s.web
		won, conn, failed := run(testContext(t), headStart, only(config.tries(), func(w *way) bool { return w.kind == WayTunnel }))
		if won == nil {
			t.Errorf("%s: %v", name, &ConnectError{failed})
			continue
		}
		_ = conn.Close()
	}
}

// Clusters of 14.x are reached by every way, too.
func TestMatrix14(t *testing.T) {
	s := newSite(t, func(c *devcluster.Config) { c.Emulate = 14 })
	config := Config{Addrs: []string{s.PublicAddr(), s.AuthAddr()}, RootCAs: s.web, Credentials: []credentials.Credentials{credentials.LoadIdentityFile(s.path("file"))}}
	for _, kind := range []string{WayAuth, WayProxy, WayTunnel} {
		won, conn, failed := run(testContext(t), headStart, only(config.tries(), func(w *way) bool { return w.kind == kind }))
		if won == nil {
			t.Errorf("%s: %v", kind, &ConnectError{failed})
			continue
		}
		_ = conn.Close()
	}
	// What such clusters have for HTTP/1.1 alone is reached by the same way.
	for _, addr := range []string{s.PublicAddr(), s.AuthAddr(), s.TunnelAddr()} {
		config.Addrs = []string{addr}
		client, err := Connect(testContext(t), config)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		conn, err := client.dial(testContext(t), true)
		if err == nil {
			request := "GET /v2/nowhere HTTP/1.1\r\nHost: teleport.cluster.local\r\nConnection: close\r\n\r\n"
			_, err = io.WriteString(conn, request)
		}
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		if answer, _ := io.ReadAll(io.LimitReader(conn, 1<<16)); !strings.HasPrefix(string(answer), "HTTP/1.1 404") {
			t.Errorf("%s: %q", addr, answer)
		}
		_ = conn.Close()
		_ = client.Close()
	}
}
