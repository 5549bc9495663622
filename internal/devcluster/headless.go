package devcluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
)

// What headless logins take.
const (
	headlessWait = 180 * time.Second // for an approval, and how long a record lives
	headlessTTL  = time.Minute       // of the certificates, whatever was asked for
	// headlessLook is how long a look at a request waits for it to appear: the look
	// itself is what lets the request be stored.
	headlessLook = 5 * time.Second
)

// States of a headless login.
type headlessState int32

const (
	headlessPending  headlessState = 1
	headlessDenied   headlessState = 2
	headlessApproved headlessState = 3
)

// Errors of headless logins.
var (
	errHeadlessUnknown = errors.New("headless authentication is not found")
	errHeadlessDecided = errors.New("headless authentication is not pending")
	errHeadlessExists  = errors.New("headless authentication exists already")
)

// headlessLogin is a login that waits for its user to decide on it elsewhere.
type headlessLogin struct {
	id, user, from string // from: the address, ip:port, that asks
	state          headlessState
	device         string // name of the one that approved it
	sshKey, tlsKey []byte // as they came
	expires        time.Time
}

// headlessDesk is where logins wait. A request is stored only once its user looks for
// one: until then it costs whoever sent it a connection, and the cluster nothing. That
// the user looks is remembered as a stub.
type headlessDesk struct {
	look    time.Duration // how long a look at a request waits for it
	mu      sync.Mutex
	stubs   map[string]time.Time // until when the user is looking
	logins  map[string]*headlessLogin
	changed chan struct{} // closed with every change
}

func newHeadlessDesk(look time.Duration) *headlessDesk {
	return &headlessDesk{look: look, stubs: map[string]time.Time{}, logins: map[string]*headlessLogin{}, changed: make(chan struct{})}
}

// change runs f and wakes whoever waits.
func (d *headlessDesk) change(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := f()
	close(d.changed)
	d.changed = make(chan struct{})
	return err
}

// await returns once holds, which runs under the lock, is true.
func (d *headlessDesk) await(ctx context.Context, holds func() bool) error {
	for {
		d.mu.Lock()
		done, changed := holds(), d.changed
		d.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notice says that user looks for requests.
func (d *headlessDesk) notice(user string, now time.Time) {
	_ = d.change(func() error {
		d.stubs[user] = now.Add(headlessWait)
		return nil
	})
}

// get is user's request with this id; it waits a little for it.
func (d *headlessDesk) get(ctx context.Context, user, id string, now func() time.Time) (headlessLogin, error) {
	d.notice(user, now())
	ctx, cancel := context.WithTimeout(ctx, d.look)
	defer cancel()
	var found headlessLogin
	err := d.await(ctx, func() bool {
		l := d.owned(user, id, now())
		if l != nil {
			found = *l
		}
		return l != nil
	})
	if err != nil {
		return found, errHeadlessUnknown
	}
	return found, nil
}

// owned is user's request with this id, or nil. Nobody learns of those of others.
func (d *headlessDesk) owned(user, id string, now time.Time) *headlessLogin {
	l := d.logins[id]
	if l == nil || l.user != user || !l.expires.After(now) {
		return nil
	}
	return l
}

// decide says yes or no to user's request, if it is still open.
func (d *headlessDesk) decide(user, id string, now time.Time, apply func(*headlessLogin)) error {
	return d.change(func() error {
		l := d.owned(user, id, now)
		switch {
		case l == nil:
			return errHeadlessUnknown
		case l.state != headlessPending:
			return errHeadlessDecided
		}
		apply(l)
		return nil
	})
}

// submit stores a request once its user looks, waits for the decision and returns it.
// What was not approved leaves nothing behind.
func (d *headlessDesk) submit(ctx context.Context, l headlessLogin, now func() time.Time) (headlessLogin, error) {
	err := d.await(ctx, func() bool { return d.stubs[l.user].After(now()) })
	if err != nil {
		return l, err
	}
	l.state, l.expires = headlessPending, now().Add(headlessWait)
	stored := &l
	err = d.change(func() error {
		d.sweep(now())
		if d.logins[l.id] != nil {
			return errHeadlessExists
		}
		d.logins[l.id] = stored
		return nil
	})
	if err != nil {
		return l, err
	}
	var decided headlessLogin
	err = d.await(ctx, func() bool {
		decided = *stored
		return stored.state != headlessPending
	})
	if err != nil || decided.state != headlessApproved {
		d.forget(l.id)
	}
	return decided, err
}

func (d *headlessDesk) forget(id string) {
	_ = d.change(func() error {
		delete(d.logins, id)
		return nil
	})
}

// sweep drops what has expired.
func (d *headlessDesk) sweep(now time.Time) {
	for id, l := range d.logins {
		if !l.expires.After(now) {
			delete(d.logins, id)
		}
	}
	for user, until := range d.stubs {
		if !until.After(now) {
			delete(d.stubs, user)
		}
	}
}

// pending are the ids of the user's open requests.
func (d *headlessDesk) pending(user string, now time.Time) map[string]bool {
	open := make(map[string]bool)
	for id := range d.logins {
		if l := d.owned(user, id, now); l != nil && l.state == headlessPending {
			open[id] = true
		}
	}
	return open
}

// headlessID is the id of a request with this SSH key: a UUID of version 5's layout
// from SHA-256, in the nil namespace.
func headlessID(sshKey []byte) string {
	return uuid.NewHash(sha256.New(), uuid.Nil, sshKey, 5).String()
}
