package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
)

const (
	methodCapabilities    = "/proto.AuthService/GetAccessCapabilities"
	methodCreateRequest   = "/proto.AuthService/CreateAccessRequestV2"
	methodCreateRequest14 = "/proto.AuthService/CreateAccessRequest"
	methodListRequests    = "/proto.AuthService/ListAccessRequests"
	methodGetRequests14   = "/proto.AuthService/GetAccessRequestsV2"
)

// AccessCapabilities says what the cluster's roles make of access requests.
type AccessCapabilities struct {
	AutoRequest   bool   // everything that can be requested is, at login
	RequireReason bool   // ... and has to have a reason
	Prompt        string // what the reason should say; the server's text
}

// AccessCapabilities asks what user, the one that the credentials are for, has to
// request.
func (c *Client) AccessCapabilities(ctx context.Context, user string) (*AccessCapabilities, error) {
	var reply accesswire.AccessCapabilities
	if err := c.call(ctx, methodCapabilities, &accesswire.AccessCapabilitiesRequest{User: user}, &reply); err != nil {
		return nil, err
	}
	return &AccessCapabilities{reply.AutoRequest, reply.RequireReason, reply.RequestPrompt}, nil
}

// AccessRequest is a request for more roles for some time. Its text comes from the
// server as it is.
type AccessRequest struct {
	ID            string   // a UUID; who makes a request chooses it
	User          string   // whom it is for
	Roles         []string // or "*" alone, for all that can be requested
	State         string   // pending, approved, denied, promoted
	Reason        string
	ResolveReason string   // why it was approved or denied
	Reviewers     []string // suggested ones
	Created       time.Time
	Expires       time.Time
}

// CreateAccessRequest makes a request and returns it as the cluster has it. It uses
// ID, User, Roles, Reason and Reviewers.
func (c *Client) CreateAccessRequest(ctx context.Context, r AccessRequest) (*AccessRequest, error) {
	message := accesswire.AccessRequest{
		Kind: "access_request", Version: "v3", Metadata: wire.Metadata{Name: r.ID, Namespace: "default"},
		Spec: accesswire.AccessRequestSpec{
			User: r.User, Roles: r.Roles, State: accesswire.RequestPending, RequestReason: r.Reason, SuggestedReviewers: r.Reviewers,
		},
	}
	var reply accesswire.AccessRequest
	err := c.call(ctx, methodCreateRequest, &message, &reply)
	if isUnimplemented(err) {
		// Servers of 14 return nothing; the request is what was asked for.
		if err = c.call(ctx, methodCreateRequest14, &message, &wire.Empty{}); err == nil {
			reply = message
		}
	}
	if err != nil {
		return nil, err
	}
	if reply.Metadata.Name != r.ID {
		return nil, fmt.Errorf("%s: the cluster made an access request of another ID than was asked for", c.addr)
	}
	return newAccessRequest(&reply), nil
}

// AccessRequest returns the request of user with that ID. Errors match ErrNotFound
// if there is none.
func (c *Client) AccessRequest(ctx context.Context, id, user string) (*AccessRequest, error) {
	filter := &accesswire.AccessRequestFilter{ID: id, User: user}
	var reply accesswire.ListAccessRequestsResponse
	err := c.call(ctx, methodListRequests, &accesswire.ListAccessRequestsRequest{Filter: filter}, &reply)
	if isUnimplemented(err) {
		reply.AccessRequests, err = c.streamRequests(ctx, filter)
	}
	if err != nil {
		return nil, err
	}
	// Whatever the server makes of the filter: this one, or none.
	i := slices.IndexFunc(reply.AccessRequests, func(r *accesswire.AccessRequest) bool {
		return r.Metadata.Name == id && r.Spec.User == user
	})
	if i < 0 {
		return nil, &Error{Method: methodListRequests, Addr: c.addr, err: &rpc.Status{Code: rpc.NotFound, Message: "you have no access request " + id}}
	}
	return newAccessRequest(reply.AccessRequests[i]), nil
}

// streamRequests is how servers of 14 list requests.
func (c *Client) streamRequests(ctx context.Context, filter *accesswire.AccessRequestFilter) ([]*accesswire.AccessRequest, error) {
	const most = 1000
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	failed := func(err error) error { return &Error{Method: methodGetRequests14, Addr: c.addr, err: err} }
	stream, err := c.serverStream(ctx, methodGetRequests14, filter)
	if err != nil {
		return nil, failed(err)
	}
	var all []*accesswire.AccessRequest
	memory := maxBytes
	for len(all) < most {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		r := new(accesswire.AccessRequest)
		if err == nil {
			err = wire.UnmarshalWithin(data, r, &memory)
		}
		if err != nil {
			return nil, failed(err)
		}
		all = append(all, r)
	}
	return nil, failed(fmt.Errorf("it lists more than %d access requests", most))
}

// serverStream starts a call with one request and many answers.
func (c *Client) serverStream(ctx context.Context, method string, request any) (*rpc.Stream, error) {
	stream, err := c.conn.Stream(ctx, method)
	if err != nil {
		return nil, err
	}
	// A server that ends the call at once, because it does not know it, says how in Recv.
	if err := stream.Send(wire.Marshal(request)); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	_ = stream.CloseSend()
	return stream, nil
}

func newAccessRequest(r *accesswire.AccessRequest) *AccessRequest {
	states := map[int32]string{
		accesswire.RequestPending: "pending", accesswire.RequestApproved: "approved", accesswire.RequestDenied: "denied", accesswire.RequestPromoted: "promoted",
	}
	state, ok := states[r.Spec.State]
	if !ok {
		state = fmt.Sprintf("in state %d", r.Spec.State)
	}
	return &AccessRequest{
		ID: r.Metadata.Name, User: r.Spec.User, Roles: r.Spec.Roles, State: state, Reason: r.Spec.RequestReason,
		ResolveReason: r.Spec.ResolveReason, Reviewers: r.Spec.SuggestedReviewers,
		Created: r.Spec.Created.Time(), Expires: r.Spec.Expires.Time(),
	}
}

func isUnimplemented(err error) bool {
	var status *rpc.Status
	return errors.As(err, &status) && status.Code == rpc.Unimplemented
}
