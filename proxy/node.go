package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/text"
)

// maxFrame is the most that one message carries of a connection.
const maxFrame = 16 << 10

// NodeError is what the proxy says about a node that it did not connect us to,
// or no longer does. The message is fit to print.
type NodeError struct {
	Target  string // what was dialled, host:port
	Message string
	code    rpc.Code
	expired bool
}

func (e *NodeError) Error() string { return text.Block(e.Message, maxLines) }

// Ambiguous reports whether several nodes go by the name.
func (e *NodeError) Ambiguous() bool {
	return strings.Contains(e.Message, "ambiguous host could match multiple nodes") ||
		strings.Contains(e.Message, "err-node-is-ambiguous") // before 18
}

// Missing reports whether no node goes by the name, or it is offline, as far
// as a cluster tells the two apart from other failures.
func (e *NodeError) Missing() bool {
	return !e.Ambiguous() && (e.code == rpc.NotFound || e.code == rpc.Unavailable)
}

// Denied reports whether the proxy refuses the user.
func (e *NodeError) Denied() bool { return e.code == rpc.PermissionDenied }

// Is makes a refusal of our credentials for their age an ErrExpired.
func (e *NodeError) Is(target error) bool { return target == ErrExpired && e.expired }

// streamConfig is how a connection travels in a call.
type streamConfig struct {
	remote string
	first  []byte // the message that says where to
	encode func(payload []byte) []byte
	decode func(message []byte) ([]byte, error)
}

// streamConn is a connection carried by a call of the transport service.
type streamConn struct {
	streamConfig
	t      *Transport
	stream *rpc.Stream
	cancel context.CancelCauseFunc
	dialed func() bool // ends the influence of the context that it was dialled with

	reading sync.Mutex // guards what follows, and receiving
	rest    []byte     // received and not yet read
	reached bool       // the far end has been reached

	mu     sync.Mutex
	timers [2]*time.Timer // deadlines of reading and of writing
}

func (t *Transport) open(ctx context.Context, method string, cfg streamConfig) (net.Conn, error) {
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c := &streamConn{streamConfig: cfg, t: t, cancel: cancel}
	c.dialed = context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	err := t.conn.Connect(ctx)
	if err == nil {
		c.stream, err = t.conn.Stream(life, method)
	}
	if err == nil {
		err = c.stream.Send(cfg.first)
	}
	if err != nil && !errors.Is(err, io.EOF) { // an early end is told by reading
		cancel(err)
		return nil, c.explain(err)
	}
	return c, nil
}

// Read implements net.Conn.
func (c *streamConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for len(c.rest) == 0 {
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// receive adds the next message to what can be read. The error is the one that
// reading ends with, again and again.
func (c *streamConn) receive() error {
	message, err := c.stream.Recv()
	var payload []byte
	if err == nil {
		payload, err = c.decode(message)
	}
	if err != nil {
		return c.explain(err)
	}
	if len(c.rest) == 0 {
		c.rest = payload
	} else {
		c.rest = append(c.rest[:len(c.rest):len(c.rest)], payload...)
	}
	if !c.reached {
		c.reached = true
		c.dialed()
	}
	return nil
}

// ended says why the proxy has ended the call, to somebody who writes and may
// never come to read.
func (c *streamConn) ended() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		err := c.receive()
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrClosedPipe
		case err != nil:
			return err
		}
	}
}

// explain is the error for a call that ended with err.
func (c *streamConn) explain(err error) error {
	var status *rpc.Status
	var known *netError
	switch {
	case errors.As(err, &known): // of connecting to the proxy anew
		return err
	case errors.As(err, &status):
		return &NodeError{Target: c.remote, Message: status.Error(), code: status.Code, expired: status.Expired()}
	case errors.Is(err, io.EOF) && !c.reached:
		return &NodeError{Target: c.remote, Message: "the proxy ended the connection before it reached " + c.remote}
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return c.t.cfg.explain(err)
}

// Write implements net.Conn.
func (c *streamConn) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), maxFrame)
		if err := c.stream.Send(c.encode(p[:n])); err != nil {
			if errors.Is(err, io.EOF) {
				return written, c.ended()
			}
			return written, c.explain(err)
		}
		written += n
		p = p[n:]
	}
	return written, nil
}

// Close implements net.Conn. It ends the call: that this side has nothing more
// to say would not end it.
func (c *streamConn) Close() error {
	c.cancel(net.ErrClosed)
	c.dialed()
	return c.SetDeadline(time.Time{})
}

// CloseWrite says that nothing more comes. When it returns, what was written is on its way.
// It does not end the connection.
func (c *streamConn) CloseWrite() error {
	// The transport takes the next message when it has sent the one before; an empty one
	// means nothing.
	if err := c.stream.Send(c.encode(nil)); err != nil {
		return c.explain(err)
	}
	return c.stream.CloseSend()
}

type streamAddr string

func (a streamAddr) Network() string { return "teleport" }
func (a streamAddr) String() string  { return string(a) }

// LocalAddr implements net.Conn.
func (c *streamConn) LocalAddr() net.Addr { return streamAddr("local") }

// RemoteAddr implements net.Conn: what was asked for.
func (c *streamConn) RemoteAddr() net.Addr { return streamAddr(c.remote) }

// SetDeadline implements net.Conn, as SetReadDeadline does.
func (c *streamConn) SetDeadline(t time.Time) error {
	c.setTimer(0, t)
	c.setTimer(1, t)
	return nil
}

// SetReadDeadline implements net.Conn, but for one thing: a deadline that
// passes ends the connection.
func (c *streamConn) SetReadDeadline(t time.Time) error {
	c.setTimer(0, t)
	return nil
}

// SetWriteDeadline implements net.Conn, as SetReadDeadline does.
func (c *streamConn) SetWriteDeadline(t time.Time) error {
	c.setTimer(1, t)
	return nil
}

func (c *streamConn) setTimer(which int, t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers[which] != nil {
		c.timers[which].Stop()
		c.timers[which] = nil
	}
	if !t.IsZero() {
		c.timers[which] = time.AfterFunc(time.Until(t), func() { c.cancel(os.ErrDeadlineExceeded) })
	}
}
