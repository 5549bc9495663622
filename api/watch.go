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
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		request := &accesswire.WatchKind{Kind: "access_request", Filter: map[string]string{}}
		for key, value := range map[string]string{"user": filter.User, "id": filter.ID} {
			if value != "" {
				request.Filter[key] = value
			}
		}
		stream, err := c.serverStream(ctx, methodWatch, &accesswire.Watch{Kinds: []*accesswire.WatchKind{request}})
		for begun := false; err == nil; begun = true {
			var data []byte
			if data, err = stream.Recv(); err != nil {
				break
			}
			var event access.Event
			if event, err = newEvent(data, begun); err != nil {
				break
			}
			if filtered(&filter, &event) && !yield(event, nil) {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		yield(access.Event{}, &Error{Method: methodWatch, Addr: c.addr, err: err})
	}
}

func newEvent(data []byte, begun bool) (access.Event, error) {
	var m accesswire.Event
	if err := wire.Unmarshal(data, &m); err != nil {
		return access.Event{}, err
	}
	event := access.Event{Type: access.EventType(m.Type)}
	switch {
	case begun == (event.Type == access.Started):
		return event, fmt.Errorf("an event of type %d is out of turn", m.Type)
	case event.Type == access.Changed && m.AccessRequest != nil:
		event.Request = newRequest(m.AccessRequest)
		event.ID = event.Request.ID()
	case event.Type == access.Deleted && m.Header != nil && m.Header.Kind == "access_request":
		event.ID = m.Header.Metadata.Name
	}
	return event, nil
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
