package forward

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/seed-087d674e/tsh/sshclient"
)

// pipeSize is how much is copied at once: what one packet of the transport holds.
const pipeSize = 32 << 10

// pipe copies both ways until both have ended, each for itself, or the set is
// closed, and closes both. A node that refuses after all is noted before conn hears
// of the end.
func (s *Set) pipe(conn net.Conn, stream *sshclient.Stream, spec Spec, address string) {
	defer context.AfterFunc(s.life, func() {
		conn.Close()
		stream.Close()
	})()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		flow(stream, conn, nil)
	}()
	flow(conn, stream, func() {
		if why := stream.Refusal(); why != "" {
			s.note(spec, onTheWay(spec, address, errors.New(why)))
		}
	})
	// A node that has closed all of it takes nothing any more.
	select {
	case <-sent:
	case <-stream.Done():
	}
	conn.Close()
	stream.Close()
	<-sent
}

// flow copies one way and passes the end on. A source that breaks breaks both:
// the other end must not take a part for the whole. nothing, if set, is called at an
// end before which nothing came.
func flow(to, from io.ReadWriteCloser, nothing func()) {
	buf := make([]byte, pipeSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			nothing = nil
			if _, err := to.Write(buf[:n]); err != nil {
				return // what comes the other way may still be read
			}
		}
		switch {
		case err == io.EOF:
			if nothing != nil {
				nothing()
			}
			if half, ok := to.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // fails if there is nothing left to close
			}
			return
		case err != nil:
			to.Close()
			from.Close()
			return
		}
	}
}
