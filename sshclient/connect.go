package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// openWait is how long a node may take to connect to where it was told: as long
// as systems try by themselves.
const openWait = 2 * time.Minute

// Stream is a connection that goes through the node: to where [Client.Dial] said,
// or from who connected to what [Client.Listen] opened there.
type Stream struct {
	ch   ssh.Channel
	said chan string   // what the node wrote beside the data, once that is complete
	done chan struct{} // closed when both ends are
}

func newStream(ch ssh.Channel, reqs <-chan *ssh.Request, closed func()) *Stream {
	s := &Stream{ch: ch, said: make(chan string, 1), done: make(chan struct{})}
	go func() {
		answerRequests(reqs)
		closed()
		close(s.done)
	}()
	// What is not taken off the channel would stop it.
	go func() {
		said := make([]byte, maxMessage)
		n, err := io.ReadFull(ch.Stderr(), said)
		if err == nil {
			_, _ = io.Copy(io.Discard, ch.Stderr())
		}
		s.said <- clean(string(said[:n]))
	}()
	return s
}

// Read implements io.Reader; io.EOF is the orderly end of what the other end sends.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.ch.Read(p)
	if n > 0 {
		// An error beside data is about telling the node that there is room again;
		// what has arrived behind is still there to be read.
		return n, nil
	}
	return 0, err
}

// Write implements io.Writer.
func (s *Stream) Write(p []byte) (int, error) { return s.ch.Write(p) }

// CloseWrite tells the other end that nothing more comes; it may go on sending.
func (s *Stream) CloseWrite() error { return s.ch.CloseWrite() }

// Close ends both directions.
func (s *Stream) Close() error { return s.ch.Close() }

// Done is closed when the node has closed the stream, which may still hold
// data to read, or the connection is over.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Refusal is why the node refuses a stream that it has granted: some do not say so
// before. It is safe to print, and "" for the others; it is known when Read has
// returned io.EOF without any data before.
func (s *Stream) Refusal() string {
	wait := time.NewTimer(refusalWait)
	defer wait.Stop()
	select {
	case said := <-s.said:
		return said
	case <-wait.C:
		return ""
	}
}

// Dial connects from the node to a TCP address, "host:port" with a host that the
// node resolves, or to a Unix socket: network is "tcp" or "unix". A node that does
// not do that makes the error a *RefusedError; see [Stream.Refusal] as well. Other
// errors are an *Error. ctx governs the dialing alone, which ends after two minutes.
func (c *Client) Dial(ctx context.Context, network, address string) (*Stream, error) {
	kind, payload := "direct-streamlocal@openssh.com", []byte(nil)
	if network == "unix" {
		// OpenSSH's PROTOCOL file, section 2.4; the other fields are reserved.
		payload = ssh.Marshal(struct {
			Path, Reserved string
			Zero           uint32
		}{Path: address})
	} else {
		host, port, err := splitAddress(address)
		if err != nil {
			return nil, c.sessionError(err)
		}
		// RFC 4254 section 7.2. Who connects here is no business of the node's.
		kind, payload = "direct-tcpip", ssh.Marshal(struct {
			Host   string
			Port   uint32
			Origin string
			From   uint32
		}{host, port, "0.0.0.0", 0})
	}
	var stream *Stream
	err := c.within(ctx, openWait, func(late func() bool) error {
		ch, reqs, err := c.conn.OpenChannel(kind, payload)
		if err != nil {
			return err
		}
		opened := newStream(ch, reqs, c.note("to "+address))
		if late() {
			return opened.Close()
		}
		stream = opened
		return nil
	})
	if err == nil {
		return stream, nil
	}
	return nil, c.refusedChannel(kind, err)
}

// refusedChannel is the error of a channel that was not opened.
func (c *Client) refusedChannel(kind string, err error) error {
	var rejected *ssh.OpenChannelError
	if !errors.As(err, &rejected) {
		return c.sessionError(err)
	}
	message := clean(rejected.Message)
	if message == "" {
		message = rejected.Reason.String()
	}
	return &RefusedError{Host: c.host, Request: kind, Message: message}
}

func (c *Client) sessionError(err error) error {
	return &Error{Op: OpSession, Host: c.host, Err: err}
}

func splitAddress(address string) (host string, port uint32, err error) {
	host, number, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(number, 10, 16)
	return host, uint32(n), err
}

// within waits for f, which the transport has no way to interrupt, until ctx ends,
// the connection does, or limit is over. f learns from late, which it has to ask
// once it is done, that nobody waits any more: then it has to undo what it did.
func (c *Client) within(ctx context.Context, limit time.Duration, f func(late func() bool) error) error {
	turn := make(chan bool, 1) // who takes it decides
	turn <- true
	late := func() bool {
		select {
		case <-turn:
			return false
		default:
			return true
		}
	}
	result := make(chan error, 1)
	go func() { result <- f(late) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var reason error
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		reason = context.Cause(ctx)
	case <-timer.C:
		reason = fmt.Errorf("%w within %v", ErrNoAnswer, limit)
	case <-c.dead:
		reason = c.lostReason()
	}
	if late() {
		return <-result // it was just in time
	}
	return reason
}

// Wait keeps the connection alive until it is over or ctx ends; it is for a client
// that runs no command, which does the same. The error is never nil: an *Error
// that wraps the cause of ctx, [ErrNoAnswer] if the node was silent for a minute (see
// [Client.SetKeepalive]) and the connection was given up, or says that the connection is lost.
func (c *Client) Wait(ctx context.Context) error {
	var life heartbeat
	life.start(c)
	defer life.stop()
	for {
		select {
		case <-c.dead:
			return c.sessionError(c.lostReason())
		case <-ctx.Done():
			return c.sessionError(context.Cause(ctx))
		case <-life.tick:
			if life.gone() {
				go c.Close()
				return c.sessionError(life.silence())
			}
		}
	}
}
