package fanout

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/sshclient"
)

// maxPause is how long a connection is not read from at the most: the node wants to
// hear from us, and we from it.
const maxPause = 10 * time.Second

// pace holds a node up whose output is not written as fast as it comes: megabytes would
// be waiting here for each of hundreds of nodes.
type pace struct {
	_       [0]func() // never compared
	mu      sync.Mutex
	writers int
	written chan struct{} // closed when there are no writers any more
}

func (p *pace) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writers++; p.writers == 1 {
		p.written = make(chan struct{})
	}
}

func (p *pace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writers--; p.writers == 0 {
		close(p.written)
		p.written = nil
	}
}

// wait waits until what has come is written.
func (p *pace) wait() {
	p.mu.Lock()
	written := p.written
	p.mu.Unlock()
	if written == nil {
		return
	}
	patience := time.NewTimer(maxPause)
	defer patience.Stop()
	select {
	case <-written:
	case <-patience.C:
	}
}

// Over returns the dialer for the node's connection: one that does not read on while the
// output of the node is waiting to be written.
func (n *Node) Over(d sshclient.Dialer) sshclient.Dialer { return pacedDialer{d, &n.pace} }

type pacedDialer struct {
	sshclient.Dialer
	pace *pace
}

// DialNode implements sshclient.Dialer.
func (d pacedDialer) DialNode(ctx context.Context, hostport, cluster string) (net.Conn, error) {
	conn, err := d.Dialer.DialNode(ctx, hostport, cluster)
	if err != nil {
		return nil, err
	}
	return &pacedConn{conn, d.pace}, nil
}

type pacedConn struct {
	net.Conn
	pace *pace
}

// Read implements net.Conn.
func (c *pacedConn) Read(p []byte) (int, error) {
	c.pace.wait()
	return c.Conn.Read(p)
}
