// Package rpc is a gRPC client over net/http's HTTP/2: one connection, unary
// and streaming calls, deadlines, status. It carries the bytes of messages and
// knows none of them; package wire does. Use NewConn.
//
// It follows "gRPC over HTTP/2" (the protocol description of the gRPC project)
// as far as a client without compression and call credentials needs it.
package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	// authority is the name that calls are addressed to; servers of a cluster
	// answer to it whatever their own is.
	authority = "teleport.cluster.local"
	// maxHeaders limits the headers, and the trailers, of one answer.
	maxHeaders = 256 << 10
	// alertPatience is how long a connection that broke while we wrote may
	// take to tell why.
	alertPatience = 250 * time.Millisecond
	// keepAlive is how long a peer may be silent before it is asked whether it is still
	// there, keepAlivePatience how long it may take to answer. Servers take more frequent
	// questions for an attack.
	keepAlive         = time.Minute
	keepAlivePatience = 3 * time.Minute
)

// ErrClosed is the outcome of calls on a connection that Close has ended.
var ErrClosed = errors.New("the connection has been closed")

// Conn makes calls over one HTTP/2 connection. It is connected by the first
// call or by Connect; after the connection has broken, the next call makes a
// new one. Its methods may be called from several goroutines.
//
// A call takes no lock of Conn's: it loads current and looks whether reading from
// it has ended. All that changes current (connecting, Renew, Close) is ordered by mu.
type Conn struct {
	// StreamBuffer limits, in bytes, what may come on a stream before it is read; 0 is
	// what net/http does, 4 MiB. It is set before the first call.
	StreamBuffer int

	dial func(context.Context) (net.Conn, error)
	busy chan struct{} // holds a token while a goroutine connects

	current atomic.Pointer[link] // nil until there is one, and after it was given up

	mu     sync.Mutex
	older  []*link // given up for another one while calls were under way on them
	closed bool

	idle, patience time.Duration // keepAlive, keepAlivePatience
}

// link is an established connection.
type link struct {
	owner *Conn
	http  *http.ClientConn
	conn  *watchedConn
	made  time.Time
}

// NewConn returns a Conn over what dial returns, on which HTTP/2 starts at
// once, whatever TLS has negotiated. dial must heed its context.
func NewConn(dial func(context.Context) (net.Conn, error)) *Conn {
	return &Conn{dial: dial, busy: make(chan struct{}, 1), idle: keepAlive, patience: keepAlivePatience}
}

// Connect makes the connection if there is none. The error of a dial is
// wrapped, so that callers can match its cause.
func (c *Conn) Connect(ctx context.Context) error {
	_, err := c.connected(ctx)
	return err
}

func (c *Conn) connected(ctx context.Context) (*link, error) {
	if l := c.current.Load(); l.usable() {
		return l, nil
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if l := c.current.Load(); l.usable() {
		return l, nil
	}
	fresh, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = fresh.conn.Close()
		return nil, ErrClosed
	}
	c.current.Store(fresh)
	return fresh, nil
}

// usable reports whether calls can be made over l: whether reading goes on. net/http
// is not asked. It closes a connection that it finds broken, which ends reading; and a
// peer can bring it into a state where every question about the connection waits for
// ever (Go 1.26: a stream's window that overflows). In that state calls are made in
// vain, but wait in goroutines of their own: their contexts end them.
func (l *link) usable() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.conn.ended:
		return false
	default:
		return true
	}
}

func (c *Conn) connect(ctx context.Context) (*link, error) {
	// The transport hides errors of a dial well, and never dials under another
	// context than the one that the connection is waited for with: dial first.
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	watched := &watchedConn{Conn: nc, ended: make(chan struct{})}
	// A connection that is no *tls.Conn counts as unencrypted: that is what
	// makes net/http start HTTP/2 without asking what ALPN has negotiated.
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:              &protocols,
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: c.StreamBuffer, SendPingTimeout: c.idle, PingTimeout: c.patience,
		},
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return watched, nil },
	}
	client, err := transport.NewClientConn(ctx, "https", authority+":443")
	if err != nil {
		_ = nc.Close()
		return nil, watched.explain(err)
	}
	return &link{c, client, watched, time.Now()}, nil
}

// Renew has the next call made over a new connection, unless the present one is younger
// than age: it may have died without a word. Calls under way go on where they are, and
// a connection on which there are none any more is closed.
func (c *Conn) Renew(age time.Duration) {
	if l := c.current.Load(); l != nil && time.Since(l.made) >= age {
		l.giveUp()
	}
}

// giveUp has the next call made over a new connection.
func (old *link) giveUp() {
	c := old.owner
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.Load() != old {
		return
	}
	c.current.Store(nil)
	c.older = append(c.older, old)
	drained := make(chan struct{}, 1)
	// The hook runs in the midst of the transport's work.
	old.http.SetStateHook(func(*http.ClientConn) {
		select {
		case drained <- struct{}{}:
		default:
		}
	})
	go func() {
		for old.http.Err() == nil && old.http.InFlight() > 0 {
			<-drained
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.older = slices.DeleteFunc(c.older, func(l *link) bool { return l == old })
		_ = old.close()
	}()
}

func (l *link) close() error {
	l.conn.closed.Store(true)
	return l.conn.Close() // the transport notices
}

// Close ends the connection and with it all calls under way.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, old := range c.older {
		_ = old.close()
	}
	current := c.current.Load()
	if current == nil {
		return nil
	}
	c.current.Store(nil)
	return current.close()
}

// watchedConn remembers how reading ended. A server that refuses a client
// certificate under TLS 1.3 says so in an alert that only the first read sees,
// while the error that a call ends with may be that of a write.
type watchedConn struct {
	net.Conn
	once  sync.Once
	ended chan struct{} // closed once cause is set
	cause error

	closed atomic.Bool // by us
}

func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.once.Do(func() {
			w.cause = err
			close(w.ended)
		})
	}
	return n, err
}

// Write looks, where it fails, for what the peer has said last. Nothing else
// might read any more.
func (w *watchedConn) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil && w.Conn.SetReadDeadline(time.Now().Add(alertPatience)) == nil {
		for rest := make([]byte, 4<<10); ; {
			if _, err := w.Read(rest); err != nil {
				break
			}
		}
	}
	return n, err
}

// explain returns the alert that ended the connection, if that is why a call
// failed with err; otherwise err itself, fit to print.
func (w *watchedConn) explain(err error) error {
	if w.closed.Load() {
		return ErrClosed
	}
	select {
	case <-w.ended:
		if remoteAlert(w.cause) != nil {
			return w.cause
		}
	default:
	}
	return &connError{err}
}

// TLS alerts (RFC 8446, section 6) that callers can do something about.
const (
	AlertExpired    tls.AlertError = 45  // our certificate has expired
	AlertNoProtocol tls.AlertError = 120 // none of the ALPN names we offered will do
)

// IsAlert reports whether err is that alert, sent by the peer.
func IsAlert(err error, alert tls.AlertError) bool {
	// crypto/tls has no exported type for alerts that came over TCP, only for
	// their texts.
	remote := remoteAlert(err)
	return remote != nil && remote.Error() == alert.Error()
}

func remoteAlert(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err
	}
	return nil
}

// connError is a broken connection or stream; its text may come from the peer.
type connError struct{ err error }

func (e *connError) Error() string {
	return "connection to the server: " + cut(text.Line(e.err.Error()))
}
func (e *connError) Unwrap() error { return e.err }

// deadlineHeader is the value of grpc-timeout for the time left: at most eight
// digits and a unit. It is rounded up, so that we notice before the server does.
func deadlineHeader(left time.Duration) string {
	const most = 99999999
	if ms := left.Milliseconds() + 1; ms <= most {
		return fmt.Sprintf("%dm", max(ms, 1))
	}
	return fmt.Sprintf("%dS", min(int64(left/time.Second)+1, most))
}
