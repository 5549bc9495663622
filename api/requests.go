package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/api/access"
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
	methodReview          = "/proto.AuthService/SubmitAccessReview"
	methodDeleteRequest   = "/proto.AuthService/DeleteAccessRequest"
)

// What ListAccessRequests knows by numbers.
const (
	sortCreated      = 1
	scopeNeedsReview = 2
)

// AccessCapabilities asks what user, the one that the credentials are for, has to
// request; and, if all is set, what they can.
func (c *Client) AccessCapabilities(ctx context.Context, user string, all bool) (*access.Capabilities, error) {
	request := accesswire.AccessCapabilitiesRequest{User: user, RequestableRoles: all, SuggestedReviewers: all}
	var reply accesswire.AccessCapabilities
	if err := c.call(ctx, methodCapabilities, &request, &reply); err != nil {
		return nil, err
	}
	return &access.Capabilities{
		AutoRequest: reply.AutoRequest, RequireReason: reply.RequireReason, Prompt: reply.RequestPrompt,
		RequestableRoles: reply.RequestableRoles, SuggestedReviewers: reply.SuggestedReviewers,
	}, nil
}

// CreateAccessRequest makes a request and returns it as the cluster has it. Clusters of
// 14.x return nothing: from them it is what was asked for.
//
// Errors: *Error, which is ErrAccessDenied for roles that the user may not ask for,
// ErrExists for an ID that there is already, and ErrInvalid for a request without a
// reason where one is needed, and for times that the cluster does not take.
func (c *Client) CreateAccessRequest(ctx context.Context, d access.Draft) (*access.Request, error) {
	if d.ID == "" {
		d.ID = newUUID()
	}
	message := draft(&d)
	var reply accesswire.AccessRequest
	err := c.call(ctx, methodCreateRequest, message, &reply)
	if isUnimplemented(err) && !d.DryRun { // the old call would make it
		if err = c.call(ctx, methodCreateRequest14, message, &wire.Empty{}); err == nil {
			reply = *message
		}
	}
	if err != nil {
		return nil, err
	}
	if reply.Metadata.Name != d.ID {
		return nil, fmt.Errorf("%s: the cluster made an access request of another ID than was asked for", c.addr)
	}
	return newRequest(&reply), nil
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// AccessRequest returns the request with that ID, of user, or of anybody if user is "".
// Errors match ErrNotFound if there is none, or the user may not know of it.
func (c *Client) AccessRequest(ctx context.Context, id, user string) (*access.Request, error) {
	var found *access.Request
	var err error
	if id != "" { // a filter without it lets all through
		err = c.eachRequest(ctx, &access.Filter{ID: id, User: user}, func(r *access.Request) bool {
			found = r
			return false
		})
	}
	if found == nil && err == nil {
		err = &Error{Method: methodListRequests, Addr: c.addr, err: &rpc.Status{Code: rpc.NotFound, Message: "there is no access request " + id + ", or not for you"}}
	}
	return found, err
}

// AccessRequests lists the requests that the user may see and the filter lets through,
// newest first. There may be 20,000 of them, in 64 MiB; the first error ends the list.
func (c *Client) AccessRequests(ctx context.Context, filter access.Filter) iter.Seq2[*access.Request, error] {
	return func(yield func(*access.Request, error) bool) {
		if err := c.eachRequest(ctx, &filter, func(r *access.Request) bool { return yield(r, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// eachRequest hands the requests to take until that has had enough.
func (c *Client) eachRequest(ctx context.Context, filter *access.Filter, take func(*access.Request) bool) error {
	message := newFilter(filter)
	p := pages{client: c, what: "access requests", most: maxItems}
	p.fetch = func(ctx context.Context, limit int32, key string) (int, string, error) {
		var reply accesswire.ListAccessRequestsResponse
		err := p.page(ctx, methodListRequests, &accesswire.ListAccessRequestsRequest{
			Filter: message, Sort: sortCreated, Descending: true, Limit: limit, StartKey: key,
		}, &reply)
		if isUnimplemented(err) {
			reply.AccessRequests, err = c.streamRequests(ctx, message)
		}
		if err != nil {
			return 0, "", err
		}
		for _, m := range reply.AccessRequests {
			// Whatever the server makes of the filter: what it says is looked at again.
			if r := newRequest(m); filter.Match(r) && !take(r) {
				return 0, "", nil
			}
		}
		return len(reply.AccessRequests), reply.NextKey, nil
	}
	return p.each(ctx)
}

func newFilter(f *access.Filter) *accesswire.AccessRequestFilter {
	m := &accesswire.AccessRequestFilter{ID: f.ID, User: f.User, State: int32(f.State), SearchKeywords: f.Search}
	if f.Reviewer != "" {
		m.Scope = scopeNeedsReview
	}
	return m
}

// streamRequests is how servers of 14 list requests, in no order.
func (c *Client) streamRequests(ctx context.Context, filter *accesswire.AccessRequestFilter) ([]*accesswire.AccessRequest, error) {
	var all []*accesswire.AccessRequest
	err := c.streamed(ctx, methodGetRequests14, filter, func(data []byte, memory *int) error {
		r := new(accesswire.AccessRequest)
		all = append(all, r)
		return wire.UnmarshalWithin(data, r, memory)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(x, y *accesswire.AccessRequest) int {
		return cmp.Or(y.Spec.Created.Time().Compare(x.Spec.Created.Time()), strings.Compare(x.Metadata.Name, y.Metadata.Name))
	})
	return all, nil
}

// ReviewAccessRequest hands in what review.Author, the user that the credentials are
// for, says about a request, and returns what has become of it. It uses Author, State
// (access.Approved or access.Denied), Reason and AssumeStartTime.
//
// Errors: *Error, which is ErrNotFound, ErrAccessDenied for somebody who may not review
// it, and ErrInvalid for one that is decided.
func (c *Client) ReviewAccessRequest(ctx context.Context, id string, review access.Review) (*access.Request, error) {
	message := accesswire.ReviewSubmission{RequestID: id, Review: accesswire.Review{
		Author: review.Author, ProposedState: int32(review.State), Reason: review.Reason,
		AssumeStartTime: accesswire.NewTimestamp(review.AssumeStartTime),
	}}
	var reply accesswire.AccessRequest
	if err := c.call(ctx, methodReview, &message, &reply); err != nil {
		return nil, err
	}
	if reply.Metadata.Name != id {
		return nil, fmt.Errorf("%s: the cluster answers with another access request than was reviewed", c.addr)
	}
	return newRequest(&reply), nil
}

// DeleteAccessRequest takes a request back. Access that it has led to lasts until the
// certificates end, or are issued again without it (GenerateCertificates).
//
// Errors: *Error, which is ErrNotFound, and ErrAccessDenied for somebody else's request.
func (c *Client) DeleteAccessRequest(ctx context.Context, id string) error {
	return c.call(ctx, methodDeleteRequest, &accesswire.RequestID{ID: id}, &wire.Empty{})
}
