package resume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

// run keeps a stream under the connection until that is over.
func (c *Conn) run(l *link) {
	for l != nil {
		l = c.serve(l)
	}
	c.cancel()
}

// serve waits for the end of l, or for a reason to leave it. It returns what takes its
// place, nil if nothing does.
func (c *Conn) serve(l *link) *link {
	fresh := time.NewTimer(refreshAfter)
	defer fresh.Stop()
	select {
	case <-c.stale: // which the last one was
	default:
	}
	for {
		select {
		case <-l.broken:
			return c.afterBreak(l)
		case <-c.ctx.Done():
			c.detach(l)
			return nil
		case <-c.stale:
			slog.Debug("the node is silent: the connection is resumed over another one", "node", c.node.hostID)
			next, err := c.repair(l)
			if err != nil {
				c.give(l, err)
				return nil
			}
			if next != l {
				return next
			}
		case <-fresh.C:
			next, err := c.attempt(l)
			if err == nil {
				return next
			}
			slog.Debug("the connection stays on its old stream", "node", c.node.hostID, "error", err)
			switch {
			case !isPermanent(err):
				fresh.Reset(refreshAfter)
			case c.gone(l): // given up for the new one already
				c.give(l, err)
				return nil
			}
		}
	}
}

// afterBreak finds what takes the place of a stream that is over.
func (c *Conn) afterBreak(l *link) *link {
	c.mu.Lock()
	ended, closing := c.ended, c.closing
	c.mu.Unlock()
	switch {
	case ended:
		c.farewell(l)
		return nil
	case closing:
		c.detach(l)
		return nil
	case isPermanent(l.why):
		c.give(l, l.why)
		return nil
	}
	slog.Debug("the connection broke and is resumed", "node", c.node.hostID, "error", l.why)
	next, err := c.repair(l)
	if err != nil {
		c.give(l, err)
		return nil
	}
	return next
}

// farewell answers the goodbye of the node, if that can be done at once.
func (c *Conn) farewell(l *link) {
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-c.closeSent:
	case <-timer.C:
	case <-c.ctx.Done():
	}
	c.detach(l)
}

// gone reports whether l was detached.
func (c *Conn) gone(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return l.dead
}

// give ends the connection because of err. The node is told, if it can be.
func (c *Conn) give(l *link, err error) {
	c.detach(l)
	if errors.Is(err, ErrIdentification) {
		c.fail(err)
		return
	}
	c.fail(lost(err))
}

// repair replaces a stream that is broken, or may be: one that gives a sign of life
// stays, and is returned.
func (c *Conn) repair(l *link) (*link, error) {
	c.mu.Lock()
	c.repairing = true
	c.mu.Unlock()
	end := time.Now().Add(giveUp)
	for pause := firstPause; ; pause = min(2*pause, longestWait) {
		next, err := c.attempt(l)
		if err == nil {
			return next, nil
		}
		slog.Debug("the connection is not resumed yet", "node", c.node.hostID, "error", err)
		switch {
		case c.ctx.Err() != nil:
			return nil, net.ErrClosed
		case isPermanent(err):
			return nil, err
		case c.alive(l):
			return l, nil
		case time.Now().Add(pause).After(end):
			return nil, fmt.Errorf("not within %v: %w", giveUp, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
		}
	}
}

// alive reports whether l was silent for a while and is so no more.
func (c *Conn) alive(l *link) bool {
	select {
	case <-l.broken:
		return false
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.dead || !c.flight.IsZero() && c.silent() >= ackPatience {
		return false
	}
	c.repairing = false
	if !c.flight.IsZero() {
		c.watch.Reset(ackPatience)
	}
	return true
}

// attempt resumes the connection over a new stream. The old one goes on until the node
// has agreed to the new one.
func (c *Conn) attempt(old *link) (*link, error) {
	if !c.cfg.Expires.IsZero() && !c.cfg.Now().Before(c.cfg.Expires) {
		return nil, permanent(fmt.Errorf("the certificate has expired (at %s)", c.cfg.Expires.Format(time.RFC3339)))
	}
	ctx, cancel := context.WithTimeout(c.ctx, attemptLimit)
	defer cancel()
	conn, err := c.cfg.Dial(ctx, c.node.hostID)
	if err != nil {
		if c.cfg.Hopeless != nil && c.cfg.Hopeless(err) {
			err = permanent(err)
		}
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	l, err := c.resume(old, conn)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		if c.cfg.Hopeless != nil && c.cfg.Hopeless(err) {
			err = permanent(err)
		}
		return nil, err
	}
	c.attach(l)
	return l, nil
}

// resume takes the connection up again on conn.
func (c *Conn) resume(old *link, conn net.Conn) (*link, error) {
	if err := c.reclaim(conn); err != nil {
		return nil, err
	}
	// The node has given the old stream up. What came over it counts only as far as we
	// say now.
	c.detach(old)
	l := newLink(conn, 0)
	c.mu.Lock()
	c.told = c.received
	position := c.received
	c.mu.Unlock()
	if _, err := conn.Write(binary.AppendUvarint(nil, position)); err != nil {
		return nil, err
	}
	late := time.AfterFunc(positionLimit, func() { _ = conn.Close() })
	defer late.Stop()
	theirs, err := binary.ReadUvarint(l.r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if theirs < c.acked || theirs > c.sent {
		return nil, violation("the node is at a position where it cannot be")
	}
	c.arrived(theirs)
	l.next = theirs
	return l, nil
}

// reclaim proves to the node that the connection is ours.
func (c *Conn) reclaim(conn net.Conn) error {
	if _, err := io.WriteString(conn, prefix); err != nil {
		return err
	}
	line, err := readLine(conn)
	if err != nil {
		return err
	}
	node, err := parseHello(line)
	switch {
	case err != nil:
		return err
	case node == nil:
		return violation("the node offers it no more")
	case node.hostID != c.node.hostID:
		return violation("another node answers")
	case node.key.Equal(c.node.key):
		return violation("the node's offer is an old one")
	}
	answer, secret, err := node.agree(oldConnection)
	if err != nil {
		return err
	}
	for i, b := range c.token {
		secret[i] ^= b
	}
	if _, err := conn.Write(append(answer, secret[:]...)); err != nil {
		return err
	}
	var verdict [1]byte
	if _, err := io.ReadFull(conn, verdict[:]); err != nil {
		return err
	}
	switch verdict[0] {
	case accepted:
		return nil
	case unknownToken:
		return permanent(errors.New("the node does not know the connection any more"))
	case addressRefused:
		return permanent(errors.New("the node does not take it up from this address"))
	}
	return violation("the node's answer is none")
}
