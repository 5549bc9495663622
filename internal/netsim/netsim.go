// Package netsim puts a network between a client and a server that run on the
// same machine: it delays what they send, counts it, and can break it. It is a
// tool for tests and benchmarks.
//
// # Delay
//
// [Network.SetDelay] sets the time that every byte takes in either direction.
// The round trip of a TCP handshake is simulated as well: the kernel completes
// it at once on loopback, so the server is connected to, and the client's first
// bytes are delivered, one round trip and a half after the client connected. A
// server that is not there shows as late, as a connection that ends. Bandwidth
// is not limited.
//
// # Round trips
//
// Trips counts sequential round trips without looking at a clock. Each end of
// a connection has a counter of half round trips, and so do the bytes under
// way: what an end sends carries that end's counter, and when it is delivered,
// the receiver's counter becomes at least one more than it carries. A
// connection starts with the TCP handshake behind it (client 2, server 3). Half
// of the client's counter is the length of the longest chain in which each
// message could have been caused by the one before; for a protocol that
// alternates, that is the number of turns, with the handshake counted as one.
//
// What it cannot know: whether an end really waited for what it had received
// before it sent on. It assumes so, therefore the count is an upper bound.
// Messages that overlap on a real network follow each other on loopback, and
// an undelayed count of them can come out too high; with a delay well above
// the time that the machine takes to answer (10 ms is plenty) they overlap
// here, too, and the count is exact. Time spent thinking, and the round trips
// that TCP's slow start adds to long messages, are not counted. Across several
// connections, a new one is taken to follow everything that the client had
// received on the others when it connected; two connections that exist side by
// side are taken to be independent until [Network.Mark] ties them together.
//
// [Network.Slope] measures the same with a clock.
package netsim

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Network is a simulated network. All methods may be called from several
// goroutines.
type Network struct {
	mu        sync.Mutex
	delay     time.Duration // one way
	stalled   chan struct{} // not nil: nothing is delivered until it is closed
	listeners []net.Listener
	links     []*link // all there ever were, in the order they were opened
	clock     int     // highest counter of any client end
	closed    bool
	work      sync.WaitGroup
}

// New returns a network without delay.
func New() *Network { return &Network{} }

// SetDelay sets how long bytes take from one end to the other; a round trip
// takes twice that. It applies to what is sent from now on.
func (n *Network) SetDelay(oneWay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = oneWay
}

// Proxy is an address of the network that stands for a server.
type Proxy struct {
	net    *Network
	ln     net.Listener
	mu     sync.Mutex
	target string
}

// Listen opens a TCP address on 127.0.0.1 from where connections go to target,
// "host:port". Target may be empty at first, see [Proxy.SetTarget].
func (n *Network) Listen(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		ln.Close()
		return nil, net.ErrClosed
	}
	p := &Proxy{net: n, ln: ln, target: target}
	n.listeners = append(n.listeners, ln)
	n.work.Add(1)
	go p.accept()
	return p, nil
}

// Addr is where the proxy listens, "127.0.0.1:port".
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// SetTarget says where connections that are opened from now on lead, for
// servers that must know their public address before they have a private one.
// Without a target they end at once.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *Proxy) accept() {
	defer p.net.work.Done()
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		p.net.start(client, target, func() (net.Conn, error) {
			if target == "" {
				return nil, errors.New("no target")
			}
			return net.Dial("tcp", target)
		})
	}
}

// Pipe returns the two ends of a connection in memory. Unlike one through
// [Network.Listen] it has no handshake behind it: its first byte belongs to the
// first round trip, and the server end comes into being when that arrives, so
// nothing from the server arrives before one round trip. In a testing/synctest
// bubble its delays cost no time.
func (n *Network) Pipe() (client, server net.Conn) {
	client, near := net.Pipe()
	far, server := net.Pipe()
	l := newLink(n, near, "pipe")
	l.server = far
	l.clocks = [2]clock{{own: 0, all: l.since}, {own: 1, all: l.since + 1}}
	if n.register(l) {
		l.pump(time.Now().Add(2 * n.oneWay()))
	}
	return client, server
}

// start carries a connection that the client has opened.
func (n *Network) start(client net.Conn, target string, dial func() (net.Conn, error)) {
	l := newLink(n, client, target)
	l.clocks = [2]clock{{own: 2, all: l.since + 2}, {own: 3, all: l.since + 3}}
	if n.register(l) {
		n.work.Add(1)
		go func() {
			defer n.work.Done()
			l.connect(dial)
		}()
	}
}

// register reports whether the network still carries anything; if not, the
// link is over. The caller then starts the link's pumps.
func (n *Network) register(l *link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		l.abortLocked()
		return false
	}
	n.links = append(n.links, l)
	n.work.Add(pumps)
	return true
}

// Cut breaks every connection there is; the ends see a reset. New ones can be
// opened.
func (n *Network) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.abortLocked()
	}
}

// Stall stops deliveries in both directions until [Network.Resume]; nothing is lost.
func (n *Network) Stall() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stalled == nil {
		n.stalled = make(chan struct{})
	}
}

// Lose makes every connection there is carry nothing any more, without a word to its
// ends, as when an address changes or a table of connections is forgotten. New ones can
// be opened.
func (n *Network) Lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.lost = true
	}
}

// Resume ends a stall.
func (n *Network) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stalled != nil {
		close(n.stalled)
		n.stalled = nil
	}
}

// Close breaks every connection, closes every address and waits until nothing
// of the network runs any more.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	var errs []error
	for _, ln := range n.listeners {
		errs = append(errs, ln.Close())
	}
	n.listeners = nil
	for _, l := range n.links {
		l.abortLocked()
	}
	n.mu.Unlock()
	n.work.Wait()
	return errors.Join(errs...)
}

// Stats is what went over a network, or over one connection of it.
type Stats struct {
	Opened   int   // connections
	Open     int   // connections that are not over
	Up, Down int64 // bytes sent by the client ends and by the server ends
	Trips    int   // sequential round trips, see the package comment
}

// Conn is one connection, open or over.
type Conn struct {
	Stats
	Target     string   // where it leads, "pipe" for one in memory
	ServerName string   // of the client's TLS hello, if it sent one
	Protocols  []string // the ALPN names in it
}

// Stats says what went over the network since it was made.
func (n *Network) Stats() Stats { return n.Since(Mark{}) }

// Conns describes every connection in the order in which they were opened.
// Trips counts each from its own start.
func (n *Network) Conns() []Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	conns := make([]Conn, 0, len(n.links))
	for _, l := range n.links {
		c := Conn{Stats: l.statsLocked(), Target: l.target}
		c.Trips = l.clocks[atClient].own / 2
		c.ServerName, c.Protocols = hello(l.head)
		conns = append(conns, c)
	}
	return conns
}

// Mark is a point in the life of a network; the zero Mark is its beginning.
type Mark struct {
	opened   int
	up, down int64
	clock    int
}

// Mark names the present, for [Network.Since]. It assumes that the client has
// taken note of all it has received on all its connections.
func (n *Network) Mark() Mark {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := Mark{opened: len(n.links), clock: n.clock}
	for _, l := range n.links {
		l.clocks[atClient].all = n.clock
		m.up += l.sent[atClient]
		m.down += l.sent[atServer]
	}
	return m
}

// Since says what went over the network since m. Open is the number of
// connections that are open now, whenever they were opened.
func (n *Network) Since(m Mark) Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := Stats{Opened: len(n.links) - m.opened, Up: -m.up, Down: -m.down, Trips: (n.clock - m.clock) / 2}
	for _, l := range n.links {
		s := l.statsLocked()
		sum.Open += s.Open
		sum.Up += s.Up
		sum.Down += s.Down
	}
	return sum
}

func (s Stats) String() string {
	return fmt.Sprintf("%d connections (%d open), %d bytes up, %d down, %d round trips", s.Opened, s.Open, s.Up, s.Down, s.Trips)
}
