package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// httpProxyServer is an HTTP proxy that connects everything to target and
// reports what it was asked for.
func httpProxyServer(t *testing.T, target string, asked chan<- *request) *peer {
	return startPeer(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		req, err := readRequest(r)
		if err != nil {
			return
		}
		asked <- req
		far, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		defer func() { _ = far.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
		go func() {
			_, _ = io.Copy(far, r)
			_ = far.Close() // a client that resets the connection has no goodbye for the server
		}()
		_, _ = io.Copy(conn, far)
	})
}

func setProxy(t *testing.T, value, except string) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("HTTPS_PROXY", value)
	t.Setenv("NO_PROXY", except)
}

// case N15: everything goes through CONNECT, credentials only where the URL
// has them.
func TestHTTPProxy(t *testing.T) {
	ca := newAuthority(t, "web")
	web := pingServer(t, serverConfig(t, ca), "through the proxy")
	asked := make(chan *request, 4)
	through := httpProxyServer(t, web.addr, asked)
	for value, auth := range map[string]string{
		"http://" + through.addr: "",
		through.addr:             "",
		"http://user:p%40ss@" + through.addr + "/any": "Proxy-Authorization: Basic dXNlcjpwQHNz",
	} {
		setProxy(t, value, "other.test,10.0.0.0/8")
		c := NewClient(Options{Addr: mustParse(t, "proxy.test:443"), RootCAs: ca.pool()})
		ping, err := c.Ping(testContext(t), "")
		if err != nil || ping.ClusterName != "through the proxy" {
			t.Fatalf("%s: %+v, %v", value, ping, err)
		}
		c.Close()
		req := <-asked
		headers := strings.Join(req.headers, "\n")
		if req.line != "CONNECT proxy.test:443 HTTP/1.1" || auth != "" && !strings.Contains(headers, auth) || auth == "" && strings.Contains(headers, "uthorization") {
			t.Errorf("%s: %+v", value, req)
		}
	}
	// The environment is read anew: no proxy any more.
	setProxy(t, "", "")
	c := NewClient(Options{Addr: mustParse(t, web.addr), RootCAs: ca.pool()})
	defer c.Close()
	if _, err := c.Ping(testContext(t), ""); err != nil {
		t.Error(err)
	}
}

// case N15
func TestHTTPProxyRefuses(t *testing.T) {
	const secret = "canary-proxy-password"
	answers := map[string]string{
		"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n": "it does not take the user name and the password of HTTPS_PROXY (407)",
		"HTTP/1.1 403 For\x1bbidden\r\nContent-Length: 0\r\n\r\n":                                                          `"403 For\x1bbidden"`,
		"HTTP/1.1 302 Found\r\nLocation: https://evil.example\r\nContent-Length: 0\r\n\r\n":                                "302",
		"HTTP/1.1 200 OK\r\n\r\nsurprise":                                                                                  "sent something before",
		"SSH-2.0-x\r\n":                                                                                                    "malformed",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 1<<20):                                                              "",
		"": "EOF",
	}
	for answer, want := range answers {
		p := startPeer(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
		})
		setProxy(t, "http://user:"+secret+"@"+p.addr, "")
		_, err := dialFunc(nil).tcp(testContext(t), "proxy.test:443", nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "HTTP proxy "+p.addr) {
			t.Errorf("%.40q: %v", answer, err)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\x1b")) {
			t.Errorf("%.40q: %q", answer, err)
		}
	}
	wants := startPeer(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
	})
	setProxy(t, "http://"+wants.addr, "")
	if _, err := dialFunc(nil).tcp(testContext(t), "proxy.test:443", nil); err == nil || !strings.Contains(err.Error(), "HTTPS_PROXY=http://user:password@host:port") {
		t.Errorf("no user name was given: %v", err)
	}
	for value, want := range map[string]string{
		"socks5://u:" + secret + "@127.0.0.1:1":   `kind "socks5"`,
		"ftp://127.0.0.1":                         `kind "ftp"`,
		"http://":                                 "no URL",
		"http://u:" + secret + "@[::1":            "no URL",
		"http://u:" + secret + "%zz@127.0.0.1:80": "no URL",
	} {
		setProxy(t, value, "")
		_, err := dialFunc(nil).tcp(testContext(t), "proxy.test:443", nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// case N15: a proxy that takes the connection and says nothing.
func TestHTTPProxySilent(t *testing.T) {
	setProxy(t, "http://127.0.0.1:1", "")
	synctest.Test(t, func(t *testing.T) {
		dial := dialFunc(func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return near, nil
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := dial.tcp(ctx, "proxy.test:443", nil); err == nil || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestHTTPProxyOverTLS(t *testing.T) {
	ca := newAuthority(t, "nobody trusts")
	p := startTLS(t, serverConfig(t, ca), func(conn *tls.Conn) { t.Error("the proxy was trusted") })
	setProxy(t, "https://u:p@"+p.addr, "")
	var trust *TrustError
	if _, err := dialFunc(nil).tcp(testContext(t), "proxy.test:443", nil); !errors.As(err, &trust) || !strings.Contains(err.Error(), "HTTP proxy "+p.addr+" cannot be trusted") || !strings.Contains(err.Error(), "unknown authority") {
		t.Error(err)
	}
	// With its authority named, it is: the web server's has to be, too.
	web := pingServer(t, serverConfig(t, ca), "through TLS")
	asked := make(chan *request, 1)
	inner := httpProxyServer(t, web.addr, asked)
	secure := startTLS(t, serverConfig(t, ca), func(conn *tls.Conn) {
		far, err := net.Dial("tcp", inner.addr)
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(conn, far); _ = conn.Close() }()
		_, _ = io.Copy(far, conn)
		_ = far.Close()
	})
	setProxy(t, "https://u:"+canary+"@"+secure.addr, "")
	c := NewClient(Options{Addr: mustParse(t, "proxy.test:443"), RootCAs: ca.pool()})
	defer c.Close()
	if ping, err := c.Ping(testContext(t), ""); err != nil || ping.ClusterName != "through TLS" {
		t.Errorf("%+v, %v", ping, err)
	}
	if req := <-asked; req.line != "CONNECT proxy.test:443 HTTP/1.1" {
		t.Errorf("%+v", req)
	}
}

func TestNoProxy(t *testing.T) {
	for _, tt := range []struct {
		host, port, list string
		want             bool
	}{
		{"proxy.test", "443", "", false},
		{"localhost", "443", "", true},
		{"LocalHost", "443", "", true},
		{"127.1.2.3", "443", "", true},
		{"::1", "443", "", true},
		{"proxy.test", "443", "*", true},
		{"proxy.test", "443", " other.test , proxy.test ", true},
		{"proxy.test", "443", "PROXY.test", true},
		{"a.proxy.test", "443", "proxy.test", true},
		{"a.proxy.test", "443", ".proxy.test", true},
		{"a.proxy.test", "443", "*.proxy.test", true},
		{"proxy.test", "443", ".proxy.test", false},
		{"evilproxy.test", "443", "proxy.test", false},
		{"proxy.test", "443", "proxy.test:443", true},
		{"proxy.test", "443", "proxy.test:3080", false},
		{"10.1.2.3", "443", "10.0.0.0/8", true},
		{"11.1.2.3", "443", "10.0.0.0/8", false},
		{"proxy.test", "443", "0.0.0.0/0", false},
		{"10.1.2.3", "443", "10.1.2.3:443", true},
		{"10.1.2.3", "443", ".3", false},
		{"2001:db8::1", "443", "[2001:db8::1]:443", true},
		{"2001:db8::1", "443", "[2001:db8::1]", true},
		{"2001:db8::1", "443", "2001:db8::/32", true},
		// a zone is part of no name (CVE-2025-22870)
		{"::1%25.proxy.test", "443", "proxy.test", true},
		{"fe80::1", "443", "fe80::1%.proxy.test", false},
		{"proxy.test", "443", ",,:,.", false},
	} {
		if got := direct(tt.host, tt.port, tt.list); got != tt.want {
			t.Errorf("%s:%s with NO_PROXY=%q: direct %v", tt.host, tt.port, tt.list, got)
		}
	}
}

// FuzzHTTPAnswer reads anything as an HTTP proxy's answer and as the proxy's
// to an upgrade.
func FuzzHTTPAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: alpn-ping\r\nSec-WebSocket-Accept: x\r\n\r\n\x82\x01a"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, ask := range []func(context.Context, net.Conn) error{
			func(ctx context.Context, c net.Conn) error {
				_, err := (&httpProxy{host: "h"}).connect(ctx, c, "proxy.test:443")
				return err
			},
			func(ctx context.Context, c net.Conn) error {
				_, err := upgrade(ctx, c, "proxy.test:443", nil)
				return err
			},
			func(ctx context.Context, c net.Conn) error {
				_, err := upgradeOld(ctx, c, "proxy.test:443", nil)
				return err
			},
		} {
			near, far := net.Pipe()
			go func() {
				if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
					_, _ = far.Write(answer)
				}
				_ = far.Close()
			}()
			if err := ask(t.Context(), near); err != nil && len(fmt.Sprint(err)) > 64<<10 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			_ = near.Close()
		}
	})
}
