package api

import (
	"context"
	"time"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
)

// How often a request is looked at while it is waited for: now and then where the
// server tells of changes, in case the connection has died in silence; often where
// it does not.
const (
	lookWatched   = time.Minute
	lookUnwatched = 5 * time.Second
	maxLost       = 5 // looks, one after the other, that get no answer
)

// WaitAccessRequest returns the request of user with that ID once somebody has
// decided about it. The wait has no end but that of ctx, which should have the
// deadline of the credentials. The server tells of the change; one that cannot, or
// whose connection breaks, is asked every few seconds.
//
// Errors: those of AccessRequest, ErrNotFound for a request that is taken back or
// expires meanwhile, and the context's.
func (c *Client) WaitAccessRequest(ctx context.Context, id, user string) (*access.Request, error) {
	return c.waitRequest(ctx, waiting{id: id, user: user, watched: lookWatched, unwatched: lookUnwatched})
}

// waiting is what is waited for, and how often it is looked at.
type waiting struct {
	id, user           string
	watched, unwatched time.Duration
}

func (c *Client) waitRequest(ctx context.Context, w waiting) (*access.Request, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.watchRequest(ctx, w, changes)
	}()
	// What happens after the first token is told.
	every, watching := w.watched, ended
	if pause(ctx, callTimeout, changes, ended) {
		every, watching = w.unwatched, nil
	}
	for lost := 0; ctx.Err() == nil; {
		wait := every
		r, err := c.AccessRequest(ctx, w.id, w.user)
		switch {
		case err != nil && ctx.Err() == nil && (!isLost(err) || lost == maxLost):
			return nil, err
		case err != nil:
			lost++
		case r.Spec.State != access.Pending:
			return r, nil
		default:
			lost = 0
			if left := time.Until(r.Spec.Expiry); left > 0 { // it may end unsaid
				wait = min(wait, left+time.Second)
			}
		}
		if pause(ctx, wait, changes, watching) {
			every, watching = w.unwatched, nil
		}
	}
	return nil, context.Cause(ctx)
}

// pause waits for a while, or less if there is a change or the watch ends, which it
// reports.
func pause(ctx context.Context, d time.Duration, changes, watching <-chan struct{}) (ended bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changes:
	case <-timer.C:
	case <-watching:
		return true
	case <-ctx.Done():
	}
	return false
}

// isLost reports whether a call got no answer, rather than a bad one.
func isLost(err error) bool {
	code := codeOf(err)
	return code == rpc.OK || code == rpc.Unavailable
}

// watchRequest puts a token into changes when the server begins to tell of changes,
// and with each of them. It returns when the server does not, or stops to.
func (c *Client) watchRequest(ctx context.Context, w waiting, changes chan<- struct{}) {
	_ = c.watch(ctx, w.id, w.user, func(*accesswire.Event) bool {
		// What has changed is asked for, not taken from here.
		select {
		case changes <- struct{}{}:
		default:
		}
		return true
	})
}
