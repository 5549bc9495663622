package devcluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Roles that have to do with access requests; they are made at every start.
const (
	roleRequester = "requester" // may ask for the roles of requestableRoles
	roleReviewer  = "reviewer"  // may approve and deny
)

// What a role can say about requests: nothing has to be asked for, everything is
// asked for at login, or that with a reason.
const (
	accessOptional = "optional"
	accessAlways   = "always"
	accessReason   = "reason"
)

func requestableRoles() []string { return []string{"access", "auditor", "editor"} }

// States of an access request, as on the wire.
const (
	statePending  = 1
	stateApproved = 2
	stateDenied   = 3
)

// requestStates are their names, by the number.
func requestStates() []string {
	return []string{"", statePending: "pending", stateApproved: "approved", stateDenied: "denied"}
}

// requestTTL is how long a request, and access by it, lasts at most.
const requestTTL = 8 * time.Hour

const bucketRequests = "access_requests"

// AccessRequest is a request for more roles.
type AccessRequest struct {
	ID            string    `json:"id"`
	User          string    `json:"user"`
	Roles         []string  `json:"roles"`
	State         string    `json:"state"` // pending, approved, denied
	Reason        string    `json:"reason,omitempty"`
	Reviewers     []string  `json:"reviewers,omitempty"` // suggested ones
	Resolver      string    `json:"resolver,omitempty"`  // who approved or denied it
	ResolveReason string    `json:"resolve_reason,omitempty"`
	Created       time.Time `json:"created"`
	Expires       time.Time `json:"expires"`              // the access by it
	Until         time.Time `json:"until,omitzero"`       // the request, if nobody decides; zero is Expires
	SessionTTL    time.Time `json:"session_ttl,omitzero"` // certificates by it; zero is Expires
	Start         time.Time `json:"start,omitzero"`       // the access begins; zero is at once
	Resolved      time.Time `json:"resolved,omitzero"`
}

// over reports whether the request is gone by now.
func (r *AccessRequest) over(now time.Time) bool {
	return !r.Expires.After(now) || r.State == "pending" && !r.Until.IsZero() && !r.Until.After(now)
}

// state is the number on the wire.
func (r *AccessRequest) state() int32 {
	return int32(slices.Index(requestStates(), r.State))
}

// putRequestRoles makes the roles for access requests as the configuration says.
func putRequestRoles(s *state, cfg Config) error {
	mode := or(cfg.RequestAccess, accessOptional)
	if !slices.Contains([]string{accessOptional, accessAlways, accessReason}, mode) {
		return fmt.Errorf("request access %q is not one of %s, %s, %s", mode, accessOptional, accessAlways, accessReason)
	}
	return s.update(func(tx *stateTx) error {
		for _, r := range []role{
			{Name: roleRequester, MaxSessionTTL: 30 * time.Hour, RequestAccess: mode, RequestPrompt: cfg.RequestPrompt, conditions: conditions{Requestable: requestableRoles()}},
			{Name: roleReviewer, MaxSessionTTL: 30 * time.Hour, conditions: conditions{Reviewable: []string{"*"}}},
		} {
			if err := tx.put(bucketRoles, r.Name, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// accessRequests lists the requests, the oldest first. Those that are over are gone.
func (r *registry) accessRequests() ([]AccessRequest, error) {
	list := []AccessRequest{}
	err := r.state.each(bucketRequests, func(_ string, raw []byte) error {
		var req AccessRequest
		if err := json.Unmarshal(raw, &req); err != nil {
			return err
		}
		if !req.over(r.now()) {
			list = append(list, req)
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b AccessRequest) int { return a.Created.Compare(b.Created) })
	return list, err
}

func (r *registry) accessRequest(id string) (*AccessRequest, error) {
	req := new(AccessRequest)
	found, err := r.state.get(bucketRequests, id, req)
	if err == nil && (!found || req.over(r.now())) {
		err = notFoundRequest(id)
	}
	return req, err
}

// putRequest stores a new request.
func (r *registry) putRequest(req *AccessRequest) error {
	err := r.state.update(func(tx *stateTx) error {
		if found, err := tx.get(bucketRequests, req.ID, new(AccessRequest)); err != nil || found {
			return cmp.Or(err, fmt.Errorf("access request %s %w", req.ID, errRequestExists))
		}
		return tx.put(bucketRequests, req.ID, req)
	})
	if err == nil {
		r.watchers.tell(requestEvent{request: *req})
	}
	return err
}

// verdict is what somebody says about a request.
type verdict struct {
	Approve  bool   `json:"approve"`
	Reason   string `json:"reason,omitempty"`
	resolver string
	start    *timestamppb.Timestamp // the access begins at another time
}

// resolveRequest approves or denies a request that is pending.
func (r *registry) resolveRequest(id string, v verdict) (AccessRequest, error) {
	var req AccessRequest
	err := r.state.update(func(tx *stateTx) error {
		found, err := tx.get(bucketRequests, id, &req)
		switch {
		case err != nil:
			return err
		case !found || req.over(r.now()):
			return notFoundRequest(id)
		case req.State != "pending":
			return fmt.Errorf("access request %s is %s %w", id, req.State, errDecided)
		}
		req.State, req.ResolveReason, req.Resolver, req.Resolved = "denied", v.Reason, v.resolver, r.now().UTC()
		if err := req.setStart(v.start); err != nil {
			return err
		}
		if v.Approve {
			req.State = "approved"
		}
		return tx.put(bucketRequests, id, &req)
	})
	if err == nil {
		r.watchers.tell(requestEvent{request: req})
	}
	return req, err
}

// deleteRequest takes a request back. Its ID is used up: whoever reviews it then must not
// find another in its place.
func (r *registry) deleteRequest(id string) error {
	req, err := r.accessRequest(id)
	if err != nil {
		return err
	}
	gone := AccessRequest{ID: id, User: req.User} // with no end, it counts as over
	if err := r.state.update(func(tx *stateTx) error { return tx.put(bucketRequests, id, gone) }); err != nil {
		return err
	}
	r.watchers.tell(requestEvent{request: *req, deleted: true})
	return nil
}

// What is wrong with a call about a request; other errors are the state's.
var (
	errNoRequest     = errors.New("is not found") // or it is over
	errRequestExists = errors.New("exists already")
	errDecided       = errors.New("already")
)

func notFoundRequest(id string) error { return fmt.Errorf("access request %q %w", id, errNoRequest) }

// requestEvent is a change of a request.
type requestEvent struct {
	request AccessRequest
	deleted bool
}

// requestWatchers are those who wait for changes of requests.
type requestWatchers struct {
	mu  sync.Mutex
	all map[chan requestEvent]bool
}

// maxEvents may wait for one watcher; one that is slower is dropped.
const maxEvents = 64

// add returns the changes from now on; the channel is closed for a watcher that is
// too slow. stop must be called.
func (w *requestWatchers) add() (events <-chan requestEvent, stop func()) {
	ch := make(chan requestEvent, maxEvents)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[chan requestEvent]bool)
	}
	w.all[ch] = true
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, ch)
	}
}

// RequestWatchers is how many watch access requests right now.
func (c *Cluster) RequestWatchers() int {
	c.watchers.mu.Lock()
	defer c.watchers.mu.Unlock()
	return len(c.watchers.all)
}

func (w *requestWatchers) tell(e requestEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.all {
		select {
		case ch <- e:
		default:
			delete(w.all, ch)
			close(ch)
		}
	}
}

// AccessRequests lists the requests for access, the oldest first.
func (c *Cluster) AccessRequests() ([]AccessRequest, error) { return c.accessRequests() }

// ResolveRequest approves or denies a request for access.
func (c *Cluster) ResolveRequest(id string, approve bool, reason string) (AccessRequest, error) {
	return c.resolveRequest(id, verdict{Approve: approve, Reason: reason, resolver: "admin"})
}
