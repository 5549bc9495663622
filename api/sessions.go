package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/clusterwire"
)

const (
	methodSessions = "/proto.AuthService/GetActiveSessionTrackers"
	maxSessions    = 20000
)

// SessionTracker is a session under way on a resource of a cluster. Its JSON form is the
// one that the commands of Teleport clients print. Its text comes from the server as it is.
type SessionTracker struct {
	Kind     string       `json:"kind"` // "session_tracker"
	Version  string       `json:"version"`
	Metadata NodeMetadata `json:"metadata"`
	Spec     SessionSpec  `json:"spec"`
}

// SessionSpec says who is where, and since when.
type SessionSpec struct {
	ID                string               `json:"session_id"`
	Kind              string               `json:"kind"`            // ssh, k8s, db, app, desktop
	State             int                  `json:"state,omitempty"` // 0 pending, 1 running, 2 terminated
	Created           time.Time            `json:"created"`
	Expires           time.Time            `json:"expires"`
	Reason            string               `json:"reason,omitempty"`
	Invited           []string             `json:"invited,omitempty"`
	Hostname          string               `json:"target_hostname,omitempty"`
	Address           string               `json:"target_address,omitempty"`
	Cluster           string               `json:"cluster_name,omitempty"`
	Login             string               `json:"login,omitempty"`
	Participants      []SessionParticipant `json:"participants,omitempty"`
	KubernetesCluster string               `json:"kubernetes_cluster,omitempty"`
	HostUser          string               `json:"host_user,omitempty"` // who began it
	HostID            string               `json:"host_id,omitempty"`
	TargetSubKind     string               `json:"target_sub_kind,omitempty"`
	InitialCommand    []string             `json:"initial_command,omitempty"`
}

// SessionParticipant is somebody in a session.
type SessionParticipant struct {
	ID         string    `json:"id,omitempty"`
	User       string    `json:"user,omitempty"`
	Mode       string    `json:"mode,omitempty"` // peer, observer, moderator
	LastActive time.Time `json:"last_active"`
	Cluster    string    `json:"cluster,omitempty"`
}

// Sessions lists the sessions that wait to begin or go on, as far as the user may see
// them, oldest first. There may be 20,000 of them.
func (c *Client) Sessions(ctx context.Context) ([]*SessionTracker, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	failed := func(err error) error { return &Error{Method: methodSessions, Addr: c.addr, err: err} }
	stream, err := c.serverStream(ctx, methodSessions, &wire.Empty{})
	if err != nil {
		return nil, failed(err)
	}
	var all []*SessionTracker
	memory := maxBytes
	for n := 0; ; n++ {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		t := new(clusterwire.SessionTracker)
		if err == nil {
			err = wire.UnmarshalWithin(data, t, &memory)
		}
		if err == nil && n == maxSessions {
			err = fmt.Errorf("it lists more than %d sessions", maxSessions)
		}
		if err != nil {
			return nil, failed(err)
		}
		if t.Spec.State == 0 || t.Spec.State == 1 {
			all = append(all, newSession(t))
		}
	}
	slices.SortFunc(all, func(x, y *SessionTracker) int {
		return cmp.Or(x.Spec.Created.Compare(y.Spec.Created), strings.Compare(x.Spec.ID, y.Spec.ID))
	})
	return all, nil
}

func newSession(t *clusterwire.SessionTracker) *SessionTracker {
	m, s := &t.Header.Metadata, &t.Spec
	tracker := &SessionTracker{
		Kind: t.Header.Kind, Version: t.Header.Version,
		Metadata: NodeMetadata{Name: m.Name, Description: m.Description, Labels: m.Labels, Revision: m.Revision},
		Spec: SessionSpec{
			ID: s.SessionID, Kind: s.Kind, State: int(s.State), Created: s.Created.Time(), Expires: s.Expires.Time(),
			Reason: s.Reason, Invited: s.Invited, Hostname: s.Hostname, Address: s.Address, Cluster: s.ClusterName, Login: s.Login,
			KubernetesCluster: s.KubernetesCluster, HostUser: s.HostUser, HostID: s.HostID, TargetSubKind: s.TargetSubKind,
			InitialCommand: s.InitialCommand,
		},
	}
	if expires := m.Expires.Time(); !expires.IsZero() {
		tracker.Metadata.Expires = &expires
	}
	for _, p := range s.Participants {
		tracker.Spec.Participants = append(tracker.Spec.Participants, SessionParticipant{p.ID, p.User, p.Mode, p.LastActive.Time(), p.Cluster})
	}
	return tracker
}
