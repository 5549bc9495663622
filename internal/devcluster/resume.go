package devcluster

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	resumeWindow   = 128 << 10
	resumeReplay   = 2 << 20
	resumeClose    = ^uint64(0)
	positionWindow = 5 * time.Second
	// detachedFor is how long a connection without a network under it is kept.
	detachedFor = time.Minute
)

// resumables are the connections that clients may come back to.
type resumables struct {
	mu      sync.Mutex
	byToken map[[16]byte]*resumable
}

func (s *resumables) find(token [16]byte) *resumable {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byToken[token]
}

func (s *resumables) put(token [16]byte, r *resumable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byToken == nil {
		s.byToken = make(map[[16]byte]*resumable)
	}
	if r == nil {
		delete(s.byToken, token)
		return
	}
	s.byToken[token] = r
}

// resumable is a connection between a client and a node that outlives those under it.
type resumable struct {
	cluster       *Cluster
	node          *node
	token         [16]byte
	local, remote net.Addr

	mu       sync.Mutex
	changed  *sync.Cond
	in       []byte // came and was not read
	inTotal  uint64 // all that came
	inTold   uint64 // ... that the client knows of
	out      []byte // not acknowledged
	outBase  uint64 // position of its start
	outSent  uint64 // highest position ever sent
	carrier  *carrier
	parting  bool // Close was called: what is left is sent, then the tag
	peerGone bool // the client has said goodbye
	over     error
	expiry   *time.Timer
	limits   [2]*time.Timer
}

// carrier is one connection under a resumable.
type carrier struct {
	conn net.Conn
	next uint64
	quit bool
	done chan struct{}
}

func newResumable(c *Cluster, n *node, conn net.Conn, token [16]byte) *resumable {
	r := &resumable{cluster: c, node: n, token: token, local: conn.LocalAddr(), remote: conn.RemoteAddr()}
	r.changed = sync.NewCond(&r.mu)
	c.resumables.put(token, r)
	return r
}

// takeUp goes on over another connection.
func (r *resumable) takeUp(conn net.Conn) {
	r.mu.Lock()
	for r.carrier != nil { // the client has come back before we noticed that it was gone
		old := r.carrier
		old.quit = true
		r.changed.Broadcast()
		r.mu.Unlock()
		_ = old.conn.Close()
		<-old.done
		r.mu.Lock()
	}
	position := r.inTotal
	r.inTold = position
	r.mu.Unlock()
	_ = conn.SetDeadline(time.Now().Add(positionWindow))
	if _, err := conn.Write(binary.AppendUvarint([]byte{resumeGranted}, position)); err != nil {
		return
	}
	br := bufio.NewReader(conn)
	theirs, err := binary.ReadUvarint(br)
	if err != nil || conn.SetDeadline(time.Time{}) != nil {
		return
	}
	r.mu.Lock()
	if theirs < r.outBase || theirs > r.outSent {
		r.mu.Unlock()
		r.end(errors.New("the client is at an impossible position"))
		return
	}
	r.confirm(theirs)
	r.mu.Unlock()
	r.carry(conn, br, theirs)
}

// carry moves bytes over conn until it is over.
func (r *resumable) carry(conn net.Conn, from io.Reader, next uint64) {
	k := &carrier{conn: conn, next: next, done: make(chan struct{})}
	r.mu.Lock()
	if r.carrier != nil || r.over != nil { // two came back at once
		r.mu.Unlock()
		return
	}
	r.carrier = k
	if r.expiry != nil {
		r.expiry.Stop()
	}
	r.mu.Unlock()
	written := make(chan struct{})
	r.cluster.goFunc(func() {
		defer close(written)
		r.sendOver(k)
	})
	err := r.receiveOver(bufio.NewReader(from))
	var bad *protocolError
	if errors.As(err, &bad) {
		r.cluster.log.Info("resumption refused", "node", r.node.hostname, "reason", err)
		r.end(err)
	}
	r.mu.Lock()
	k.quit = true
	r.changed.Broadcast()
	graceful := r.peerGone
	r.mu.Unlock()
	if graceful {
		select {
		case <-written:
		case <-time.After(time.Second):
		}
	}
	_ = conn.Close()
	<-written
	r.detached(k)
}

// detached waits a while for the client, unless all has been said.
func (r *resumable) detached(k *carrier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.carrier = nil
	close(k.done)
	if r.peerGone || r.over != nil || r.parting && len(r.out) == 0 {
		r.cluster.resumables.put(r.token, nil)
		return
	}
	r.cluster.log.Info("connection is detached", "node", r.node.hostname)
	r.expiry = time.AfterFunc(detachedFor, func() { r.end(net.ErrClosed) })
}

// protocolError is a client that does not keep to the protocol.
type protocolError struct{ what string }

func (e *protocolError) Error() string { return e.what }

func (r *resumable) receiveOver(from *bufio.Reader) error {
	for {
		ack, err := binary.ReadUvarint(from)
		if err != nil {
			return err
		}
		if ack == resumeClose {
			r.mu.Lock()
			r.peerGone = true
			r.changed.Broadcast()
			r.mu.Unlock()
			return nil
		}
		size, err := binary.ReadUvarint(from)
		if err != nil {
			return err
		}
		if size > resumeWindow {
			return &protocolError{"a frame is too long"}
		}
		if err := r.confirmed(ack); err != nil {
			return err
		}
		if err := r.store(from, int(size)); err != nil {
			return err
		}
	}
}

func (r *resumable) confirmed(ack uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.carrier == nil || ack > r.carrier.next-r.outBase {
		return &protocolError{"more is acknowledged than was sent"}
	}
	r.confirm(r.outBase + ack)
	return nil
}

func (r *resumable) confirm(position uint64) {
	r.out = r.out[position-r.outBase:]
	r.outBase = position
	r.changed.Broadcast()
}

// store takes the payload of a frame in, as there is room for it.
func (r *resumable) store(from io.Reader, size int) error {
	buf := make([]byte, min(size, 16<<10))
	for size > 0 {
		r.mu.Lock()
		for len(r.in) >= resumeWindow && r.over == nil && !r.parting && !r.carrier.quit {
			r.changed.Wait()
		}
		room := max(resumeWindow-len(r.in), 1)
		r.mu.Unlock()
		n, err := from.Read(buf[:min(size, room, len(buf))])
		r.mu.Lock()
		r.in = append(r.in, buf[:n]...)
		r.inTotal += uint64(n)
		r.changed.Broadcast()
		r.mu.Unlock()
		if err != nil {
			return err
		}
		size -= n
	}
	return nil
}

// sendOver writes acknowledgements and data, and in the end the tag.
func (r *resumable) sendOver(k *carrier) {
	for {
		frame, last := r.nextFrame(k)
		if frame == nil {
			return
		}
		if _, err := k.conn.Write(frame); err != nil || last {
			_ = k.conn.Close()
			return
		}
	}
}

func (r *resumable) nextFrame(k *carrier) (frame []byte, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		pending := r.out[k.next-r.outBase:]
		size := max(min(len(pending), maxFrame-16, resumeWindow-int(k.next-r.outBase)), 0)
		ack := r.inTotal - r.inTold
		switch {
		case r.over != nil:
			return nil, true
		case r.peerGone, r.parting && len(pending) == 0:
			return binary.AppendUvarint(nil, resumeClose), true
		case k.quit:
			return nil, true
		case size > 0 || ack > 0:
			frame = binary.AppendUvarint(frame, ack)
			frame = binary.AppendUvarint(frame, uint64(size))
			frame = append(frame, pending[:size]...)
			k.next += uint64(size)
			r.outSent = max(r.outSent, k.next)
			r.inTold = r.inTotal
			return frame, false
		}
		r.changed.Wait()
	}
}

func (r *resumable) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.in) == 0 || r.over != nil || r.parting {
		switch {
		case r.over != nil:
			return 0, r.over
		case r.parting:
			return 0, net.ErrClosed
		case r.peerGone:
			return 0, io.EOF
		}
		r.changed.Wait()
	}
	n := copy(p, r.in)
	r.in = r.in[n:]
	r.changed.Broadcast()
	return n, nil
}

func (r *resumable) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for written := 0; ; {
		switch {
		case r.over != nil:
			return written, r.over
		case r.parting || r.peerGone:
			return written, io.ErrClosedPipe
		case len(p) == 0:
			return written, nil
		}
		n := min(len(p), resumeReplay-len(r.out))
		if n == 0 {
			r.changed.Wait()
			continue
		}
		r.out = append(r.out, p[:n]...)
		p = p[n:]
		written += n
		r.changed.Broadcast()
	}
}

// Close ends the connection once the client has got what was written, or does not
// come back for it.
func (r *resumable) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parting = true
	r.changed.Broadcast()
	if r.carrier == nil && len(r.out) == 0 {
		r.cluster.resumables.put(r.token, nil)
	}
	return nil
}

// end gives the connection up at once.
func (r *resumable) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over == nil {
		r.over = err
	}
	r.changed.Broadcast()
	if r.carrier == nil {
		r.cluster.resumables.put(r.token, nil)
		return
	}
	_ = r.carrier.conn.Close()
}

func (r *resumable) LocalAddr() net.Addr  { return r.local }
func (r *resumable) RemoteAddr() net.Addr { return r.remote }

func (r *resumable) SetDeadline(t time.Time) error {
	r.limit(0, t)
	r.limit(1, t)
	return nil
}

func (r *resumable) SetReadDeadline(t time.Time) error {
	r.limit(0, t)
	return nil
}

func (r *resumable) SetWriteDeadline(t time.Time) error {
	r.limit(1, t)
	return nil
}

// limit ends the connection at a time.
func (r *resumable) limit(which int, t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limits[which] != nil {
		r.limits[which].Stop()
	}
	if !t.IsZero() {
		r.limits[which] = time.AfterFunc(time.Until(t), func() { r.end(os.ErrDeadlineExceeded) })
	}
}
