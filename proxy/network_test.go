package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever intercepts TLS is named in the error, on the way to the web server as
// well as inside TLS routing.
func TestInterceptorIsNamed(t *testing.T) {
	ca := newAuthority(t, "web")
	filter := newAuthority(t, "Example Filter\x1b[31m\nWARNING: x"+strings.Repeat("y", 10000))
	cert := filter.issue(t, func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "proxy.test", Organization: []string{"Big\u202eCorp"}}
	})
	p := startTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(*tls.Conn) {})

	_, web := clientFor(t, p.addr, ca.pool()).Ping(testContext(t), "")
	var trust *TrustError
	if !errors.As(web, &trust) || trust.Subject != cert.Leaf.Subject.String() || trust.Issuer != cert.Leaf.Issuer.String() {
		t.Errorf("%v (%+v)", web, trust)
	}
	cluster := newAuthority(t, "example.com")
	_, routed := DialAuth(testContext(t), Config{WebAddr: p.addr, TLSRouting: true, TLS: clientIdentity(t, cluster, nil), Cluster: "example.com"})
	for name, err := range map[string]error{"web": web, "TLS routing": routed} {
		if err == nil || !strings.Contains(err.Error(), `presented by CN=proxy.test,O=Big\u202eCorp, issued by CN=Example Filter\x1b[31m\nWARNING: xyyy`) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\x1b\n\u202e") || len(err.Error()) > 2<<10) {
			t.Errorf("%s: %q", name, err)
		}
	}
	// A certificate need not have a name.
	nameless := startTLS(t, &tls.Config{Certificates: []tls.Certificate{filter.issue(t, func(c *x509.Certificate) { c.Subject = pkix.Name{} })}}, func(*tls.Conn) {})
	if _, err := clientFor(t, nameless.addr, ca.pool()).Ping(testContext(t), ""); err == nil || !strings.Contains(err.Error(), "presented by DNS:proxy.test, issued by CN=Example Filter") {
		t.Errorf("without a subject: %v", err)
	}
}

// case N15: a proxy that is told to be its own proxy, and one that sends itself
// what it gets: each connection is made once.
func TestHTTPProxyLoop(t *testing.T) {
	ca := newAuthority(t, "web")
	web := pingServer(t, serverConfig(t, ca), "c")
	_, port, _ := net.SplitHostPort(web.addr)
	setProxy(t, "http://"+web.addr, "")
	c := NewClient(Options{Addr: mustParse(t, "proxy.test:"+port), RootCAs: ca.pool()})
	defer c.Close()
	if _, err := c.Ping(testContext(t), ""); err == nil || !strings.Contains(err.Error(), "HTTP proxy "+web.addr) || web.conns.Load() != 1 {
		t.Errorf("its own proxy: %v, %d connections", err, web.conns.Load())
	}
	var self *peer
	self = startPeer(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 305 Use Proxy\r\nLocation: http://%s/\r\nContent-Length: 0\r\n\r\n", self.addr)
	})
	setProxy(t, "http://u:"+canary+"@"+self.addr, "")
	if _, err := dialFunc(nil).tcp(testContext(t), "proxy.test:443", nil); err == nil || !strings.Contains(err.Error(), "305") || self.conns.Load() != 1 {
		t.Errorf("sends to itself: %v, %d connections", err, self.conns.Load())
	}
}

// case N15, case N21: all ways to a cluster go through the HTTP proxy: TLS
// routing, a port of its own for SSH, and the connection that is upgraded.
func TestHTTPProxyEveryDial(t *testing.T) {
	cluster := newAuthority(t, "example.com")
	inner := clusterServer(t, cluster)
	target := startTLS(t, inner, func(conn *tls.Conn) { _, _ = io.Copy(io.Discard, conn) })
	lb := upgradingServer(t, cluster, func(conn net.Conn) {
		secured := tls.Server(conn, inner)
		_, _ = io.Copy(io.Discard, secured)
	})
	id := clientIdentity(t, cluster, nil)
	for name, tt := range map[string]struct {
		behind string
		cfg    Config
		want   string
	}{
		"TLS routing":    {target.addr, Config{WebAddr: "proxy.test:443", TLSRouting: true}, "CONNECT proxy.test:443 HTTP/1.1"},
		"separate ports": {target.addr, Config{SSHAddr: "proxy.test:3023"}, "CONNECT proxy.test:3023 HTTP/1.1"},
		"upgraded":       {lb.Listener.Addr().String(), Config{WebAddr: "proxy.test:443", TLSRouting: true, ConnUpgrade: true, RootCAs: cluster.pool()}, "CONNECT proxy.test:443 HTTP/1.1"},
	} {
		asked := make(chan *request, 1)
		through := httpProxyServer(t, tt.behind, asked)
		setProxy(t, "http://user:p@"+through.addr, "")
		tt.cfg.TLS, tt.cfg.Cluster = id, "example.com"
		conn, err := tt.cfg.connect(testContext(t), alpnTransport, alpnHTTP2)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = conn.Close()
		if req := <-asked; req.line != tt.want || !strings.Contains(strings.Join(req.headers, "\n"), "Proxy-Authorization: Basic dXNlcjpw") {
			t.Errorf("%s: %+v", name, req)
		}
	}
}

// elsewhere is a connection that says it leads to another address.
type elsewhere struct {
	net.Conn
	ip     string
	closed *atomic.Bool
}

func (e elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(e.ip), Port: 443} }
func (e elsewhere) Close() error         { e.closed.Store(true); return e.Conn.Close() }

// case N19: what counts is where the connection goes, not what the name says.
func TestLoopbackIsTheConnectedAddress(t *testing.T) {
	setProxy(t, "http://127.0.0.1:1", "") // loopback names are kept from it
	for _, tt := range []struct {
		name, ip string
		ok       bool
	}{
		{"localhost", "127.0.0.1", true}, {"LocalHost", "::1", true}, {"localhost", "127.9.9.9", true},
		{"localhost", "192.0.2.1", false}, {"LOCALHOST", "2001:db8::1", false}, {"localhost", "::ffff:192.0.2.1", false},
	} {
		var closed atomic.Bool
		near, far := net.Pipe()
		dial := func(context.Context, string, string) (net.Conn, error) { return elsewhere{near, tt.ip, &closed}, nil }
		written := make(chan int, 1)
		go func() { n, _ := far.Read(make([]byte, 1)); written <- n }()
		c := NewClient(Options{Addr: mustParse(t, tt.name+":443"), Insecure: true, Dial: dial})
		if tt.ok {
			conn, err := dialFunc(dial).tcp(testContext(t), tt.name+":443", nil)
			if err != nil || conn == nil {
				t.Errorf("%s at %s: %v", tt.name, tt.ip, err)
			}
			_ = near.Close()
			continue
		}
		_, err := c.LoginFinish(testContext(t), FinishRequest{User: "u", Password: canary})
		if err == nil || !strings.Contains(err.Error(), "which is not this machine") || !closed.Load() || <-written != 0 {
			t.Errorf("%s at %s: %v", tt.name, tt.ip, err)
		}
		_ = far.Close()
	}
}

// case N23: what breaks a kept connection is an error for a POST, which is sent
// once; a GET is repeated once, on a new connection, and no more.
func TestKeptConnectionBreaks(t *testing.T) {
	ca := newAuthority(t, "web")
	for name, post := range map[string]bool{"GET": false, "POST": true} {
		var requests atomic.Int32
		p := startTLS(t, serverConfig(t, ca), func(conn *tls.Conn) {
			r := bufio.NewReader(conn)
			for {
				if _, err := readRequest(r); err != nil {
					return
				}
				if requests.Add(1) > 1 {
					_ = conn.NetConn().(*net.TCPConn).SetLinger(0)
					return // with a reset, before a byte of the answer
				}
				_, _ = conn.Write(reply(200, `{"cluster_name":"c"}`))
			}
		})
		c := clientFor(t, p.addr, ca.pool())
		if _, err := c.Ping(testContext(t), ""); err != nil {
			t.Fatal(err)
		}
		var err error
		want := int32(3) // the first, the one that broke, its repetition
		if post {
			_, err = c.LoginFinish(testContext(t), FinishRequest{User: "u", Password: canary})
			want = 2
		} else {
			_, err = c.Ping(testContext(t), "")
		}
		if err == nil || requests.Load() != want || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %d requests, want %d: %v", name, requests.Load(), want, err)
		}
		c.Close()
	}
}

// case N13: chains that are made to cost time are refused in little of it.
func TestChainBombs(t *testing.T) {
	ca := newAuthority(t, "web")
	for name, cert := range map[string]tls.Certificate{
		"ten thousand names":            ca.issue(t, func(c *x509.Certificate) { c.DNSNames = manyNames(10000) }),
		"name constraints times names":  constrained(t, ca),
		"the same issuer a hundredfold": crossSigned(t, ca),
		"a DSA key":                     withDSA(t, ca),
	} {
		p := startTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(*tls.Conn) {})
		c := NewClient(Options{Addr: mustParse(t, "other.test:443"), RootCAs: ca.pool(), Dial: dialTo(map[string]string{"443": p.addr})})
		start := time.Now()
		_, err := c.LoginFinish(testContext(t), FinishRequest{User: "u", Password: canary})
		if took := time.Since(start); err == nil || took > 5*time.Second {
			t.Errorf("%s: after %v: %v", name, took, err)
		}
		if err != nil && (len(err.Error()) > 2<<10 || strings.Contains(err.Error(), canary)) {
			t.Errorf("%s: %.300q", name, err)
		}
		c.Close()
	}
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("h%d.test", i))
	}
	return names
}

// under certifies an authority by another, and a server by that.
func under(t *testing.T, ca *authority, name string, change func(authority, leaf *x509.Certificate)) (middle *authority, chain tls.Certificate) {
	t.Helper()
	middle = &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := new(x509.Certificate)
	change(template, leaf)
	middle.cert = sign(t, template, ca.cert, middle.key, ca.key)
	chain = middle.issue(t, func(c *x509.Certificate) { c.DNSNames = leaf.DNSNames })
	chain.Certificate = append(chain.Certificate, middle.cert.Raw)
	return middle, chain
}

func constrained(t *testing.T, ca *authority) tls.Certificate {
	_, chain := under(t, ca, "constrained", func(authority, leaf *x509.Certificate) {
		leaf.DNSNames = manyNames(1500)
		for i := range 1500 {
			authority.PermittedDNSDomains = append(authority.PermittedDNSDomains, fmt.Sprintf("p%d.test", i))
		}
	})
	return chain
}

// crossSigned has many certificates for authorities of one name: each might be
// the issuer of each.
func crossSigned(t *testing.T, _ *authority) tls.Certificate {
	stranger := newAuthority(t, "loop")
	_, chain := under(t, stranger, "loop", func(_, leaf *x509.Certificate) { leaf.DNSNames = []string{"other.test"} })
	for range 100 {
		again, _ := under(t, stranger, "loop", func(_, _ *x509.Certificate) {})
		chain.Certificate = append(chain.Certificate, again.cert.Raw)
	}
	return chain
}

// withDSA is a chain whose authority has a key of an algorithm that nobody
// verifies any more.
func withDSA(t *testing.T, ca *authority) tls.Certificate {
	t.Helper()
	middle, chain := under(t, ca, "dsa", func(_, leaf *x509.Certificate) { leaf.DNSNames = []string{"other.test"} })
	type parameters struct{ P, Q, G *big.Int }
	prime := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 1023), big.NewInt(9))
	params, err := asn1.Marshal(parameters{prime, big.NewInt(11), big.NewInt(2)})
	if err != nil {
		t.Fatal(err)
	}
	y, err := asn1.Marshal(big.NewInt(12345))
	if err != nil {
		t.Fatal(err)
	}
	key, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, Parameters: asn1.RawValue{FullBytes: params}}, asn1.BitString{Bytes: y, BitLength: 8 * len(y)}})
	if err != nil {
		t.Fatal(err)
	}
	// The same certificate with the other key, signed again.
	var fields []asn1.RawValue
	var body asn1.RawValue
	if _, err := asn1.Unmarshal(middle.cert.RawTBSCertificate, &body); err != nil {
		t.Fatal(err)
	}
	for rest := body.Bytes; len(rest) > 0; {
		var field asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &field); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(field.FullBytes, middle.cert.RawSubjectPublicKeyInfo) {
			field = asn1.RawValue{FullBytes: key}
		}
		fields = append(fields, field)
	}
	tbs, err := asn1.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(tbs)
	signature, err := ecdsa.SignASN1(rand.Reader, ca.key.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	if cert, err := x509.ParseCertificate(der); err != nil || cert.PublicKeyAlgorithm != x509.DSA {
		t.Fatalf("no certificate with a DSA key: %v", err)
	}
	chain.Certificate[1] = der
	return chain
}
