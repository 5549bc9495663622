// Package proxy talks to a proxy of a cluster: it finds it, asks what it is
// (Ping), logs in through its web API, and makes the connections that a
// logged-in user needs. Use NewClient before there are certificates, Dial and
// DialAuth with them.
package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/text"
)

// Limits of the web API's answers, after decompression, and of a call.
const (
	maxSmallAnswer = 1 << 20
	maxLoginAnswer = 1 << 20   // that of a cluster which trusts a dozen others has 20 kB
	maxErrorAnswer = 256 << 10 // what follows is not looked at
	callTimeout    = 30 * time.Second
)

// Options say which proxy a Client talks to, and how.
type Options struct {
	// Addr is the proxy's address. Without a port, 443 and 3080 are tried.
	Addr Addr
	// Insecure turns off the verification of the proxy's certificate: anyone
	// on the way can then read and change everything.
	Insecure bool
	// RootCAs are trusted to certify the proxy, and an HTTP proxy before it;
	// nil for the system's, with SSL_CERT_FILE and SSL_CERT_DIR.
	RootCAs *x509.CertPool
	// RememberedPort is tried alone for a moment where Addr has no port.
	RememberedPort int
	// Dial makes TCP connections; nil for the network's own.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Headers returns the names and values of headers that requests to a web
	// address, host:port, have besides; nil for none.
	Headers func(addr string) [][2]string
}

// Client calls the web API of one proxy, over one connection that is kept
// alive. No redirect is followed. Its methods may be called from several
// goroutines; each call but LoginHeadless ends after 30 seconds at the latest.
type Client struct {
	opts Options

	mu        sync.Mutex
	link      *link  // nil until an address has answered
	announced string // the web address that the last ping announced
}

// NewClient returns a client that connects with its first call.
func NewClient(opts Options) *Client { return &Client{opts: opts} }

// Host is the proxy's host as it was given.
func (c *Client) Host() string { return c.opts.Addr.Host }

// WebAddr is the address, host:port, that answered; before that, the one that
// was given.
func (c *Client) WebAddr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return c.opts.Addr.Web()
	}
	return c.link.addr
}

// Verified reports whether every TLS connection of this client, and there has
// been one, was to a server with a valid certificate for Host. With Insecure
// nothing depends on that; but as long as it is false, what the proxy says
// about itself may be said by anyone (Ping.Unproven).
func (c *Client) Verified() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil && c.link.proven.Load() && !c.link.unproven.Load()
}

// Close closes the connection.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		c.link.close()
	}
}

// Ping asks the proxy what it is; with a connector's name, what logging in
// through that needs.
//
// Errors: *Error for an answer that says no, ErrNotTeleport if something else
// answered, *TrustError for its certificate, the context's error, or the
// network's.
func (c *Client) Ping(ctx context.Context, connector string) (*Ping, error) {
	path := "/webapi/ping"
	if connector != "" {
		path += "/" + url.PathEscape(connector)
	}
	l, ping, err := c.reach(ctx, path)
	if err == nil && ping == nil {
		ping, err = l.ping(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.announced = ping.Settings(l.addr).WebAddr
	c.mu.Unlock()
	return ping, nil
}

// MOTD returns the cluster's message of the day, empty if there is none.
// Errors are those of Ping.
func (c *Client) MOTD(ctx context.Context) (string, error) {
	l, _, err := c.reach(ctx, "/webapi/ping")
	if err != nil {
		return "", err
	}
	var answer struct {
		Text string `json:"Text"`
	}
	err = l.call(ctx, call{op: "message of the day", path: "/webapi/motd", limit: maxSmallAnswer}, &answer)
	return answer.Text, err
}

func (c *Client) post(ctx context.Context, op, path string, request, answer any) error {
	l, _, err := c.reach(ctx, "/webapi/ping")
	if err != nil {
		return err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return l.call(ctx, call{op: op, path: path, body: body, limit: maxLoginAnswer}, answer)
}

// reach returns the link to the address that answers. Where that has to be
// found out by pinging at pingPath, the ping's answer comes along.
func (c *Client) reach(ctx context.Context, pingPath string) (*link, *Ping, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		return c.link, nil, nil
	}
	if c.opts.Addr.WebPortGiven {
		c.link = newLink(&c.opts, c.opts.Addr.WebPort)
		return c.link, nil, nil
	}
	l, ping, err := c.race(ctx, pingPath)
	c.link = l
	return l, ping, err
}

// link is a kept-alive connection to one address of the proxy.
type link struct {
	addr string // host:port
	http *http.Transport
	more headerFunc
	life context.Context // of connections and of attempts to make one
	end  context.CancelFunc

	date atomic.Int64 // of the last answer by the proxy's clock, Unix seconds; 0 if unknown

	proven, unproven atomic.Bool // there was a connection to a server that is, that is not, known to be the host
}

func newLink(opts *Options, port int) *link {
	l := &link{addr: joinHostPort(opts.Addr.Host, port), more: opts.Headers}
	l.life, l.end = context.WithCancel(context.Background())
	dial := dialFunc(opts.Dial)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	l.http = &http.Transport{
		Protocols:              &protocols,
		MaxConnsPerHost:        1,
		MaxResponseHeaderBytes: maxHeader,
		// The context of a request does not reach its dial; the link's does,
		// so that closing a link leaves no attempt behind.
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(l.life, dialTimeout)
			defer cancel()
			w := webConfig{l.addr, opts.RootCAs, opts.Insecure, nil}
			conn, err := dialWeb(ctx, dial, w)
			if err != nil {
				return nil, err // not conn, which is a nil pointer
			}
			if w.proves(conn.ConnectionState()) {
				l.proven.Store(true)
			} else {
				l.unproven.Store(true)
			}
			return conn, nil
		},
	}
	return l
}

// webConfig is how to connect to a proxy's web listener.
type webConfig struct {
	addr     string
	roots    *x509.CertPool
	insecure bool
	alpn     []string
}

// dialWeb makes a TLS connection to the web listener of a proxy.
func dialWeb(ctx context.Context, dial dialFunc, w webConfig) (*tls.Conn, error) {
	host, _, err := net.SplitHostPort(w.addr)
	if err != nil {
		return nil, err
	}
	cfg, err := webTLS(host, w.roots, w.insecure)
	if err != nil {
		return nil, err
	}
	cfg.NextProtos = w.alpn
	conn, err := dial.tcp(ctx, w.addr, w.roots)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		var header tls.RecordHeaderError
		if errors.As(err, &header) {
			return nil, fmt.Errorf("it does not speak TLS: %w", err)
		}
		return nil, trustError(w.addr, err)
	}
	return secured, nil
}

func (l *link) close() {
	l.end()
	l.http.CloseIdleConnections()
}

// ping calls ping at path.
func (l *link) ping(ctx context.Context, path string) (*Ping, error) {
	data, err := l.do(ctx, call{op: "ping", path: path, limit: maxSmallAnswer})
	if err != nil {
		return nil, err
	}
	ping, err := decodePing(data)
	if err != nil {
		return nil, l.malformed("ping", data, err)
	}
	return ping, nil
}

// call is a call of the web API; with a body it is a POST.
type call struct {
	op, path string
	body     []byte
	limit    int64
	patience time.Duration // how long the answer may take; callTimeout if zero
}

// call makes a call and decodes the answer.
func (l *link) call(ctx context.Context, c call, answer any) error {
	data, err := l.do(ctx, c)
	if err != nil {
		return err
	}
	if err := decodeJSON(data, answer); err != nil {
		return l.malformed(c.op, data, err)
	}
	return nil
}

// malformed is the error for an answer that is not what it should be.
func (l *link) malformed(op string, data []byte, err error) error {
	if strings.HasPrefix(string(bytes.TrimSpace(data[:min(len(data), 64)])), "<") || errors.Is(err, ErrNotTeleport) {
		return fmt.Errorf("%s on %s: %w", op, l.addr, ErrNotTeleport)
	}
	return fmt.Errorf("%s on %s: the answer cannot be used: %w", op, l.addr, err)
}

// do makes a call and returns the body of its answer.
func (l *link) do(ctx context.Context, c call) ([]byte, error) {
	if c.patience == 0 {
		c.patience = callTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+l.addr+c.path, nil)
	if c.body != nil {
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, "https://"+l.addr+c.path, bytes.NewReader(c.body))
	}
	if err != nil {
		return nil, err
	}
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	l.more.add(req.Header, l.addr)
	start := time.Now()
	// The transport itself follows no redirect.
	answer, err := l.http.RoundTrip(req)
	if err != nil {
		return nil, l.failed(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }()
	l.noteDate(answer.Header)
	limit := c.limit
	if answer.StatusCode != http.StatusOK {
		limit = maxErrorAnswer
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	slog.Debug("web API", "host", l.addr, "path", c.path, "status", answer.StatusCode, "bytes", len(body), "took", time.Since(start))
	switch {
	case err != nil:
		return nil, l.failed(ctx, err)
	case answer.StatusCode != http.StatusOK:
		return nil, refusal(c.op, l.addr, answer, body[:min(len(body), maxErrorAnswer)])
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("%s on %s: the answer has more than %d bytes", c.op, l.addr, limit)
	}
	return body, nil
}

// failed is the error for a call that got no answer.
func (l *link) failed(ctx context.Context, err error) error {
	var trust *TrustError
	if errors.As(err, &trust) {
		return trust
	}
	return &netError{l.addr, causeOr(ctx, err)}
}

// netError is a connection to host that failed. Parts of its text may come
// from the peer.
type netError struct {
	host string
	err  error
}

func (e *netError) Error() string {
	if errors.Is(e.err, context.DeadlineExceeded) {
		return e.host + ": no answer in time"
	}
	return e.host + ": " + cutShown(text.Line(e.err.Error()))
}

func (e *netError) Unwrap() error { return e.err }

// Is makes a refusal of our certificate for its age an ErrExpired.
func (e *netError) Is(target error) bool {
	return target == ErrExpired && rpc.IsAlert(e.err, rpc.AlertExpired)
}

// ErrExpired: the cluster refuses our certificate because it has expired.
var ErrExpired = errors.New("the certificate has expired")
