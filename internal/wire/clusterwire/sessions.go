package clusterwire

import "github.com/seed-087d674e/tsh/internal/wire"

// SessionTracker is a session under way.
type SessionTracker struct {
	Header ResourceHeader `wire:"1"`
	Spec   SessionSpec    `wire:"2"`
}

// ResourceHeader is what all resources begin with.
type ResourceHeader struct {
	Kind     string        `wire:"1"`
	Version  string        `wire:"3"`
	Metadata wire.Metadata `wire:"4"`
}

// SessionSpec says who is where.
type SessionSpec struct {
	SessionID         string                `wire:"1"`
	Kind              string                `wire:"2"`
	State             int32                 `wire:"3"` // 0 pending, 1 running, 2 terminated
	Created           *wire.Timestamp       `wire:"4"`
	Expires           *wire.Timestamp       `wire:"5"`
	Reason            string                `wire:"7"`
	Invited           []string              `wire:"8"`
	Hostname          string                `wire:"9"`
	Address           string                `wire:"10"`
	ClusterName       string                `wire:"11"`
	Login             string                `wire:"12"`
	Participants      []*SessionParticipant `wire:"13"`
	KubernetesCluster string                `wire:"14"`
	HostUser          string                `wire:"15"`
	HostID            string                `wire:"21"`
	TargetSubKind     string                `wire:"22"`
	InitialCommand    []string              `wire:"23"`
}

// SessionParticipant is somebody in a session.
type SessionParticipant struct {
	ID         string          `wire:"1"`
	User       string          `wire:"2"`
	Mode       string          `wire:"3"`
	LastActive *wire.Timestamp `wire:"4"`
	Cluster    string          `wire:"5"`
}
