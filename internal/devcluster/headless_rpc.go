package devcluster

import (
	"context"
	"errors"
	"maps"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// headlessMethods are the calls of the auth server about headless logins.
func (c *Cluster) headlessMethods() []grpc.MethodDesc {
	return []grpc.MethodDesc{
		unary(authName, "GetHeadlessAuthentication", c.rpcGetHeadless),
		unary(authName, "UpdateHeadlessAuthenticationState", c.rpcUpdateHeadless),
	}
}

func (c *Cluster) headlessStreams() []grpc.StreamDesc {
	return []grpc.StreamDesc{{
		StreamName: "WatchPendingHeadlessAuthentications", ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error { return c.watchHeadless(stream) },
	}}
}

func headlessStatus(err error) error {
	switch {
	case errors.Is(err, errHeadlessUnknown):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, errHeadlessDecided):
		return refused("%v", err)
	}
	return err
}

func (c *Cluster) rpcGetHeadless(ctx context.Context, req *pb.GetHeadlessAuthenticationRequest) (*pb.HeadlessAuthentication, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	l, err := c.headless.get(ctx, u.Name, req.Id, c.now)
	if err != nil {
		return nil, headlessStatus(err)
	}
	return &pb.HeadlessAuthentication{
		Header: headlessHeader(l.id, timestamppb.New(l.expires)), User: l.user, State: int32(l.state),
		ClientIpAddress: l.from, SshPublicKey: l.sshKey, TlsPublicKey: l.tlsKey,
	}, nil
}

func headlessHeader(id string, expires *timestamppb.Timestamp) *pb.ResourceHeader {
	return &pb.ResourceHeader{
		Kind: "headless_authentication", Version: "v1",
		Metadata: &pb.Metadata{Name: id, Namespace: "default", Expires: expires},
	}
}

// rpcUpdateHeadless decides: no takes the session alone, yes a security key besides.
func (c *Cluster) rpcUpdateHeadless(ctx context.Context, req *pb.UpdateHeadlessAuthenticationStateRequest) (*pb.Empty, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	switch headlessState(req.State) {
	case headlessDenied:
		return &pb.Empty{}, headlessStatus(c.denyHeadless(u.Name, req.Id))
	case headlessApproved:
	default:
		return nil, invalid("headless authentication cannot be set to state %d", req.State)
	}
	key := req.GetMfaResponse().GetWebauthn()
	if key == nil {
		return nil, invalid("expected WebAuthn or SSO MFA response")
	}
	if err := c.approveHeadless(u.Name, req.Id, assertionOf(key)); err != nil {
		if errors.Is(err, errBadAnswer) {
			return nil, refused("invalid MFA response")
		}
		return nil, headlessStatus(err)
	}
	return &pb.Empty{}, nil
}

func (c *Cluster) denyHeadless(user, id string) error {
	return c.headless.decide(user, id, c.now(), func(l *headlessLogin) { l.state = headlessDenied })
}

// approveHeadless approves with a security key's answer to a challenge of that scope.
func (c *Cluster) approveHeadless(user, id string, answer assertionAnswer) error {
	err := c.headless.decide(user, id, c.now(), func(*headlessLogin) {}) // not a key for nothing
	if err != nil {
		return err
	}
	_, device, err := c.finishAssertion(user, scopeHeadless, answer)
	if err != nil {
		return err
	}
	return c.headless.decide(user, id, c.now(), func(l *headlessLogin) { l.state, l.device = headlessApproved, device.Name })
}

// watchHeadless tells of the user's open requests, and lets them be stored meanwhile.
func (c *Cluster) watchHeadless(stream grpc.ServerStream) error {
	if err := stream.RecvMsg(new(pb.Empty)); err != nil {
		return err
	}
	u, err := c.callerUser(stream.Context())
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&pb.HeadlessEvent{Type: eventInit}); err != nil {
		return err
	}
	told := map[string]bool{}
	for {
		open, err := c.nextPending(stream.Context(), u.Name, told)
		if err != nil {
			return err
		}
		for id := range open {
			if !told[id] {
				err = errors.Join(err, stream.SendMsg(&pb.HeadlessEvent{Type: eventPut, Header: headlessHeader(id, nil)}))
			}
		}
		for id := range told {
			if !open[id] {
				err = errors.Join(err, stream.SendMsg(&pb.HeadlessEvent{Type: eventDelete, Header: headlessHeader(id, nil)}))
			}
		}
		if told = open; err != nil {
			return err
		}
	}
}

// nextPending returns the user's open requests once they are others than those known,
// or from time to time; the stub lives on that long.
func (c *Cluster) nextPending(ctx context.Context, user string, known map[string]bool) (open map[string]bool, err error) {
	c.headless.notice(user, c.now())
	wait, cancel := context.WithTimeout(ctx, headlessWait/2)
	defer cancel()
	err = c.headless.await(wait, func() bool {
		open = c.headless.pending(user, c.now())
		return !maps.Equal(open, known)
	})
	if ctx.Err() == nil {
		err = nil
	}
	return open, err
}
