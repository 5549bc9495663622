package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/keystore"
)

// lines counts the connections that a program makes, and those that are open.
type lines struct {
	made, open atomic.Int32
	closed     chan struct{} // gets one for each that ends
	hole       string        // this address swallows everything: connecting to it never ends
}

func newLines() *lines { return &lines{closed: make(chan struct{}, 1000)} }

func (l *lines) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.made.Add(1)
	if addr == l.hole {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &countedConn{Conn: conn, lines: l}, nil
}

// only waits until no more than n connections are open.
func (l *lines) only(t *testing.T, n int32) {
	t.Helper()
	ctx := testContext(t)
	for l.open.Load() > n {
		select {
		case <-l.closed:
		case <-ctx.Done():
			t.Fatalf("%d connections are open, want %d", l.open.Load(), n)
		}
	}
}

type countedConn struct {
	net.Conn
	once  sync.Once
	lines *lines
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.lines.open.Add(-1)
		c.lines.closed <- struct{}{}
	})
	return err
}

func (s *site) file() credentials.Credentials { return credentials.LoadIdentityFile(s.path("file")) }

// Whoever loses is closed, also who connects too late; nothing is left but the winner, and
// nothing at all after Close.
func TestLosersAreClosed(t *testing.T) {
	s := newSite(t, nil)
	before := runtime.NumGoroutine()
	for range 5 {
		l := newLines()
		l.hole = "192.0.2.1:443"
		client, err := Connect(testContext(t), Config{
			Addrs: []string{s.PublicAddr(), s.AuthAddr(), s.dead, l.hole, s.balancer}, TunnelAddr: s.TunnelAddr(),
			Credentials: []credentials.Credentials{s.file(), s.file()}, RootCAs: s.web, Dial: l.dial,
		})
		if err != nil {
			t.Fatal(err)
		}
		if l.made.Load() < 3 {
			t.Errorf("only %d connections were tried", l.made.Load())
		}
		l.only(t, 1)
		if _, err := client.Ping(testContext(t)); err != nil {
			t.Error(err)
		}
		_ = client.Close()
		l.only(t, 0)
	}
	// The dev cluster runs in this process, too: its ends of the connections take a moment.
	ctx := testContext(t)
	for runtime.NumGoroutine() > before+10 {
		if ctx.Err() != nil {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

// So is what connects in the moment in which another one has won: nobody receives it any more.
func TestTooLateIsClosed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := newLines()
	l.open.Add(1)
	near, _ := net.Pipe()
	(&race{ctx: ctx, outcomes: make(chan outcome)}).say(outcome{conn: &countedConn{Conn: near, lines: l}})
	l.only(t, 0)
}

// An address that swallows everything delays nothing.
func TestBlackHole(t *testing.T) {
	s := newSite(t, nil)
	l := newLines()
	l.hole = "192.0.2.1:443"
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	start := time.Now()
	client, err := Connect(ctx, Config{Addrs: []string{l.hole, s.AuthAddr()}, Credentials: []credentials.Credentials{s.file()}, Dial: l.dial})
	if err != nil || time.Since(start) > dialTimeout/2 {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	_ = client.Close()
}

// When all fail, the error has every address and every way, and comes when the last has
// failed: the context would go on.
func TestAllRefused(t *testing.T) {
	s := newSite(t, nil)
	dead := deadAddr(t)
	broken := &identity{err: errors.New("no key\x1b[2J")}
	start := time.Now()
	_, err := Connect(context.Background(), Config{
		Addrs: []string{s.dead, dead}, TunnelAddr: dead, Credentials: []credentials.Credentials{broken, s.file()},
	})
	if took := time.Since(start); took > dialTimeout/2 {
		t.Errorf("it took %v", took)
	}
	var failed *ConnectError
	if !errors.As(err, &failed) {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, a := range failed.Attempts {
		got[a.Addr+" "+a.Way]++
		if a.Addr != "" && (a.Credentials != 1 || !strings.Contains(a.Err.Error(), "connection refused") && !strings.Contains(a.Err.Error(), "refused")) {
			t.Errorf("%+v", a)
		}
	}
	want := map[string]int{
		" ":                      1, // the broken credentials
		s.dead + " " + WayAuth:   1,
		s.dead + " " + WayProxy:  1,
		s.dead + " " + WayTunnel: 2, // as a tunnel, and asked for one
		dead + " " + WayAuth:     1,
		dead + " " + WayProxy:    1,
		dead + " " + WayTunnel:   3, // and with TLS
	}
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%q: %d times, want %d", key, got[key], n)
		}
	}
	text := err.Error()
	if !strings.Contains(text, "credentials 1, no key\\x1b[2J") || strings.Count(text, "\n  credentials 2, "+s.dead+" as ") != 2 ||
		strings.Count(text, "connect: connection refused") != 4 { // of each address, and of asking each
		t.Error(text)
	}
}

// Ways that fail for the same cause share a line.
func TestConnectErrorSaysACauseOnce(t *testing.T) {
	refused, silent := errors.New("a:1: refused"), errors.New("silent")
	err := &ConnectError{Attempts: []Attempt{
		{"a:1", WayAuth, refused, 0}, {"a:1", WayProxy, silent, 0}, {"a:1", WayTunnel, refused, 0}, {"a:1", WayTunnel, refused, 0}, {"b:1", WayAuth, refused, 0},
	}}
	const want = "no way to connect works:\n  a:1 as SSH tunnel, auth server: refused\n  a:1 as web proxy: silent\n  b:1 as auth server: a:1: refused"
	if err.Error() != want {
		t.Errorf("%s\nwant\n%s", err, want)
	}
}

// Credentials that have expired are ErrExpired, whoever notices; those that begin later are not.
func TestConnectExpired(t *testing.T) {
	for _, notYet := range []bool{false, true} {
		creds := &identity{err: fmt.Errorf("file: %w", &keystore.TimeError{NotYet: notYet})}
		_, err := Connect(testContext(t), Config{Addrs: []string{"127.0.0.1:1"}, Credentials: []credentials.Credentials{creds}})
		_, direct := Dial(testContext(t), Config{Addrs: []string{"127.0.0.1:1"}, Credentials: []credentials.Credentials{creds}})
		_, transport := DialTransport(testContext(t), Config{Addrs: []string{"127.0.0.1:1"}, Credentials: []credentials.Credentials{creds}})
		for _, err := range []error{err, direct, transport} {
			var end *keystore.TimeError
			if errors.Is(err, ErrExpired) == notYet || !errors.As(err, &end) || errors.Is(err, ErrNotFound) {
				t.Errorf("%v: matches ErrExpired: %v", err, notYet)
			}
		}
	}
}

// The context always wins, and so does the timeout; what was under way is named.
func TestConnectEndsWithContext(t *testing.T) {
	s := newSite(t, nil)
	l := newLines()
	l.hole = "192.0.2.1:443"
	config := Config{Addrs: []string{l.hole}, Credentials: []credentials.Credentials{s.file()}, Dial: l.dial}
	ctx, cancel := context.WithCancel(testContext(t))
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := Connect(ctx, config)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), l.hole+" as SSH tunnel, auth server, web proxy: ") {
		t.Error(err)
	}
	config.DialTimeout = 20 * time.Millisecond
	if _, err = Connect(testContext(t), config); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), l.hole+" as SSH tunnel, auth server, web proxy: ") {
		t.Error(err)
	}
	l.only(t, 0)
}

// slowCredentials take their time to open, as a keyring may.
type slowCredentials struct {
	credentials.Credentials
	hold chan struct{}
}

func (s slowCredentials) TLSConfig() (*tls.Config, error) {
	<-s.hold
	return nil, errors.New("never mind")
}

// Credentials that hang, that are broken, and that the server refuses do not keep good ones
// from connecting. Under TLS 1.3 a refusal comes after the handshake.
func TestSeveralCredentials(t *testing.T) {
	s := newSite(t, nil)
	hold := make(chan struct{})
	defer close(hold)
	identity, err := keystore.ReadIdentityFile(s.path("file"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := identity.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates, config.GetClientCertificate = []tls.Certificate{selfMade(t, s.Name())}, nil
	client, err := Connect(testContext(t), Config{Addrs: []string{s.PublicAddr(), s.AuthAddr()}, RootCAs: s.web, Credentials: []credentials.Credentials{
		slowCredentials{s.file(), hold}, credentials.LoadIdentityString("junk"), credentials.LoadTLS(config), s.file(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	_, err = Connect(testContext(t), Config{Addrs: []string{s.AuthAddr()}, Credentials: []credentials.Credentials{
		credentials.LoadIdentityString("junk"), credentials.LoadTLS(config)}})
	if err == nil || !strings.Contains(err.Error(), "as auth server, web proxy: remote error: tls:") {
		t.Error(err)
	}
}

// selfMade is a certificate by an authority that has the cluster's name and nothing else of it.
func selfMade(t *testing.T, cluster string) tls.Certificate {
	t.Helper()
	var a authServer
	a.makeAuthority(t)
	a.caCert.Subject.CommonName, a.caCert.RawSubject = cluster, nil
	return a.issue(t, nil)
}

// Who answers to the question where the tunnel is may send us anywhere: redirects are not
// followed, and whoever is there has to prove to belong to the cluster. case N17
func TestHostileFind(t *testing.T) {
	s, other := newSite(t, nil), newSite(t, nil)
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+s.PublicAddr()+r.URL.Path, http.StatusFound)
		}, "which is not followed"},
		"a tunnel of another cluster":      {announcing(other.TunnelAddr()), "presented a host certificate signed by"},
		"a tunnel with control characters": {announcing("a\u202eb:1"), "it announces a bad ssh.tunnel_public_addr"},
		"a tunnel with a path":             {announcing("a.example:1/x"), "it announces a bad ssh.tunnel_public_addr"},
		"a portal": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
		}, "not a Teleport proxy"},
		"no end": {func(w http.ResponseWriter, r *http.Request) {
			for _, err := w.Write([]byte("{")); err == nil && r.Context().Err() == nil; _, err = w.Write(make([]byte, 1<<16)) {
			}
		}, "more than"},
	} {
		server := httptest.NewTLSServer(tt.answer)
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		_, err := Connect(testContext(t), Config{Addrs: []string{server.Listener.Addr().String()}, RootCAs: roots, Credentials: []credentials.Credentials{s.file()}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}

func announcing(tunnel string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"server_version":"18.3.0","cluster_name":"dev.example","proxy":{"ssh":{"tunnel_public_addr":"` + tunnel + `"}}}`))
	}
}

// A route that has become wrong is made up for: the others begin when it has failed.
func TestKnownRouteThatFails(t *testing.T) {
	s := newSite(t, nil)
	// What the profile says is TLS routing; the load balancer before it ends TLS.
	client, err := Connect(testContext(t), Config{RootCAs: s.web, Credentials: []credentials.Credentials{
		routedFile{s.file(), credentials.Route{WebAddr: s.balancer, TLSRouting: true}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

type routedFile struct {
	credentials.Credentials
	route credentials.Route
}

func (r routedFile) Route() (credentials.Route, error) { return r.route, nil }

// rotating are credentials that are renewed each time they are asked.
type rotating struct {
	credentials.Credentials
	asked, shown atomic.Int32 // how often; the latest one that was shown to a server
}

func (r *rotating) TLSConfig() (*tls.Config, error) {
	config, err := r.Credentials.TLSConfig()
	if err != nil {
		return nil, err
	}
	generation := r.asked.Add(1)
	get := config.GetClientCertificate
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		// What loses a race may still be showing an earlier one.
		for last := r.shown.Load(); last < generation && !r.shown.CompareAndSwap(last, generation); last = r.shown.Load() {
		}
		return get(request)
	}
	return config, nil
}

// A connection that broke is made anew by the way that worked, with what the credentials
// have then; when that way is gone, all are tried again.
func TestReconnect(t *testing.T) {
	s := newSite(t, nil)
	network := netsim.New()
	defer network.Close()
	listen := func(target string) *netsim.Proxy {
		p, err := network.Listen(target)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	auth, tunnel := listen(s.AuthAddr()), listen("")
	creds := &rotating{Credentials: s.file()}
	config := Config{Addrs: []string{auth.Addr()}, TunnelAddr: tunnel.Addr(), Credentials: []credentials.Credentials{creds}, headStart: time.Minute}
	var dialed atomic.Int32 // counted here: what loses the first race may reach the network later
	config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Err() == nil {
			dialed.Add(1)
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	client, err := Connect(testContext(t), config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ping(t, client)
	first, before := creds.shown.Load(), dialed.Load()
	network.Cut()
	ping(t, client)
	if creds.shown.Load() <= first {
		t.Error("the credentials were not asked again")
	}
	if again := dialed.Load() - before; again != 1 {
		t.Errorf("%d connections to connect again, want one", again)
	}
	auth.SetTarget("")
	tunnel.SetTarget(s.TunnelAddr())
	network.Cut()
	ping(t, client)
}

func ping(t *testing.T, client *Client) {
	t.Helper()
	var err error
	for range 3 { // a call that was under way when the connection broke is not repeated
		if _, err = client.Ping(testContext(t)); err == nil {
			return
		}
	}
	t.Error(err)
}
