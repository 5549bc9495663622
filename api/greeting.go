package api

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// greetingPatience is how long a server may take to show that it accepts a certificate.
const greetingPatience = 2 * time.Second

// greeted returns conn once the server has said something. Under TLS 1.3 a client is done
// before the server has looked at its certificate; a server that takes it sends its
// HTTP/2 settings next, one that does not sends an alert. One that sends nothing within
// greetingPatience counts as one that takes it.
func greeted(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	g := &greetedConn{Conn: conn, heard: make(chan struct{})}
	go func() {
		buf := make([]byte, 1<<10)
		n, err := conn.Read(buf)
		g.first, g.err = buf[:n], err
		close(g.heard)
	}()
	patience := time.NewTimer(greetingPatience)
	defer patience.Stop()
	select {
	case <-g.heard:
		if len(g.first) == 0 && g.err != nil {
			_ = conn.Close()
			return nil, &Error{Addr: addr, err: g.err}
		}
	case <-patience.C:
	case <-ctx.Done():
		_ = conn.Close()
		return nil, context.Cause(ctx)
	}
	return g, nil
}

// greetedConn is a connection of which the beginning has been read.
type greetedConn struct {
	net.Conn
	heard chan struct{} // closed once first and err are set
	first []byte
	err   error

	taken atomic.Bool // first has been passed on
	mu    sync.Mutex
}

func (g *greetedConn) Read(p []byte) (int, error) {
	if g.taken.Load() {
		return g.Conn.Read(p)
	}
	<-g.heard
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.first) == 0 {
		g.taken.Store(true)
		if g.err != nil {
			return 0, g.err
		}
		return g.Conn.Read(p)
	}
	n := copy(p, g.first)
	g.first = g.first[n:]
	return n, nil
}
