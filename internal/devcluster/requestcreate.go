package devcluster

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// rpcCreateRequest takes a request from the person it is for. The client chooses
// the ID; everything that is for the cluster to say is said here.
func (c *Cluster) rpcCreateRequest(ctx context.Context, m *pb.AccessRequest) (*pb.AccessRequest, error) {
	req, err := c.newRequest(ctx, m)
	if err != nil {
		return nil, err
	}
	if m.Spec.DryRun {
		answer := req.message()
		answer.Spec.DryRun = true
		return answer, nil
	}
	if err := c.putRequest(req); err != nil {
		return nil, requestStatus(err)
	}
	c.log.Info("access requested", "user", req.User, "roles", req.Roles, "id", req.ID)
	return req.message(), nil
}

// rpcCreateRequest14 is the same of 14.x, which does not say what it has made.
func (c *Cluster) rpcCreateRequest14(ctx context.Context, m *pb.AccessRequest) (*pb.Empty, error) {
	if m.GetSpec() != nil {
		m.Spec.DryRun, m.Spec.ResourceExpiry = false, nil
	}
	_, err := c.rpcCreateRequest(ctx, m)
	return &pb.Empty{}, err
}

// newRequest judges what somebody asks for.
func (c *Cluster) newRequest(ctx context.Context, m *pb.AccessRequest) (*AccessRequest, error) {
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
	if len(spec.RequestedResourceIds) > 0 {
		return nil, invalid("this cluster takes requests for roles, none for resources")
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
	req := &AccessRequest{
		ID: m.Metadata.Name, User: spec.User, Roles: wanted, State: "pending", Reason: spec.RequestReason,
		Reviewers: spec.SuggestedReviewers, Created: c.now().UTC(),
	}
	if len(req.Reviewers) == 0 {
		req.Reviewers = roles.suggestedReviewers()
	}
	return req, req.setTimes(m, roles.requestDuration(wanted))
}

// setTimes takes the times that are wished for as far as they are possible: nothing lasts
// longer than the roles say, and what is past is refused.
func (r *AccessRequest) setTimes(m *pb.AccessRequest, longest time.Duration) error {
	end := r.Created.Add(longest)
	wish := func(what string, t *timestamppb.Timestamp, most time.Time) (time.Time, error) {
		switch at := t.AsTime(); {
		case isUnset(t):
			return most, nil
		case !at.After(r.Created):
			return most, invalid("%s is in the past", what)
		case at.After(most):
			return most, nil
		default:
			return at, nil
		}
	}
	var err error
	if r.Expires, err = wish("max duration", m.Spec.MaxDuration, end); err != nil {
		return err
	}
	if r.SessionTTL, err = wish("session TTL", m.Spec.SessionTtl, r.Expires); err != nil {
		return err
	}
	expiry := m.Spec.ResourceExpiry
	if isUnset(expiry) {
		expiry = m.Metadata.Expires
	}
	if r.Until, err = wish("request TTL", expiry, r.Expires); err != nil {
		return err
	}
	return r.setStart(m.Spec.AssumeStartTime)
}

// setStart has the access begin later.
func (r *AccessRequest) setStart(t *timestamppb.Timestamp) error {
	if isUnset(t) {
		return nil
	}
	if r.Start = t.AsTime(); !r.Start.Before(r.Expires) {
		return invalid("assume start time is after the end of the access")
	}
	return nil
}

// isUnset reports whether a time is not given: absent, or the year 1.
func isUnset(t *timestamppb.Timestamp) bool { return t == nil || t.AsTime().IsZero() }
