package devcluster

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// requestMethods are the calls about certificates and access requests.
func (c *Cluster) requestMethods() []grpc.MethodDesc {
	return []grpc.MethodDesc{
		unary(authName, "GenerateUserCerts", c.rpcUserCerts),
		unary(authName, "CreateAccessRequestV2", c.rpcCreateRequest),
		unary(authName, "CreateAccessRequest", c.rpcCreateRequest14),
		unary(authName, "ListAccessRequests", c.rpcListRequests),
		unary(authName, "DeleteAccessRequest", c.rpcDeleteRequest),
		unary(authName, "SubmitAccessReview", c.rpcReview),
		unary(authName, "GetAccessCapabilities", c.rpcCapabilities),
	}
}

func (c *Cluster) requestStreams() []grpc.StreamDesc {
	return []grpc.StreamDesc{
		{StreamName: "GetAccessRequestsV2", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return c.streamRequests(s) }},
		{StreamName: "WatchEvents", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return c.watchEvents(s) }},
	}
}

// message is the request as a resource.
func (r *AccessRequest) message() *pb.AccessRequest {
	m := &pb.AccessRequest{
		Kind: "access_request", Version: "v3",
		Metadata: &pb.Metadata{Name: r.ID, Namespace: "default", Expires: timestamppb.New(r.Expires), Revision: revision("access_request", r.ID+r.State)},
		Spec: &pb.AccessRequestSpec{
			User: r.User, Roles: r.Roles, State: r.state(), Created: timestamppb.New(r.Created), Expires: timestamppb.New(r.Expires),
			RequestReason: r.Reason, ResolveReason: r.ResolveReason, SuggestedReviewers: r.Reviewers,
			Thresholds:  []*pb.AccessReviewThreshold{{Name: "default", Approve: 1, Deny: 1}},
			MaxDuration: timestamppb.New(r.Expires), SessionTtl: timestamppb.New(r.certsEnd()),
		},
	}
	if !r.Until.IsZero() {
		m.Spec.ResourceExpiry = timestamppb.New(r.Until)
	}
	if !r.Start.IsZero() {
		m.Spec.AssumeStartTime = timestamppb.New(r.Start)
	}
	if r.Resolver != "" {
		m.Spec.Reviews = []*pb.AccessReview{{
			Author: r.Resolver, Roles: r.Roles, ProposedState: r.state(), Reason: r.ResolveReason, Created: timestamppb.New(r.Resolved),
		}}
	}
	return m
}

// certsEnd is when certificates end that have the request.
func (r *AccessRequest) certsEnd() time.Time {
	if r.SessionTTL.IsZero() {
		return r.Expires
	}
	return r.SessionTTL
}

// rpcDeleteRequest: whoever made a request takes it back; others take a rule.
func (c *Cluster) rpcDeleteRequest(ctx context.Context, req *pb.RequestID) (*pb.Empty, error) {
	r, err := c.accessRequest(req.Id)
	if err != nil {
		return nil, requestStatus(err)
	}
	if r.User != caller(ctx).user {
		roles, err := c.callerRoles(ctx)
		if err != nil {
			return nil, err
		}
		if !roles.may("delete", "access_request") {
			return nil, denied("delete", "access_request")
		}
	}
	return &pb.Empty{}, requestStatus(c.deleteRequest(req.Id))
}

// rpcReview: one review decides, and nobody reviews what they ask for themselves.
func (c *Cluster) rpcReview(ctx context.Context, req *pb.AccessReviewSubmission) (*pb.AccessRequest, error) {
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	r, err := c.accessRequest(req.RequestId)
	if err != nil {
		return nil, requestStatus(err)
	}
	if !roles.mayReviewAll(r.Roles) || r.User == caller(ctx).user {
		return nil, refused("user %q cannot submit reviews", caller(ctx).user)
	}
	if author := req.GetReview().GetAuthor(); author != "" && author != caller(ctx).user {
		return nil, refused("user %q cannot submit reviews as %q", caller(ctx).user, author)
	}
	state := req.GetReview().GetProposedState()
	if state != stateApproved && state != stateDenied {
		return nil, invalid("a review approves or denies")
	}
	resolved, err := c.resolveRequest(req.RequestId, verdict{state == stateApproved, req.Review.Reason, caller(ctx).user, req.Review.AssumeStartTime})
	if err != nil {
		return nil, requestStatus(err)
	}
	return resolved.message(), nil
}

// requestStatus is err with the code that clients know it by.
func requestStatus(err error) error {
	switch {
	case errors.Is(err, errNoRequest):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, errRequestExists):
		return status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, errDecided):
		return invalid("%v", err)
	}
	return err
}

// rpcCapabilities says what the caller can ask for, and whether they have to.
func (c *Cluster) rpcCapabilities(ctx context.Context, req *pb.AccessCapabilitiesRequest) (*pb.AccessCapabilities, error) {
	if req.User != "" && req.User != caller(ctx).user {
		return nil, denied("read", "access_request")
	}
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	caps := &pb.AccessCapabilities{
		RequireReason: roles.any(func(r role) bool { return r.RequestAccess == accessReason }),
		AutoRequest:   roles.any(func(r role) bool { return r.RequestAccess == accessAlways || r.RequestAccess == accessReason }),
	}
	for _, r := range roles.roles {
		caps.RequestPrompt = or(caps.RequestPrompt, r.RequestPrompt)
	}
	if req.RequestableRoles {
		caps.RequestableRoles = roles.requestable()
	}
	if req.SuggestedReviewers {
		caps.SuggestedReviewers = roles.suggestedReviewers()
	}
	return caps, nil
}

// Types of events.
const (
	eventInit = iota
	eventPut
	eventDelete
)

// watchFilter reads what a caller wants to be told of: access requests of a user, one of
// them, or all that the caller may see. Who may see no others' has to name themselves, as
// in other clusters.
func watchFilter(ctx context.Context, roles roleSet, watch *pb.Watch) (map[string]string, error) {
	if len(watch.Kinds) != 1 || watch.Kinds[0].Kind != "access_request" || watch.Kinds[0].LoadSecrets {
		return nil, denied("read", "events")
	}
	filter := watch.Kinds[0].Filter
	reviews := roles.any(func(r role) bool { return len(r.Reviewable) > 0 })
	if filter["user"] != caller(ctx).user && !reviews && !roles.may("list", "access_request") {
		return nil, denied("list", "access_request")
	}
	return filter, nil
}

// watchEvents tells the caller of changes to access requests until they leave.
func (c *Cluster) watchEvents(stream grpc.ServerStream) error {
	watch := new(pb.Watch)
	if err := stream.RecvMsg(watch); err != nil {
		return err
	}
	ctx := stream.Context()
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return err
	}
	filter, err := watchFilter(ctx, roles, watch)
	if err != nil {
		return err
	}
	events, stop := c.watchers.add()
	defer stop()
	if err := stream.SendMsg(&pb.Event{Type: eventInit}); err != nil {
		return err
	}
	// Certificates end while somebody waits.
	left := time.NewTimer(caller(ctx).expires.Sub(c.now()))
	defer left.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return status.Error(codes.ResourceExhausted, "watcher is too slow")
			}
			about := &pb.AccessRequestFilter{Id: filter["id"], User: filter["user"]}
			if !roles.seesRequest(caller(ctx).user, &e.request) || !e.request.passes(about) {
				continue
			}
			if err := stream.SendMsg(e.message()); err != nil {
				return err
			}
		case <-left.C:
			return c.admit(ctx)
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-c.ctx.Done():
			return status.Error(codes.Unavailable, "the server is stopping")
		}
	}
}

func (e requestEvent) message() *pb.Event {
	if e.deleted {
		return &pb.Event{Type: eventDelete, Resource: &pb.Event_ResourceHeader{ResourceHeader: &pb.ResourceHeader{
			Kind: "access_request", Version: "v3", Metadata: &pb.Metadata{Name: e.request.ID, Namespace: "default"},
		}}}
	}
	return &pb.Event{Type: eventPut, Resource: &pb.Event_AccessRequest{AccessRequest: e.request.message()}}
}
