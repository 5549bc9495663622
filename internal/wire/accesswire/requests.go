package accesswire

import (
	"time"

	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
)

// NewTimestamp is the message for t; nil for the zero time.
func NewTimestamp(t time.Time) *wire.Timestamp {
	if t.IsZero() {
		return nil
	}
	return &wire.Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())}
}

// UserCertsRequest asks for certificates for keys that have some already.
type UserCertsRequest struct {
	PublicKey          []byte          `wire:"1"` // authorized_keys; servers of 14 use it for both
	Username           string          `wire:"2"`
	Expires            *wire.Timestamp `wire:"3"`
	RouteToCluster     string          `wire:"5"`
	AccessRequests     []string        `wire:"6"`
	NodeName           string          `wire:"9"`  // with usage SSH
	Usage              int32           `wire:"10"` // see package sessionwire; 0 is everything
	DropAccessRequests []string        `wire:"15"`
	MFAResponse        *mfawire.Answer `wire:"18"`
	SSHLogin           string          `wire:"19"` // with usage SSH
	Purpose            int32           `wire:"21"` // see package sessionwire; not in 14.x
	SSHPublicKey       []byte          `wire:"22"` // authorized_keys
	TLSPublicKey       []byte          `wire:"23"` // PEM
}

// Certs are certificates: one in the form of authorized_keys, one in PEM.
type Certs struct {
	SSH []byte `wire:"1"`
	TLS []byte `wire:"2"`
}

// AccessRequest asks for more roles for some time.
type AccessRequest struct {
	Kind     string            `wire:"1"` // "access_request"
	SubKind  string            `wire:"2"`
	Version  string            `wire:"3"` // "v3"
	Metadata wire.Metadata     `wire:"4"` // Name is a UUID that the client chooses
	Spec     AccessRequestSpec `wire:"5"`
}

// AccessRequestSpec is what is asked for, and what came of it.
type AccessRequestSpec struct {
	User               string          `wire:"1"`
	Roles              []string        `wire:"2"`
	State              int32           `wire:"3"` // 1 pending, 2 approved, 3 denied, 4 promoted
	Created            *wire.Timestamp `wire:"4"`
	Expires            *wire.Timestamp `wire:"5"`
	RequestReason      string          `wire:"6"`
	ResolveReason      string          `wire:"7"`
	Thresholds         []*Threshold    `wire:"10"`
	Reviews            []*Review       `wire:"12"`
	SuggestedReviewers []string        `wire:"13"`
	ResourceIDs        []*ResourceID   `wire:"14"`
	LoginHint          string          `wire:"15"`
	DryRun             bool            `wire:"16"`
	MaxDuration        *wire.Timestamp `wire:"17"`
	SessionTTL         *wire.Timestamp `wire:"18"`
	AssumeStartTime    *wire.Timestamp `wire:"21"`
	ResourceExpiry     *wire.Timestamp `wire:"22"` // not in 14.x
}

// Threshold is how many reviews decide.
type Threshold struct {
	Name    string `wire:"1"`
	Filter  string `wire:"2"`
	Approve uint64 `wire:"3"`
	Deny    uint64 `wire:"4"`
}

// ResourceID names a resource of a cluster.
type ResourceID struct {
	Cluster string `wire:"1"`
	Kind    string `wire:"2"`
	Name    string `wire:"3"`
	Sub     string `wire:"4"`
}

// Review is what somebody says about a request.
type Review struct {
	Author          string          `wire:"1"`
	Roles           []string        `wire:"2"`
	ProposedState   int32           `wire:"3"`
	Reason          string          `wire:"4"`
	Created         *wire.Timestamp `wire:"5"`
	AssumeStartTime *wire.Timestamp `wire:"10"`
}

// ReviewSubmission hands a review in.
type ReviewSubmission struct {
	RequestID string `wire:"1"`
	Review    Review `wire:"2"`
}

// RequestID names a request that is to be deleted.
type RequestID struct {
	ID string `wire:"1"`
}

// AccessRequestFilter selects requests.
type AccessRequestFilter struct {
	ID             string   `wire:"1"`
	User           string   `wire:"2"`
	State          int32    `wire:"3"`
	SearchKeywords []string `wire:"4"`
	Scope          int32    `wire:"5"` // 1 the caller's, 2 what the caller has to review; not in 14.x
}

// ListAccessRequestsRequest asks for a page of requests.
type ListAccessRequestsRequest struct {
	Filter     *AccessRequestFilter `wire:"1"`
	Sort       int32                `wire:"2"` // 1 by when they were made
	Descending bool                 `wire:"3"`
	Limit      int32                `wire:"4"`
	StartKey   string               `wire:"5"`
}

// ListAccessRequestsResponse is a page of requests.
type ListAccessRequestsResponse struct {
	AccessRequests []*AccessRequest `wire:"1"`
	NextKey        string           `wire:"2"`
}

// AccessCapabilitiesRequest asks what a user can request.
type AccessCapabilitiesRequest struct {
	User               string `wire:"1"`
	RequestableRoles   bool   `wire:"2"`
	SuggestedReviewers bool   `wire:"3"`
}

// AccessCapabilities says what a user can, and has to, request.
type AccessCapabilities struct {
	RequestableRoles   []string `wire:"1"`
	SuggestedReviewers []string `wire:"2"`
	RequestPrompt      string   `wire:"4"`
	RequireReason      bool     `wire:"5"`
	AutoRequest        bool     `wire:"6"`
}

// Watch asks to be told of changes.
type Watch struct {
	Kinds []*WatchKind `wire:"1"`
}

// WatchKind is what to be told of.
type WatchKind struct {
	Kind   string            `wire:"1"`
	Filter map[string]string `wire:"4"`
}

// Event is a change of a resource.
type Event struct {
	Type          int32           `wire:"1"` // 0 comes first and once, 1 put, 2 deleted
	Header        *ResourceHeader `wire:"2"` // of what was deleted
	AccessRequest *AccessRequest  `wire:"14"`
}

// ResourceHeader is what all resources begin with.
type ResourceHeader struct {
	Kind     string        `wire:"1"`
	Metadata wire.Metadata `wire:"4"`
}
