package resume

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"time"
)

// closeTag stands in the place of an acknowledgement and says that nothing follows.
const closeTag = math.MaxUint64

// attach makes l the stream that bytes travel on.
func (c *Conn) attach(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.repairing, c.ackDue = l, false, false
	c.heard, c.flight = time.Now(), time.Time{}
	l.pumps.Add(2)
	read := make(chan struct{})
	go func() {
		defer l.pumps.Done()
		defer close(read)
		l.fail(c.receive(l))
	}()
	go func() {
		defer l.pumps.Done()
		err := c.send(l)
		// A stream that takes no more may still have something to say, goodbye for one.
		rest := readRest
		if err == io.EOF { // we have said it
			rest = answerWait
		}
		late := time.NewTimer(rest)
		defer late.Stop()
		select {
		case <-read:
		case <-late.C:
		case <-c.ctx.Done():
		}
		if err == io.EOF {
			c.sayClosed.Do(func() { close(c.closeSent) })
		}
		l.fail(err)
	}()
}

// detach ends l, and returns when nothing of it can be received or sent any more.
func (c *Conn) detach(l *link) {
	c.mu.Lock()
	l.dead = true
	if c.link == l {
		c.link = nil
	}
	c.broadcast()
	c.mu.Unlock()
	_ = l.conn.Close()
	l.pumps.Wait()
}

// send writes frames until l is over.
func (c *Conn) send(l *link) error {
	for {
		last, err := c.nextFrame(l)
		if err != nil {
			return err
		}
		if _, err := l.conn.Write(l.buf); err != nil {
			return err
		}
		if last {
			if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // which sees to it that all is on its way
			}
			return io.EOF
		}
	}
}

// nextFrame waits for something to be sent and puts it into the buffer of l.
func (c *Conn) nextFrame(l *link) (last bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if l.dead || c.err != nil {
			return false, io.ErrClosedPipe
		}
		if c.ended {
			l.buf = binary.AppendUvarint(l.buf[:0], closeTag)
			return true, nil
		}
		offset := int(l.next - c.acked)
		size := min(c.out.size-offset, window-offset, chunk)
		if size > 0 || c.ackDue || c.received-c.told >= ackEvery {
			c.frame(l, offset, max(size, 0))
			return false, nil
		}
		if c.closing && offset == c.out.size {
			l.buf = binary.AppendUvarint(l.buf[:0], closeTag)
			return true, nil
		}
		c.toSend.Wait()
	}
}

// frame puts what arrived and what follows into the buffer of l.
func (c *Conn) frame(l *link, offset, size int) {
	l.buf = binary.AppendUvarint(l.buf[:0], c.received-c.told)
	c.told, c.ackDue = c.received, false
	l.buf = binary.AppendUvarint(l.buf, uint64(size))
	head := len(l.buf)
	l.buf = append(l.buf, make([]byte, size)...)
	c.out.peek(l.buf[head:], offset)
	l.next += uint64(size)
	c.sent = max(c.sent, l.next)
	if size > 0 && c.flight.IsZero() {
		c.flight = time.Now()
		c.watch.Reset(ackPatience)
	}
}

// ackNow has what arrived acknowledged although it is little.
func (c *Conn) ackNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ackDue = c.received > c.told
	c.toSend.Signal()
}

// look is called after a while of something being under way.
func (c *Conn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight.IsZero() || c.link == nil || c.err != nil {
		return
	}
	silent := c.silent()
	if silent < ackPatience {
		c.watch.Reset(ackPatience - silent)
		return
	}
	select {
	case c.stale <- struct{}{}:
	default:
	}
}

// silent is how long a sign of life is overdue.
func (c *Conn) silent() time.Duration {
	since := c.flight
	if c.heard.After(since) {
		since = c.heard
	}
	return time.Since(since)
}

// receive reads frames until l is over. io.EOF is the node's goodbye.
func (c *Conn) receive(l *link) error {
	for {
		ack, err := binary.ReadUvarint(l.r)
		if err != nil {
			return err
		}
		if ack == closeTag {
			c.goodbye()
			return io.EOF
		}
		if err := c.acknowledge(l, ack); err != nil {
			return err
		}
		size, err := binary.ReadUvarint(l.r)
		if err != nil {
			return err
		}
		if size > maxFrame {
			return violation("a frame is longer than it may be")
		}
		if err := c.take(l, int(size)); err != nil {
			return err
		}
	}
}

func (c *Conn) goodbye() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.broadcast()
}

// acknowledge lets go of what has arrived.
func (c *Conn) acknowledge(l *link, ack uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ack > l.next-c.acked {
		return violation("something was acknowledged that was not sent")
	}
	c.heard = time.Now()
	if ack == 0 {
		return nil
	}
	c.arrived(c.acked + ack)
	if c.flight = c.heard; c.acked == l.next {
		c.flight = time.Time{}
		c.watch.Stop()
	}
	return nil
}

// arrived lets go of what comes before a position.
func (c *Conn) arrived(position uint64) {
	c.out.drop(int(position - c.acked))
	c.acked = position
	c.writable.Broadcast()
	c.toSend.Signal()
}

// take moves the payload of a frame to where it is read.
func (c *Conn) take(l *link, size int) error {
	if want := min(size, 32<<10); want > len(l.payload) {
		l.payload = make([]byte, want)
	}
	for size > 0 {
		free, err := c.waitRoom(l)
		if err != nil {
			return err
		}
		n, err := l.r.Read(l.payload[:min(size, free, len(l.payload))])
		size -= n
		if n > 0 {
			if err := c.keep(l, l.payload[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// waitRoom says how much may be read from the node before somebody reads from us.
func (c *Conn) waitRoom(l *link) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.in.size >= window && !l.dead && c.err == nil {
		c.room.Wait()
	}
	if l.dead || c.err != nil {
		return 0, io.ErrClosedPipe
	}
	return window - c.in.size, nil
}

// keep appends to what can be read, unless l was given up meanwhile.
func (c *Conn) keep(l *link, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.dead {
		return io.ErrClosedPipe
	}
	before := c.received - c.told
	c.received += uint64(len(p))
	c.heard = time.Now()
	if n := min(len(c.expect), len(p)); n > 0 { // it was read before it came
		if string(p[:n]) != c.expect[:n] {
			return permanent(ErrIdentification)
		}
		c.expect, p = c.expect[n:], p[n:]
	}
	c.in.push(p)
	c.readable.Signal()
	switch unacked := c.received - c.told; {
	case unacked >= ackEvery:
		c.toSend.Signal()
	case before == 0:
		c.ackTimer.Reset(ackDelay)
	}
	return nil
}

// isPermanent returns the error that ends the connection rather than the stream.
func isPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}
