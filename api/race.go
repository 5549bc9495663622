package api

import (
	"context"
	"net"
	"slices"
	"time"
)

// headStart is how long a way that is known to work is tried alone, unless a test says.
const headStart = 250 * time.Millisecond

// try is one thing to try: a way to connect, or to find out about more ways.
type try struct {
	Attempt                                           // as what it is reported
	way     *way                                      // to connect by
	find    func(ctx context.Context) ([]*try, error) // if there is no way: says what else to try

	// next is what to try besides once this has taken longer than a head start, or has
	// failed; after a failure only if worth says so (nil: after each).
	next  []*try
	worth func(failure error) bool
}

// outcome is what became of a try, or that its head start is over.
type outcome struct {
	try  *try
	late bool
	conn net.Conn
	more []*try
	err  error
}

// race runs all tries at the same time until the first one connects.
type race struct {
	ctx      context.Context
	patience time.Duration // for those that have a head start
	outcomes chan outcome
	running  []*try // in the order in which they began
	failed   []Attempt
}

// run returns the way that has connected and its connection. If there is none, it returns
// what became of each try, as soon as the last one has failed or ctx has ended. Tries that
// lose are cancelled, and what they connect all the same is closed.
func run(ctx context.Context, patience time.Duration, tries []*try) (*way, net.Conn, []Attempt) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &race{ctx: ctx, patience: patience, outcomes: make(chan outcome)}
	r.start(tries)
	for len(r.running) > 0 {
		select {
		case o := <-r.outcomes:
			if o.conn != nil {
				return o.try.way, o.conn, nil
			}
			r.note(o)
		case <-ctx.Done():
			for _, t := range r.running {
				r.fail(t, context.Cause(ctx))
			}
			return nil, nil, r.failed
		}
	}
	return nil, nil, r.failed
}

// start begins tries.
func (r *race) start(tries []*try) {
	for _, t := range tries {
		r.running = append(r.running, t)
		go r.do(t)
	}
}

// do runs a try and says what became of it.
func (r *race) do(t *try) {
	if len(t.next) > 0 {
		late := time.AfterFunc(r.patience, func() { r.say(outcome{try: t, late: true}) })
		defer late.Stop()
	}
	o := outcome{try: t}
	if t.way != nil {
		o.conn, o.err = t.way.dial(r.ctx)
	} else {
		o.more, o.err = t.find(r.ctx)
	}
	r.say(o)
}

// say hands over an outcome; nobody takes it once the race is over.
func (r *race) say(o outcome) {
	select {
	case r.outcomes <- o:
	case <-r.ctx.Done():
		if o.conn != nil {
			_ = o.conn.Close()
		}
	}
}

// note draws the conclusions from an outcome that is no connection.
func (r *race) note(o outcome) {
	t, next := o.try, o.try.next
	t.next = nil // they begin once
	if o.late {
		r.start(next)
		return
	}
	r.running = slices.DeleteFunc(r.running, func(other *try) bool { return other == t })
	r.start(o.more)
	if o.err == nil {
		return
	}
	r.fail(t, o.err)
	if t.worth == nil || t.worth(o.err) {
		r.start(next)
	}
}

func (r *race) fail(t *try, err error) {
	failed := t.Attempt
	failed.Err = err
	r.failed = append(r.failed, failed)
}
