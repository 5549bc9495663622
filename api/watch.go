package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
)

const methodWatch = "/proto.AuthService/WatchEvents"

// WatchAccessRequests tells of changes of the requests that the user may see. It uses ID
// and User of the filter; users without more rights watch their own requests alone,
// and have to say so with User. The first event is access.Started: list the requests then,
// and miss nothing.
//
// It does not end by itself but with an error: the context's, or *Error if the server or the
// connection ends it. Nothing is lost that was told before; whoever goes on begins
// again, with a list. One event is in memory at a time.
func (c *Client) WatchAccessRequests(ctx context.Context, filter access.Filter) iter.Seq2[access.Event, error] {
	return func(yield func(access.Event, error) bool) {
		err := c.watch(ctx, filter.ID, filter.User, func(m *accesswire.Event) bool {
			event := newEvent(m)
			return !filtered(&filter, &event) || yield(event, nil)
		})
		if err != nil {
			yield(access.Event{}, &Error{Method: methodWatch, Addr: c.addr, err: err})
		}
	}
}

// watch hands what happens to requests to take until that has had enough. The first event
// is that it has begun, later ones are others.
func (c *Client) watch(ctx context.Context, id, user string, take func(*accesswire.Event) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kind := &accesswire.WatchKind{Kind: "access_request", Filter: make(map[string]string)}
	if user != "" {
		kind.Filter["user"] = user
	}
	if id != "" {
		kind.Filter["id"] = id
	}
	stream, err := c.serverStream(ctx, methodWatch, &accesswire.Watch{Kinds: []*accesswire.WatchKind{kind}})
	for begun := false; err == nil; begun = true {
		var data []byte
		m := new(accesswire.Event)
		if data, err = stream.Recv(); err == nil {
			err = wire.Unmarshal(data, m)
		}
		if err == nil && begun == (m.Type == int32(access.Started)) {
			err = fmt.Errorf("an event of type %d is out of turn", m.Type)
		}
		if err == nil && !take(m) {
			return nil
		}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// newEvent has no ID for an event about something else.
func newEvent(m *accesswire.Event) access.Event {
	event := access.Event{Type: access.EventType(m.Type)}
	switch {
	case event.Type == access.Changed && m.AccessRequest != nil:
		event.Request = newRequest(m.AccessRequest)
		event.ID = event.Request.ID()
	case event.Type == access.Deleted && m.Header != nil && m.Header.Kind == "access_request":
		event.ID = m.Header.Metadata.Name
	}
	return event
}

// filtered reports whether an event is one that the filter is for; those of things
// that are unknown here are not.
func filtered(f *access.Filter, e *access.Event) bool {
	switch {
	case e.Type == access.Started:
		return true
	case e.ID == "" || f.ID != "" && f.ID != e.ID:
		return false
	}
	return e.Request == nil || f.User == "" || f.User == e.Request.Spec.User
}
