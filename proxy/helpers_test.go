package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// canary is a password that must not show up anywhere.
const canary = "canary-Pa55word"

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// authority certifies test servers and clients.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	a.cert = sign(t, template, template, a.key, a.key)
	return a
}

func sign(t testing.TB, template, parent *x509.Certificate, key, parentKey crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue certifies a new key; change may alter the certificate of an ordinary
// server for 127.0.0.1 and proxy.test.
func (a *authority) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"proxy.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	cert := sign(t, template, a.cert, key, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// peer is a server at the other end of a TCP connection; what it does with one
// is up to a function.
type peer struct {
	addr  string
	conns atomic.Int32
}

func startPeer(t testing.TB, serve func(net.Conn)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: l.Addr().String()}
	var mu sync.Mutex
	var open []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Add(1)
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			running.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return p
}

// startTLS is startPeer behind TLS.
func startTLS(t testing.TB, cfg *tls.Config, serve func(*tls.Conn)) *peer {
	return startPeer(t, func(conn net.Conn) {
		secured := tls.Server(conn, cfg)
		if secured.HandshakeContext(context.Background()) == nil {
			serve(secured)
		}
	})
}

// request is a request as it came over the wire.
type request struct {
	line    string
	headers []string // without Host
	body    string
}

func readRequest(r *bufio.Reader) (*request, error) {
	req := new(request)
	size := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "":
			body := make([]byte, size)
			_, err := io.ReadFull(r, body)
			req.body = string(body)
			return req, err
		case req.line == "":
			req.line = line
		case strings.HasPrefix(line, "Host: "):
		default:
			_, _ = fmt.Sscanf(line, "Content-Length: %d", &size)
			req.headers = append(req.headers, line)
		}
	}
}

// startWeb is a web listener that answers every request on every connection
// with what answer returns; nil closes the connection.
func startWeb(t testing.TB, cfg *tls.Config, answer func(*request) []byte) *peer {
	return startTLS(t, cfg, func(conn *tls.Conn) {
		r := bufio.NewReader(conn)
		for {
			req, err := readRequest(r)
			if err != nil {
				return
			}
			data := answer(req)
			if _, err := conn.Write(data); err != nil || data == nil {
				return
			}
		}
	})
}

func serverConfig(t testing.TB, a *authority) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
}

// fixture is a captured answer, ready to be sent.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	head, body, ok := bytes.Cut(readFile(t, name), []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s is no HTTP answer", name)
	}
	lines := strings.Split(string(head), "\r\n")
	kept := lines[:0]
	for _, line := range lines {
		if !strings.HasPrefix(line, "Content-Length:") && !strings.HasPrefix(line, "Transfer-Encoding:") {
			kept = append(kept, line)
		}
	}
	kept = append(kept, fmt.Sprintf("Content-Length: %d", len(body)))
	return append([]byte(strings.Join(kept, "\r\n")+"\r\n\r\n"), body...)
}

func fixtureBody(t testing.TB, name string) []byte {
	t.Helper()
	_, body, _ := bytes.Cut(fixture(t, name), []byte("\r\n\r\n"))
	return body
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// reply is an answer with a JSON body.
func reply(status int, body string, headers ...string) []byte {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", status, http.StatusText(status), len(body))
	for _, h := range headers {
		head += h + "\r\n"
	}
	return []byte(head + "\r\n" + body)
}

// clientFor is a client of the web listener at addr.
func clientFor(t testing.TB, addr string, roots *x509.CertPool) *Client {
	t.Helper()
	parsed, err := ParseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(Options{Addr: parsed, RootCAs: roots})
	t.Cleanup(c.Close)
	return c
}

// dialTo sends connections for the ports of proxy.test to local addresses.
// Others are refused; an empty address never answers.
func dialTo(ports map[string]string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, _ := net.SplitHostPort(addr)
		target, ok := ports[port]
		if host != "proxy.test" || !ok {
			return nil, errors.New("connection refused: " + addr)
		}
		if target == "" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return new(net.Dialer).DialContext(ctx, network, target)
	}
}

func mustParse(t testing.TB, s string) Addr {
	t.Helper()
	addr, err := ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// helloTo reports the SNI name and the ALPN names of each client.
func helloTo(c chan<- []string) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c <- append([]string{hello.ServerName}, hello.SupportedProtos...)
		return nil, nil
	}
}

// issueSelf is a certificate that is signed by its own key.
func (a *authority) issueSelf(t testing.TB) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "self"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"proxy.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert := sign(t, template, template, a.key, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: a.key, Leaf: cert}
}

// oddExtension is critical and unknown.
func oddExtension() []pkix.Extension {
	return []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte("x")}}
}

// countPlain presents cert and reports how many bytes the client sends inside.
func countPlain(cert tls.Certificate, got chan<- int) func(net.Conn) {
	return func(conn net.Conn) {
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		data, _ := io.ReadAll(secured)
		got <- len(data)
	}
}

// clusterServer is the TLS configuration of a cluster's own server: certified
// by its host authority, and asking for a certificate of its user authority
// (here the same).
func clusterServer(t testing.TB, a *authority) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{a.issue(t, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"*.teleport.cluster.local", "teleport.cluster.local"}, nil
		})},
		NextProtos: []string{"h2"},
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  a.pool(),
	}
}

// clientIdentity is what a user of the cluster has got at login.
func clientIdentity(t testing.TB, a *authority, change func(*x509.Certificate)) *tls.Config {
	cert := a.issue(t, func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "alice"}
		c.DNSNames, c.IPAddresses = nil, nil
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if change != nil {
			change(c)
		}
	})
	return &tls.Config{
		RootCAs:              a.pool(),
		ServerName:           "teleport.cluster.local",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
}

// TestMain keeps the settings of the machine out of the tests.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", upgradeVariable} {
		_ = os.Unsetenv(name)
	}
	os.Exit(m.Run())
}
