package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// dialTimeout limits getting a connection ready: TCP, an HTTP proxy's
	// consent, TLS, an upgrade.
	dialTimeout = 30 * time.Second
	// maxHeader limits the headers of an answer, in bytes.
	maxHeader = 64 << 10
)

// dialFunc makes TCP connections; nil stands for the network's own.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// tcp connects to addr, host:port, through the HTTP proxy that the environment
// names for it, if any. trusted may certify an HTTP proxy; nil for the system's.
func (dial dialFunc) tcp(ctx context.Context, addr string, trusted *x509.CertPool) (net.Conn, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	via, err := environmentProxy(addr)
	if err != nil {
		return nil, err
	}
	if via == nil {
		return dial.directly(ctx, addr)
	}
	via.roots = trusted
	conn, err := dial(ctx, "tcp", via.address)
	if err != nil {
		return nil, fmt.Errorf("HTTP proxy %s: %w", via.address, err)
	}
	tunnel, err := via.connect(ctx, conn, addr)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("HTTP proxy %s: %w", via.address, err)
	}
	return tunnel, nil
}

// directly connects to addr without a proxy. A name for this machine must not
// lead elsewhere: it would have kept the connection from the HTTP proxy.
func (dial dialFunc) directly(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(addr)
	to, ok := conn.RemoteAddr().(*net.TCPAddr)
	if ok && strings.EqualFold(host, "localhost") && !to.IP.IsLoopback() {
		_ = conn.Close()
		return nil, fmt.Errorf("%s resolves to %s, which is not this machine", host, to.IP)
	}
	return conn, nil
}

// httpProxy is an HTTP proxy that connections can be tunnelled through.
type httpProxy struct {
	_       [0]func() // never compared
	address string    // host:port
	host    string
	secure  bool // it is spoken to over TLS
	auth    string
	roots   *x509.CertPool
}

// environmentProxy is the proxy for connections to addr; nil for none. The
// variables are HTTPS_PROXY and NO_PROXY, in either case, and are read anew
// each time. Loopback is never proxied.
func environmentProxy(addr string) (*httpProxy, error) {
	setting := firstOf(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy"))
	if setting == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if direct(host, port, firstOf(os.Getenv("NO_PROXY"), os.Getenv("no_proxy"))) {
		return nil, nil
	}
	return parseHTTPProxy(setting)
}

// parseHTTPProxy reads a proxy's URL. Errors do not show it: it may hold a
// password.
func parseHTTPProxy(setting string) (*httpProxy, error) {
	if !strings.Contains(setting, "://") {
		setting = "http://" + setting
	}
	u, err := url.Parse(setting)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("the value of HTTPS_PROXY is no URL of an HTTP proxy")
	}
	p := &httpProxy{host: u.Hostname()}
	port := "80"
	switch u.Scheme {
	case "http":
	case "https":
		p.secure, port = true, "443"
	default:
		return nil, fmt.Errorf("HTTPS_PROXY names a proxy of the kind %s; only HTTP proxies (http, https) are supported", shortQuote(u.Scheme))
	}
	p.address = net.JoinHostPort(p.host, firstOf(u.Port(), port))
	if u.User != nil {
		password, _ := u.User.Password()
		p.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p, nil
}

// direct reports whether host is to be reached without a proxy: loopback, and
// what the list noProxy has ("*", a host with all below it, ".below", an
// address, a prefix in CIDR form; each with an optional port).
func direct(host, port, noProxy string) bool {
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	if strings.EqualFold(host, "localhost") || isIP && ip.IsLoopback() {
		return true
	}
	for _, entry := range strings.Split(noProxy, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "*" {
			return true
		}
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			if isIP && prefix.Contains(ip.Unmap()) {
				return true
			}
			continue
		}
		if h, p, err := net.SplitHostPort(entry); err == nil {
			if p != port {
				continue
			}
			entry = h
		}
		if entry != "" && hostMatches(strings.ToLower(host), ip, strings.Trim(entry, "[]")) {
			return true
		}
	}
	return false
}

func hostMatches(host string, ip netip.Addr, entry string) bool {
	if listed, err := netip.ParseAddr(entry); err == nil {
		return listed == ip
	}
	if ip.IsValid() {
		return false // "*.1" says nothing about addresses
	}
	name := strings.TrimPrefix(strings.TrimPrefix(entry, "*"), ".")
	return strings.HasSuffix(host, "."+name) || host == entry
}

// connect has the HTTP proxy at the other end of conn connect to addr.
func (p *httpProxy) connect(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	if p.secure {
		cfg, err := webTLS(p.host, p.roots, false)
		if err != nil {
			return nil, err
		}
		secured := tls.Client(conn, cfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, trustError("HTTP proxy "+p.address, err)
		}
		conn = secured
	}
	stop := closeOnDone(ctx, conn)
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if p.auth != "" {
		req.Header.Set("Proxy-Authorization", p.auth)
	}
	if err := req.Write(conn); err != nil {
		return nil, causeOr(ctx, err)
	}
	r := bufio.NewReader(io.LimitReader(conn, maxHeader))
	answer, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, causeOr(ctx, err)
	}
	switch {
	case p.auth != "" && (answer.StatusCode == http.StatusProxyAuthRequired || answer.StatusCode == http.StatusUnauthorized):
		return nil, fmt.Errorf("it does not take the user name and the password of HTTPS_PROXY (%d)", answer.StatusCode)
	case answer.StatusCode == http.StatusProxyAuthRequired:
		return nil, errors.New("it wants a user name and a password (407): put them into HTTPS_PROXY=http://user:password@host:port")
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it refuses to connect to %s: %s", addr, shortQuote(answer.Status))
	case r.Buffered() > 0:
		return nil, fmt.Errorf("it sent something before the connection to %s was used", addr)
	}
	return conn, nil
}

// closeOnDone interrupts reads and writes on conn when ctx ends. The returned
// function, which is to be called, undoes that.
func closeOnDone(ctx context.Context, conn net.Conn) (stop func()) {
	deadline, ok := ctx.Deadline()
	if ok {
		_ = conn.SetDeadline(deadline)
	}
	cancel := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if cancel() {
			_ = conn.SetDeadline(time.Time{})
		}
	}
}

// causeOr is why ctx ended, if it did; err otherwise.
func causeOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
