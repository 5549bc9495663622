package netsim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// The two ends of a link; what one end sends goes to the other.
const (
	atClient = 0
	atServer = 1
)

const (
	chunkSize = 32 << 10
	// underWay bounds the chunks that are on their way in one direction.
	underWay = 256
	// maxHead bounds the start of the client's bytes that is kept for [Conns].
	maxHead = 8 << 10
)

// clock counts half round trips: since the connection's start, and since the
// network's.
type clock struct{ own, all int }

// link is one connection. Its fields are guarded by the network's mutex,
// except for the connections themselves.
type link struct {
	net    *Network
	target string
	since  int // the network's clock when the link was opened
	client net.Conn
	server net.Conn
	done   chan struct{} // closed when the link is broken
	broken bool
	lost   bool // nothing is delivered any more
	live   int  // directions that have not ended
	clocks [2]clock
	sent   [2]int64
	head   []byte
}

func newLink(n *Network, near net.Conn, target string) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &link{net: n, target: target, since: n.clock, client: near, done: make(chan struct{}), live: 2}
}

func (l *link) statsLocked() Stats {
	s := Stats{Opened: 1, Up: l.sent[atClient], Down: l.sent[atServer]}
	if !l.broken && l.live > 0 {
		s.Open = 1
	}
	return s
}

// pumps is how many goroutines a link runs, for Network.work.
const pumps = 4

// connect takes what the client sends from the start and reaches the server
// when the handshake's last packet would.
func (l *link) connect(dial func() (net.Conn, error)) {
	arrival := time.Now().Add(3 * l.net.oneWay())
	up := make(chan chunk, underWay)
	go l.collect(atClient, l.client, up, arrival)
	far, err := l.reach(arrival, dial)
	if err != nil {
		l.net.work.Add(1 - pumps)
		return
	}
	go l.deliver(atClient, far, up)
	l.pumpDown(far, time.Time{})
}

// reach connects the server end at the given time; if that fails, the link is
// broken.
func (l *link) reach(arrival time.Time, dial func() (net.Conn, error)) (net.Conn, error) {
	if !l.wait(arrival) {
		return nil, net.ErrClosed
	}
	far, err := dial()
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if err == nil && l.broken {
		far.Close()
		err = net.ErrClosed
	}
	if err != nil {
		l.abortLocked()
		return nil, err
	}
	l.server = far
	l.net.clock = max(l.net.clock, l.clocks[atClient].all) // the handshake counts even if nothing follows
	return far, nil
}

// pump starts both directions between ends that are connected.
func (l *link) pump(earliest time.Time) {
	up := make(chan chunk, underWay)
	go l.collect(atClient, l.client, up, time.Time{})
	go l.deliver(atClient, l.server, up)
	l.pumpDown(l.server, earliest)
}

// pumpDown starts the direction to the client, where nothing arrives before earliest.
func (l *link) pumpDown(far net.Conn, earliest time.Time) {
	down := make(chan chunk, underWay)
	go l.collect(atServer, far, down, earliest)
	go l.deliver(atServer, l.client, down)
}

// chunk is a piece of a stream on its way; the last one has an error.
type chunk struct {
	data  []byte
	due   time.Time
	stamp clock
	err   error
}

func (l *link) collect(from int, src net.Conn, chunks chan<- chunk, earliest time.Time) {
	defer l.net.work.Done()
	defer close(chunks)
	buf := make([]byte, chunkSize)
	for {
		size, err := src.Read(buf)
		c := chunk{data: bytes.Clone(buf[:size]), err: err}
		c.due, c.stamp = l.accept(from, c.data)
		if c.due.Before(earliest) {
			c.due = earliest
		}
		earliest = c.due // order is kept when the delay shrinks
		select {
		case chunks <- c:
		case <-l.done:
			return
		}
		if err != nil {
			return
		}
	}
}

// accept takes note of bytes that an end has sent.
func (l *link) accept(from int, data []byte) (due time.Time, stamp clock) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.sent[from] += int64(len(data))
	if from == atClient {
		l.head = append(l.head, data[:min(len(data), maxHead-len(l.head))]...)
	}
	return time.Now().Add(l.net.delay), l.clocks[from]
}

func (l *link) deliver(from int, dst net.Conn, chunks <-chan chunk) {
	defer l.net.work.Done()
	for c := range chunks {
		if !l.wait(c.due) || !l.net.flowing(l.done) {
			return
		}
		if l.isLost() {
			continue
		}
		if len(c.data) > 0 {
			l.receive(1-from, c.stamp) // first: the receiver may answer before Write returns
			if _, err := dst.Write(c.data); err != nil {
				// The receiver is gone, but what it sent before may still be under way: its
				// own direction ends the link.
				for range chunks {
				}
				return
			}
		}
		if c.err != nil {
			l.end(dst, c.err)
			return
		}
	}
}

func (l *link) isLost() bool {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.lost
}

// receive sets the clock of the end that bytes are delivered to.
func (l *link) receive(to int, stamp clock) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	c := &l.clocks[to]
	c.own = max(c.own, stamp.own+1)
	c.all = max(c.all, stamp.all+1)
	if to == atClient {
		l.net.clock = max(l.net.clock, c.all)
	}
}

// end passes on that one direction has ended. Both ends are closed when both
// directions have, at once if the connection cannot be closed by halves.
func (l *link) end(dst net.Conn, err error) {
	half, ok := dst.(interface{ CloseWrite() error })
	if !ok || !errors.Is(err, io.EOF) || half.CloseWrite() != nil {
		l.abort()
		return
	}
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.live--; l.live == 0 {
		l.abortLocked()
	}
}

func (l *link) abort() {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.abortLocked()
}

// abortLocked closes both ends. What is still under way is lost, and an end
// that is a TCP connection in use sees a reset.
func (l *link) abortLocked() {
	if l.broken {
		return
	}
	l.broken = true
	close(l.done)
	for _, c := range []net.Conn{l.client, l.server} {
		if t, ok := c.(*net.TCPConn); ok && l.live > 0 {
			_ = t.SetLinger(0)
		}
		if c != nil {
			c.Close()
		}
	}
}

// wait reports false if the link broke before t.
func (l *link) wait(t time.Time) bool {
	left := time.Until(t)
	if left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}

func (n *Network) oneWay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.delay
}

// flowing waits for the end of a stall; it reports false if done came first.
func (n *Network) flowing(done <-chan struct{}) bool {
	for {
		n.mu.Lock()
		stalled := n.stalled
		n.mu.Unlock()
		if stalled == nil {
			return true
		}
		select {
		case <-stalled:
		case <-done:
			return false
		}
	}
}

// hello reads the server name and the protocol names out of a TLS client hello.
func hello(head []byte) (name string, protocols []string) {
	seen := errors.New("seen")
	_ = tls.Server(&replay{r: bytes.NewReader(head)}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name, protocols = h.ServerName, h.SupportedProtos
			return nil, seen
		},
	}).Handshake()
	return name, protocols
}

// replay is a connection that has only a past.
type replay struct {
	net.Conn
	r io.Reader
}

func (r *replay) Read(p []byte) (int, error)  { return r.r.Read(p) }
func (r *replay) Write(p []byte) (int, error) { return len(p), nil }
func (r *replay) Close() error                { return nil }
