package forward

import (
	"context"
	"io"
	"net"

	"github.com/seed-087d674e/tsh/sshclient"
)

// pipeSize is how much is copied at once: what one packet of the transport holds.
const pipeSize = 32 << 10

// pipe copies both ways until both have ended, each for itself, or the set is
// closed, and closes both. It reports how many bytes came from the node.
func (s *Set) pipe(conn net.Conn, stream *sshclient.Stream) (got int64) {
	defer context.AfterFunc(s.life, func() {
		conn.Close()
		stream.Close()
	})()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		flow(stream, conn)
	}()
	got = flow(conn, stream)
	// A node that has closed all of it takes nothing any more.
	select {
	case <-sent:
	case <-stream.Done():
	}
	conn.Close()
	stream.Close()
	<-sent
	return got
}

// flow copies one way and passes the end on. A source that breaks breaks both:
// the other end must not take a part for the whole.
func flow(to, from io.ReadWriteCloser) (n int64) {
	buf := make([]byte, pipeSize)
	for {
		k, err := from.Read(buf)
		n += int64(k)
		if k > 0 {
			if _, err := to.Write(buf[:k]); err != nil {
				return n // what comes the other way may still be read
			}
		}
		switch {
		case err == io.EOF:
			if half, ok := to.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // fails if there is nothing left to close
			}
			return n
		case err != nil:
			to.Close()
			from.Close()
			return n
		}
	}
}
