package devcluster

import (
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// trackers are the interactive sessions on the nodes of a cluster: those with a terminal.
type trackers struct {
	mu   sync.Mutex
	live map[*session]*pb.SessionTracker
}

// trackerTTL is how far ahead the tracker of a session expires.
const trackerTTL = time.Hour

// stateRunning is the state of a session that goes on.
const stateRunning = 1

// track notes a session until it has ended.
func (s *session) track() (ended func()) {
	if s.pty == nil {
		return func() {}
	}
	c := s.nc.cluster
	t := &c.trackers
	tracker := s.tracker()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live == nil {
		t.live = make(map[*session]*pb.SessionTracker)
	}
	t.live[s] = tracker
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.live, s)
	}
}

// tracker is the session as a resource.
func (s *session) tracker() *pb.SessionTracker {
	c, n := s.nc.cluster, s.nc.node
	now := timestamppb.New(c.now())
	expires := timestamppb.New(c.now().Add(trackerTTL))
	host, _, _ := net.SplitHostPort(n.addr)
	return &pb.SessionTracker{
		Header: &pb.ResourceHeader{Kind: "session_tracker", Version: "v1", Metadata: &pb.Metadata{
			Name: s.id, Namespace: "default", Expires: expires, Revision: revision("session_tracker", s.id),
		}},
		Spec: &pb.SessionTrackerSpec{
			SessionId: s.id, Kind: "ssh", State: stateRunning, Created: now, Expires: expires,
			Hostname: n.hostname, Address: host, ClusterName: c.settings.Name, Login: s.nc.conn.User(),
			Participants: []*pb.SessionParticipant{{Id: revision("participant", s.id), User: s.nc.teleportUser, Mode: "peer", LastActive: now}},
			HostUser:     s.nc.teleportUser, HostId: n.id,
		},
	}
}

// streamTrackers sends the sessions that the caller takes part in, or all to those who may
// list sessions.
func (c *Cluster) streamTrackers(stream grpc.ServerStream) error {
	if err := stream.RecvMsg(new(pb.Empty)); err != nil {
		return err
	}
	roles, err := c.callerRoles(stream.Context())
	if err != nil {
		return err
	}
	all, me := roles.may("list", "session"), caller(stream.Context()).user
	c.trackers.mu.Lock()
	var list []*pb.SessionTracker
	for _, tracker := range c.trackers.live {
		if all || slices.ContainsFunc(tracker.Spec.Participants, func(p *pb.SessionParticipant) bool { return p.User == me }) {
			list = append(list, tracker)
		}
	}
	c.trackers.mu.Unlock()
	for _, tracker := range list {
		if err := stream.SendMsg(tracker); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) sessionStreams() []grpc.StreamDesc {
	return []grpc.StreamDesc{
		{StreamName: "GetActiveSessionTrackers", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return c.streamTrackers(s) }},
	}
}
