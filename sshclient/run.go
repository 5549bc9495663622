package sshclient

import (
	"context"
	"fmt"
	"time"
)

const (
	// pulse is how long a node may be silent before it is asked whether it is still
	// there, and how often.
	pulse = 15 * time.Second
	// maxMissed is how many questions may go unanswered in a row.
	maxMissed = 3
)

// Run runs a command on the node and returns when it has ended and all its
// output has been written. The error is nil for status 0; an *ExitError for
// every other end of the command; a *RefusedError if the node would not start
// it; an *Error that wraps [ErrNoExitStatus] if the node did not say how it
// ended; another *Error if the connection broke or a stream failed.
//
// A node that has not started the command within the configuration's Timeout,
// or is silent for a minute while it runs and answers no question, makes the
// whole connection end, with an *Error that wraps [ErrNoAnswer].
//
// When ctx ends, the session is closed and Run returns at once; the error
// wraps the context's cause. Run does not wait for a Read of Stdin that
// blocks: that Read may take input away that comes after Run has returned.
func (c *Client) Run(ctx context.Context, cmd Command) error {
	s := &session{
		client: c, cmd: cmd,
		stdout: newGate(cmd.Stdout), stderr: newGate(cmd.Stderr),
		limit: time.NewTimer(c.timeout), granted: make(chan struct{}), begin: make(chan struct{}),
		abort: make(chan error, 1), ended: make(chan *ending, 1), over: make(chan struct{}),
	}
	defer s.limit.Stop()
	life, end := context.WithCancel(ctx)
	defer end()
	defer close(s.over)
	defer s.stderr.shut()
	defer s.stdout.shut()
	result := make(chan error, 1)
	go s.run(life, result)
	err := s.await(ctx, result)
	if _, exit := err.(*ExitError); err == nil || exit || ctx.Err() == nil {
		return err
	}
	return s.fail(context.Cause(ctx))
}

// await returns how the session ended, or the reason to leave it where it is.
func (s *session) await(ctx context.Context, result <-chan error) error {
	var life heartbeat
	for {
		select {
		case err := <-result:
			return err
		case <-ctx.Done():
			return s.fail(context.Cause(ctx))
		case err := <-s.abort:
			return s.fail(err)
		case <-s.limit.C:
			go s.client.Close()
			return s.fail(fmt.Errorf("%w: no session within %v", ErrNoAnswer, s.client.timeout))
		case <-s.granted:
			s.limit.Stop()
			if s.cmd.Started != nil {
				s.cmd.Started()
			}
			life.start(s.client)
			defer life.stop()
			close(s.begin)
		case <-life.tick:
			if life.gone() {
				go s.client.Close()
				return s.fail(fmt.Errorf("%w: silent for %v", ErrNoAnswer, (maxMissed+1)*pulse))
			}
		}
	}
}

// heartbeat watches over the other end while a command runs. Any byte that
// comes is a sign of life; only silence makes it ask.
type heartbeat struct {
	client *Client
	ticker *time.Ticker
	tick   <-chan time.Time
	heard  uint64
	missed int // questions asked since
}

func (h *heartbeat) start(c *Client) {
	h.client, h.heard = c, c.heard.Load()
	h.ticker = time.NewTicker(pulse)
	h.tick = h.ticker.C
}

func (h *heartbeat) stop() { h.ticker.Stop() }

// gone reports, at a tick, whether nobody is there any more.
func (h *heartbeat) gone() bool {
	if heard := h.client.heard.Load(); heard != h.heard {
		h.heard, h.missed = heard, 0
		return false
	}
	if h.client.repairs() { // which ends by itself, one way or the other
		h.missed = 0
		return false
	}
	if h.missed == maxMissed {
		return true
	}
	h.missed++
	h.client.ask()
	return false
}

// ask sends a keepalive that wants an answer, whichever. The transport has only
// one question open at a time: while one is, the others go unasked, which over
// a reliable stream makes no difference.
func (c *Client) ask() {
	if !c.asking.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.asking.Store(false)
		_, _, _ = c.conn.SendRequest(keepalive, true, nil) // its answer shows in what was heard
	}()
}
