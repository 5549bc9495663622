package main

import (
	"io"
	"net"
	"time"
)

// lingerFor is how long a node may be silent after the last word of a program that has
// nothing more to say. A node is not told that by its proxy, so it does not end by itself.
const lingerFor = 5 * time.Second

// listener notes when something comes.
type listener struct {
	_ [0]func() // never compared
	io.Reader
	heard chan struct{}
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	select {
	case l.heard <- struct{}{}:
	default:
	}
	return n, err
}

// linger says to the other end that nothing more comes, as far as it can be told, and
// closes conn once nothing has come from there for a while.
func (l *listener) linger(conn net.Conn, over <-chan struct{}) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	timer := time.NewTimer(lingerFor)
	defer timer.Stop()
	for {
		select {
		case <-l.heard:
			timer.Reset(lingerFor)
		case <-timer.C:
			_ = conn.Close()
			return
		case <-over:
			return
		}
	}
}
