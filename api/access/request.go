package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/api/resource"
)

// Request asks for more roles, or for resources, for some time. Its JSON form is the one
// that the commands of Teleport clients print, without annotations, the mapping of roles to
// thresholds and access lists.
type Request struct {
	Kind     string            `json:"kind"` // "access_request"
	Version  string            `json:"version"`
	Metadata resource.Metadata `json:"metadata"` // Name is the ID, a UUID
	Spec     RequestSpec       `json:"spec"`
}

// ID is the request's UUID.
func (r *Request) ID() string { return r.Metadata.Name }

// RequestSpec is what is asked for, and what came of it.
type RequestSpec struct {
	User          string    `json:"user"` // whom it is for
	Roles         []string  `json:"roles,omitempty"`
	State         State     `json:"state,omitempty"`
	Created       time.Time `json:"created"`
	Expires       time.Time `json:"expires"` // when the access ends, or a request that nobody decides about
	Reason        string    `json:"request_reason,omitempty"`
	ResolveReason string    `json:"resolve_reason,omitempty"` // why it was approved or denied

	Thresholds         []Threshold  `json:"thresholds,omitempty"`
	Reviews            []Review     `json:"reviews,omitempty"`
	SuggestedReviewers []string     `json:"suggested_reviewers,omitempty"`
	Resources          []ResourceID `json:"resource_ids,omitempty"`
	LoginHint          string       `json:"login_hint,omitempty"`
	DryRun             bool         `json:"dry_run,omitempty"`

	MaxDuration     time.Time `json:"max_duration"` // when all access by it ends
	SessionTTL      time.Time `json:"session_ttl"`  // when certificates with it end
	AssumeStartTime time.Time `json:"assume_start_time,omitzero"`
	Expiry          time.Time `json:"expiry,omitzero"` // of the request itself; not from 14.x
}

// Threshold is how many reviews approve or deny a request.
type Threshold struct {
	Name    string `json:"name,omitempty"`
	Filter  string `json:"filter,omitempty"` // whose reviews count, in the cluster's language
	Approve uint64 `json:"approve,omitempty"`
	Deny    uint64 `json:"deny,omitempty"`
}

// State is what has become of a request. It travels, and is JSON, as a number.
type State int32

// States of a request.
const (
	Pending  State = 1
	Approved State = 2
	Denied   State = 3
	Promoted State = 4 // to an access list
)

// String returns the state in small letters.
func (s State) String() string {
	if Pending <= s && s <= Promoted {
		return [...]string{"pending", "approved", "denied", "promoted"}[s-1]
	}
	return fmt.Sprintf("in state %d", int32(s))
}

// Review is what somebody says about a request. To submit one, State is Approved or
// Denied and Author the one who submits it; Reason and AssumeStartTime may be added.
type Review struct {
	Author          string    `json:"author"`
	Roles           []string  `json:"roles,omitempty"`
	State           State     `json:"proposed_state,omitempty"`
	Reason          string    `json:"reason,omitempty"`
	Created         time.Time `json:"created"`
	AssumeStartTime time.Time `json:"assume_start_time,omitzero"`
}

// Draft is a request to be made. Zero fields leave a choice to the cluster, which may also
// shorten what is too long.
type Draft struct {
	ID        string // a UUID; one is made if it is empty
	User      string // the one that the credentials are for
	Roles     []string
	Resources []ResourceID // instead of Roles, or beside them
	Reason    string
	Reviewers []string // who is suggested to decide

	MaxDuration     time.Duration // how long access shall last
	SessionTTL      time.Duration // how long certificates with it shall last
	Expiry          time.Duration // how long the request waits for a decision
	AssumeStartTime time.Time     // when access shall begin

	// DryRun asks what would come of it: roles and times are filled in, nothing is made.
	// Clusters of 14.x cannot say it.
	DryRun bool
}

// Filter selects requests: all conditions that are set must hold.
type Filter struct {
	ID     string
	User   string // who asks
	State  State
	Search []string // words each of which occurs somewhere in the request; not in 14.x

	// Reviewer, the user that the credentials are for, has yet to review it: it is
	// pending, of somebody else, and without a review of theirs.
	Reviewer string
	// Suggested is a user who is suggested to decide.
	Suggested string
}

// Match reports whether a request meets the conditions, except those of Search.
func (f *Filter) Match(r *Request) bool {
	s := &r.Spec
	return (f.ID == "" || f.ID == r.ID()) &&
		(f.User == "" || f.User == s.User) &&
		(f.State == 0 || f.State == s.State) &&
		(f.Reviewer == "" || s.waitsFor(f.Reviewer)) &&
		(f.Suggested == "" || slices.Contains(s.SuggestedReviewers, f.Suggested))
}

func (s *RequestSpec) waitsFor(reviewer string) bool {
	for i := range s.Reviews {
		if s.Reviews[i].Author == reviewer {
			return false
		}
	}
	return s.State == Pending && s.User != reviewer
}

// EventType says what has happened.
type EventType int32

// Types of events. Started comes first, and once: what happens later is told.
const (
	Started EventType = 0
	Changed EventType = 1 // or made
	Deleted EventType = 2
)

// Event is a change of a request.
type Event struct {
	Type    EventType
	ID      string
	Request *Request // as it is now; nil unless Type is Changed
}

// ResourceID names a resource of a cluster. Its text form is /cluster/kind/name or
// /cluster/kind/name/sub.
type ResourceID struct {
	Cluster string `json:"cluster"`
	Kind    string `json:"kind"` // "node", …
	Name    string `json:"name"` // of nodes the UUID
	Sub     string `json:"sub_resource,omitempty"`
}

// String returns the text form.
func (r ResourceID) String() string {
	return "/" + strings.TrimSuffix(strings.Join([]string{r.Cluster, r.Kind, r.Name, r.Sub}, "/"), "/")
}

// ParseResourceID reads the text form.
func ParseResourceID(s string) (r ResourceID, err error) {
	parts := strings.SplitN(s, "/", 5)
	if len(parts) < 4 || parts[0] != "" || slices.Contains(parts[1:], "") {
		return r, errors.New("want /cluster/kind/name")
	}
	parts = append(parts, "")
	return ResourceID{parts[1], parts[2], parts[3], parts[4]}, nil
}
