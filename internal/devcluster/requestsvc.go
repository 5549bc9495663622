package devcluster

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
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
	states := map[string]int32{"pending": statePending, "approved": stateApproved, "denied": stateDenied}
	m := &pb.AccessRequest{
		Kind: "access_request", Version: "v3",
		Metadata: &pb.Metadata{Name: r.ID, Namespace: "default", Expires: timestamppb.New(r.Expires), Revision: revision("access_request", r.ID+r.State)},
		Spec: &pb.AccessRequestSpec{
			User: r.User, Roles: r.Roles, State: states[r.State], Created: timestamppb.New(r.Created), Expires: timestamppb.New(r.Expires),
			RequestReason: r.Reason, ResolveReason: r.ResolveReason, SuggestedReviewers: r.Reviewers,
		},
	}
	if r.Resolver != "" {
		m.Spec.Reviews = []*pb.AccessReview{{Author: r.Resolver, Roles: r.Roles, ProposedState: states[r.State], Reason: r.ResolveReason}}
	}
	return m
}

// rpcCreateRequest takes a request from the person it is for. The client chooses
// the ID; everything that is for the cluster to say is said here.
func (c *Cluster) rpcCreateRequest(ctx context.Context, m *pb.AccessRequest) (*pb.AccessRequest, error) {
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	spec := m.GetSpec()
	if id, err := uuid.Parse(m.GetMetadata().GetName()); err != nil || id.String() != m.Metadata.Name {
		return nil, invalid("invalid access request ID")
	}
	if spec.GetUser() != caller(ctx).user {
		return nil, denied("create", "access_request")
	}
	wanted := spec.Roles
	if slices.Equal(wanted, []string{"*"}) {
		wanted = roles.requestable()
	}
	if len(wanted) == 0 {
		return nil, invalid("access request has no roles")
	}
	for _, name := range wanted {
		if !roles.mayRequest(name) {
			return nil, refused("user %q can not request role %q", spec.User, name)
		}
	}
	if spec.RequestReason == "" && roles.needsReason(wanted) {
		return nil, invalid("request reason must be specified (required by static role configuration)")
	}
	now := c.now().UTC()
	req := &AccessRequest{
		ID: m.Metadata.Name, User: spec.User, Roles: wanted, State: "pending", Reason: spec.RequestReason,
		Reviewers: spec.SuggestedReviewers, Created: now, Expires: now.Add(roles.requestDuration(wanted)),
	}
	if err := c.putRequest(req); err != nil {
		return nil, status.Error(codes.AlreadyExists, err.Error())
	}
	c.log.Info("access requested", "user", req.User, "roles", req.Roles, "id", req.ID)
	return req.message(), nil
}

// visibleRequests are those that the caller may see and the filter lets through.
func (c *Cluster) visibleRequests(ctx context.Context, f *pb.AccessRequestFilter) ([]*pb.AccessRequest, error) {
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.accessRequests()
	if err != nil {
		return nil, err
	}
	var out []*pb.AccessRequest
	for i := range all {
		m := all[i].message()
		switch {
		case m.Spec.User != caller(ctx).user && !roles.mayReviewAll(m.Spec.Roles):
		case f.GetId() != "" && f.Id != m.Metadata.Name:
		case f.GetUser() != "" && f.User != m.Spec.User:
		case f.GetState() != 0 && f.State != m.Spec.State:
		default:
			out = append(out, m)
		}
	}
	return out, nil
}

func (c *Cluster) rpcListRequests(ctx context.Context, req *pb.ListAccessRequestsRequest) (*pb.ListAccessRequestsResponse, error) {
	list, err := c.visibleRequests(ctx, req.Filter)
	if err != nil {
		return nil, err
	}
	if req.Descending {
		slices.Reverse(list)
	}
	return &pb.ListAccessRequestsResponse{AccessRequests: list}, nil
}

// streamRequests is what servers had before ListAccessRequests.
func (c *Cluster) streamRequests(stream grpc.ServerStream) error {
	filter := new(pb.AccessRequestFilter)
	if err := stream.RecvMsg(filter); err != nil {
		return err
	}
	list, err := c.visibleRequests(stream.Context(), filter)
	for _, m := range list {
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
	return err
}

func (c *Cluster) rpcDeleteRequest(ctx context.Context, req *pb.RequestID) (*pb.Empty, error) {
	r, err := c.accessRequest(req.Id)
	if err != nil {
		return nil, requestStatus(err)
	}
	if r.User != caller(ctx).user {
		return nil, denied("delete", "access_request")
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
	state := req.GetReview().GetProposedState()
	if state != stateApproved && state != stateDenied {
		return nil, invalid("a review approves or denies")
	}
	resolved, err := c.resolveRequest(req.RequestId, verdict{state == stateApproved, req.Review.Reason, caller(ctx).user})
	if err != nil {
		return nil, requestStatus(err)
	}
	return resolved.message(), nil
}

func requestStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoRequest):
		return status.Error(codes.NotFound, err.Error())
	}
	return invalid("%v", err)
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
	return caps, nil
}

// Types of events.
const (
	eventInit = iota
	eventPut
	eventDelete
)

// watchFilter reads what a caller wants to be told of: their own access requests, or
// one of them.
func watchFilter(ctx context.Context, watch *pb.Watch) (id string, err error) {
	if len(watch.Kinds) != 1 || watch.Kinds[0].Kind != "access_request" || watch.Kinds[0].LoadSecrets {
		return "", denied("read", "events")
	}
	filter := watch.Kinds[0].Filter
	if user := filter["user"]; user != "" && user != caller(ctx).user {
		return "", denied("read", "access_request")
	}
	return filter["id"], nil
}

// watchEvents tells the caller of changes to their access requests until they leave.
func (c *Cluster) watchEvents(stream grpc.ServerStream) error {
	watch := new(pb.Watch)
	if err := stream.RecvMsg(watch); err != nil {
		return err
	}
	ctx := stream.Context()
	id, err := watchFilter(ctx, watch)
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
			if e.request.User != caller(ctx).user || id != "" && id != e.request.ID {
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
