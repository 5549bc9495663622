package api

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/api/resource"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/clusterwire"
)

const methodSessions = "/proto.AuthService/GetActiveSessionTrackers"

// Sessions lists the sessions that wait to begin or go on, as far as the user may see
// them, oldest first. There may be 20,000 of them.
func (c *Client) Sessions(ctx context.Context) ([]*resource.Session, error) {
	var all []*resource.Session
	err := c.streamed(ctx, methodSessions, &wire.Empty{}, func(data []byte, memory *int) error {
		t := new(clusterwire.SessionTracker)
		err := wire.UnmarshalWithin(data, t, memory)
		if t.Spec.State == 0 || t.Spec.State == 1 {
			all = append(all, newSession(t))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(x, y *resource.Session) int {
		return cmp.Or(x.Spec.Created.Compare(y.Spec.Created), strings.Compare(x.Spec.ID, y.Spec.ID))
	})
	return all, nil
}

func newSession(t *clusterwire.SessionTracker) *resource.Session {
	s := &t.Spec
	tracker := &resource.Session{
		Kind: t.Header.Kind, Version: t.Header.Version, Metadata: newMetadata(&t.Header.Metadata),
		Spec: resource.SessionSpec{
			ID: s.SessionID, Kind: s.Kind, State: int(s.State), Created: s.Created.Time(), Expires: s.Expires.Time(),
			Reason: s.Reason, Invited: s.Invited, Hostname: s.Hostname, Address: s.Address, Cluster: s.ClusterName, Login: s.Login,
			KubernetesCluster: s.KubernetesCluster, HostUser: s.HostUser, HostID: s.HostID, TargetSubKind: s.TargetSubKind,
			InitialCommand: s.InitialCommand,
		},
	}
	for _, p := range s.Participants {
		tracker.Spec.Participants = append(tracker.Spec.Participants, resource.Participant{
			ID: p.ID, User: p.User, Mode: p.Mode, LastActive: p.LastActive.Time(), Cluster: p.Cluster,
		})
	}
	return tracker
}
