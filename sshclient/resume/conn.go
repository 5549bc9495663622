package resume

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Config says how to go on after a break.
type Config struct {
	// Dial opens another byte stream to the SSH server of the node with that ID, and not
	// over a connection that may be the broken one. Nil where resuming is not wanted.
	Dial func(ctx context.Context, hostID string) (net.Conn, error)
	// Expires is when the credentials end: nothing is resumed with them afterwards. Zero
	// for never.
	Expires time.Time
	// Now is the time that Expires is judged by; nil for time.Now.
	Now func() time.Time
	// Hopeless reports whether an error of Dial is one that no further attempt mends; nil
	// if none is.
	Hopeless func(error) bool
}

// Conn is a connection that is resumed when it breaks. Write returns when the bytes are
// kept, not when they were sent. Read and Write fail with ErrLost once resuming has
// failed, which says why.
type Conn struct {
	cfg           Config
	node          *hello
	token         [16]byte
	local, remote net.Addr
	ctx           context.Context // of every further dial; ends with the connection
	cancel        context.CancelFunc
	stale         chan struct{} // something under way is not acknowledged

	mu                               sync.Mutex
	readable, writable, toSend, room *sync.Cond // what changed; on mu

	in, out  queue
	received uint64 // position in the node's stream: what went into in
	told     uint64 // ... that the node knows
	ackDue   bool
	acked    uint64 // position in our stream: where out begins
	sent     uint64 // ... that has ever been sent
	expect   string // of the node's identification, not yet received
	link     *link  // nil while there is none
	heard    time.Time
	flight   time.Time // since when something is under way without a sign of life
	ackTimer *time.Timer
	watch    *time.Timer

	repairing bool
	closing   bool // by us
	closeSent chan struct{}
	sayClosed sync.Once
	ended     bool // by the node
	err       error
	timers    [2]*time.Timer
}

// link is one byte stream under a Conn.
type link struct {
	conn    net.Conn
	r       *bufio.Reader
	next    uint64 // position in our stream that is sent next; under the Conn's mu
	dead    bool   // likewise
	buf     []byte // of the frame that is sent
	payload []byte // of the frame that is received
	once    sync.Once
	broken  chan struct{} // closed when it is over
	why     error
	pumps   sync.WaitGroup
}

func newLink(conn net.Conn, next uint64) *link {
	// The reader is for the heads of frames; longer reads go past it.
	return &link{conn: conn, r: bufio.NewReaderSize(conn, 512), next: next, broken: make(chan struct{})}
}

func (l *link) fail(err error) {
	l.once.Do(func() {
		l.why = err
		close(l.broken)
	})
}

// Open offers resumption to the node at the other end of raw, on which nothing was sent
// yet, and returns the connection to speak SSH on: one that is resumed, or a plain one to
// a node that does not know how. It waits for the node's first line. What is written
// must begin with "SSH-2.0-", which is sent at once. raw is closed if Open fails, or
// when ctx ends before it is done.
func Open(ctx context.Context, raw net.Conn, cfg Config) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	conn, err := open(ctx, raw, cfg)
	if !stop() && err == nil {
		_, err = conn.Close(), context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return conn, nil
}

func open(ctx context.Context, raw net.Conn, cfg Config) (net.Conn, error) {
	if _, err := io.WriteString(raw, prefix); err != nil {
		return nil, err
	}
	line, err := readLine(raw)
	if err != nil && len(line) == 0 {
		return nil, err
	}
	node, err := parseHello(line)
	if err != nil && cfg.Dial != nil {
		return nil, err
	}
	if node == nil || cfg.Dial == nil {
		return &plain{raw, line, len(prefix)}, nil
	}
	answer, secret, err := node.agree(newConnection)
	if err != nil {
		return nil, err
	}
	if _, err := raw.Write(answer); err != nil {
		return nil, err
	}
	return newConn(ctx, raw, node, secret, cfg), nil
}

func newConn(ctx context.Context, raw net.Conn, node *hello, token [16]byte, cfg Config) *Conn {
	c := &Conn{cfg: cfg, node: node, token: token, local: raw.LocalAddr(), remote: raw.RemoteAddr(),
		stale: make(chan struct{}, 1), closeSent: make(chan struct{}), expect: identification}
	if c.cfg.Now == nil {
		c.cfg.Now = time.Now
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.readable, c.writable, c.toSend, c.room = sync.NewCond(&c.mu), sync.NewCond(&c.mu), sync.NewCond(&c.mu), sync.NewCond(&c.mu)
	c.heard = time.Now()
	c.ackTimer = time.AfterFunc(time.Hour, c.ackNow)
	c.ackTimer.Stop()
	c.watch = time.AfterFunc(time.Hour, c.look)
	c.watch.Stop()
	// The node's own identification comes a round trip later; nobody has to wait for it.
	c.in.push([]byte(identification))
	l := newLink(raw, 0)
	c.attach(l)
	go c.run(l)
	return c
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.in.size == 0 && !c.ended && c.err == nil {
		c.readable.Wait()
	}
	if n := c.in.peek(p, 0); n > 0 {
		c.in.drop(n)
		c.room.Signal()
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	return 0, io.EOF
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for written := 0; ; {
		for c.out.size >= maxKept && !c.over() {
			c.writable.Wait()
		}
		switch {
		case c.err != nil:
			return written, c.err
		case c.over():
			return written, io.ErrClosedPipe
		case written == len(p):
			return written, nil
		}
		n := min(len(p)-written, maxKept-c.out.size)
		c.out.push(p[written : written+n])
		written += n
		c.toSend.Signal()
	}
}

// over reports whether nothing more can be written.
func (c *Conn) over() bool { return c.err != nil || c.ended || c.closing }

// Close implements net.Conn. It tells the node, so that nothing there waits for us to
// come back, and waits a moment for that to be on its way.
func (c *Conn) Close() error {
	c.mu.Lock()
	waits := !c.closing && c.link != nil && c.err == nil
	c.closing = true
	c.toSend.Broadcast()
	c.mu.Unlock()
	if waits {
		timer := time.NewTimer(closeWait)
		select {
		case <-c.closeSent:
		case <-timer.C:
		case <-c.ctx.Done():
		}
		timer.Stop()
	}
	c.fail(net.ErrClosed)
	return nil
}

// fail ends the connection, if nothing has done so before.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	for _, t := range c.timers {
		if t != nil {
			t.Stop()
		}
	}
	c.ackTimer.Stop()
	c.watch.Stop()
	c.broadcast()
	c.cancel()
}

func (c *Conn) broadcast() {
	for _, cond := range []*sync.Cond{c.readable, c.writable, c.toSend, c.room} {
		cond.Broadcast()
	}
}

// Repairing reports whether the connection is broken at the moment and being resumed.
func (c *Conn) Repairing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repairing && c.err == nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn, but for one thing: a deadline that passes ends the
// connection. So it is with SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	c.setTimer(0, t)
	c.setTimer(1, t)
	return nil
}

// SetReadDeadline implements net.Conn, see SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.setTimer(0, t)
	return nil
}

// SetWriteDeadline implements net.Conn, see SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.setTimer(1, t)
	return nil
}

func (c *Conn) setTimer(which int, t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers[which] != nil {
		c.timers[which].Stop()
		c.timers[which] = nil
	}
	if !t.IsZero() && c.err == nil {
		c.timers[which] = time.AfterFunc(time.Until(t), func() { c.fail(os.ErrDeadlineExceeded) })
	}
}

// lost is the error for a connection that is not resumed because of err.
func lost(err error) error { return fmt.Errorf("%w: %w", ErrLost, err) }
