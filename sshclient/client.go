package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// defaultTimeout is how long a connection may take from the dial to the end of the
	// login unless the configuration says otherwise.
	defaultTimeout = 30 * time.Second
	// goneWait is how long to wait for the answer to "are you still there".
	goneWait = time.Second
)

// Client is a connection to the SSH server of one node, with the user logged
// in. Its methods may be called from several goroutines.
type Client struct {
	host     string
	conn     ssh.Conn
	teleport bool           // the node understands envs@goteleport.com
	timeout  time.Duration  // of the login, and of starting a command
	heard    *atomic.Uint64 // changes when anything comes from the node
	asking   atomic.Bool    // a keepalive is under way
	cancel   func()         // releases the context that the dial ran under
	channels channelTable   // what the node may open channels for

	dead chan struct{} // closed when the connection is over
	err  error         // why; readable once dead is closed

	closing  sync.Once
	closeErr error
}

// Dial connects to the node of t through d and logs in.
//
// Of cfg it takes the user (if the target names no login), the publickey
// method of Auth, HostKeyCallback (called with t.HostPort(); what it accepts
// must still be a host certificate that names hosts), BannerCallback (called with raw text of the node, at
// most 64 KiB in all: clean it before showing it), ClientVersion, Rand,
// RekeyThreshold and Timeout, which limits the whole of Dial and then the start
// of each command; 0 means 30 seconds. The algorithms are this package's choice.
//
// The error is *TargetError, *HostKeyError, *AuthError or *Error. When ctx
// ends, the connection is closed at once and the error wraps the context's
// cause. After Dial has returned, ctx has no influence on the client.
func Dial(ctx context.Context, d Dialer, t Target, cfg *ssh.ClientConfig) (*Client, error) {
	if reason := t.fault(); reason != "" {
		return nil, &TargetError{Target: t.Host, Reason: reason}
	}
	h, err := newHandshake(t, cfg)
	if err != nil {
		return nil, err
	}
	timeout := cfg.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	// The context is not cancelled when Dial is done: a dialer may have tied the
	// stream to it. Close does that.
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(timeout, func() {
		cancel(fmt.Errorf("not done after %v: %w", timeout, context.DeadlineExceeded))
	})
	defer timer.Stop()

	raw, err := d.DialNode(ctx, t.HostPort(), t.Cluster)
	if err != nil {
		defer cancel(nil)
		return nil, &Error{Op: OpDial, Host: t.Host, Err: because(ctx, err)}
	}
	client, err := h.run(ctx, raw)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	client.cancel, client.timeout = func() { cancel(nil) }, timeout
	return client, nil
}

// because is the reason ctx ended, or err if it did not.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func newClient(host string, conn ssh.Conn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) *Client {
	c := &Client{host: host, conn: conn, dead: make(chan struct{})}
	c.teleport = strings.HasPrefix(string(conn.ServerVersion()), "SSH-2.0-Teleport")
	go c.channels.serve(chans)
	go func() {
		answerRequests(reqs) // to the end of the connection
		c.err = conn.Wait()
		close(c.dead)
	}()
	return c
}

// answerRequests says yes to the question whether we are still here and no to
// everything else. OpenSSH asks on the channel, Teleport on the connection.
func answerRequests(reqs <-chan *ssh.Request) {
	for r := range reqs {
		answer(r)
	}
}

func answer(r *ssh.Request) {
	_ = r.Reply(r.Type == keepalive, nil) // fails only if the connection is gone
}

const keepalive = "keepalive@openssh.com"

// Close ends the connection and every session on it.
func (c *Client) Close() error {
	c.closing.Do(func() {
		c.closeErr = c.conn.Close()
		c.cancel()
	})
	return c.closeErr
}

// lost says why the connection is over, nil if it is not. A session that ends
// without a word leaves open whether the node closed the session or the
// connection broke; only a question on the connection tells.
func (c *Client) lost() error {
	answered := make(chan error, 1)
	go func() {
		_, _, err := c.conn.SendRequest(keepalive, true, nil)
		answered <- err
	}()
	wait := time.NewTimer(goneWait)
	defer wait.Stop()
	select {
	case err := <-answered:
		if err == nil {
			return nil
		}
		// The connection's own reason is on its way and says more.
		select {
		case <-c.dead:
		case <-wait.C:
			return fmt.Errorf("connection lost: %w", err)
		}
	case <-c.dead:
	case <-wait.C:
		return nil
	}
	if c.err == nil || errors.Is(c.err, io.EOF) || errors.Is(c.err, net.ErrClosed) {
		return fmt.Errorf("connection lost: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("connection lost: %w", c.err)
}
