package resource

import "time"

// Session is a session under way on a resource of a cluster.
type Session struct {
	Kind     string      `json:"kind"` // "session_tracker"
	Version  string      `json:"version"`
	Metadata Metadata    `json:"metadata"`
	Spec     SessionSpec `json:"spec"`
}

// SessionSpec says who is where, and since when.
type SessionSpec struct {
	ID                string        `json:"session_id"`
	Kind              string        `json:"kind"`            // ssh, k8s, db, app, desktop
	State             int           `json:"state,omitempty"` // 0 pending, 1 running, 2 terminated
	Created           time.Time     `json:"created"`
	Expires           time.Time     `json:"expires"`
	Reason            string        `json:"reason,omitempty"`
	Invited           []string      `json:"invited,omitempty"`
	Hostname          string        `json:"target_hostname,omitempty"`
	Address           string        `json:"target_address,omitempty"`
	Cluster           string        `json:"cluster_name,omitempty"`
	Login             string        `json:"login,omitempty"`
	Participants      []Participant `json:"participants,omitempty"`
	KubernetesCluster string        `json:"kubernetes_cluster,omitempty"`
	HostUser          string        `json:"host_user,omitempty"` // who began it
	HostID            string        `json:"host_id,omitempty"`
	TargetSubKind     string        `json:"target_sub_kind,omitempty"`
	InitialCommand    []string      `json:"initial_command,omitempty"`
}

// Participant is somebody in a session.
type Participant struct {
	ID         string    `json:"id,omitempty"`
	User       string    `json:"user,omitempty"`
	Mode       string    `json:"mode,omitempty"` // peer, observer, moderator
	LastActive time.Time `json:"last_active"`
	Cluster    string    `json:"cluster,omitempty"`
}
