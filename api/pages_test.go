package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/rolewire"
)

// requestPages answers with the pages that page makes of what is asked for.
func requestPages(t *testing.T, page func(*accesswire.ListAccessRequestsRequest) (*accesswire.ListAccessRequestsResponse, error)) *Client {
	t.Helper()
	return startAuth(t, func(_ string, request []byte) ([]byte, error) {
		ask := new(accesswire.ListAccessRequestsRequest)
		if err := wire.Unmarshal(request, ask); err != nil {
			return nil, err
		}
		reply, err := page(ask)
		if err != nil {
			return nil, err
		}
		return wire.Marshal(reply), nil
	}).connect(t)
}

func listAll(c *Client, f access.Filter) (ids []string, err error) {
	for r, failed := range c.AccessRequests(context.Background(), f) {
		if failed != nil {
			return ids, failed
		}
		ids = append(ids, r.ID())
	}
	return ids, nil
}

// A list is fetched page by page, in half as long ones where they are too large, and what
// the filter does not let through is left out, whatever the server makes of it.
func TestAccessRequestPages(t *testing.T) {
	var limits []int32
	c := requestPages(t, func(ask *accesswire.ListAccessRequestsRequest) (*accesswire.ListAccessRequestsResponse, error) {
		limits = append(limits, ask.Limit)
		if ask.Limit > 100 {
			return nil, status.Error(codes.ResourceExhausted, "too large")
		}
		if !ask.Descending || ask.Sort != 1 || ask.Filter.Scope != 2 {
			t.Errorf("asked for %+v", ask)
		}
		mine := stored("mine-"+ask.StartKey, access.Pending)
		mine.Spec.User = "carol"
		reply := &accesswire.ListAccessRequestsResponse{AccessRequests: []*accesswire.AccessRequest{
			stored("r"+ask.StartKey, access.Pending), stored("decided", access.Approved), mine,
		}}
		if len(ask.StartKey) < 2 {
			reply.NextKey = ask.StartKey + "k"
		}
		return reply, nil
	})
	ids, err := listAll(c, access.Filter{Reviewer: "carol"})
	if err != nil || fmt.Sprint(ids) != "[r rk rkk]" || fmt.Sprint(limits) != "[200 100 100 100]" {
		t.Errorf("%v, %v, asked with %v", ids, err, limits)
	}
	// Whoever has had enough asks for no more.
	limits = nil
	for range c.AccessRequests(context.Background(), access.Filter{Reviewer: "carol"}) {
		break
	}
	if len(limits) != 2 {
		t.Errorf("asked for pages of %v", limits)
	}
}

// No list goes on for ever, and the server's own words come through, harmless.
func TestListsWithoutEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		page func(*accesswire.ListAccessRequestsRequest) (*accesswire.ListAccessRequestsResponse, error)
		want string
	}{
		"the same page": {func(*accesswire.ListAccessRequestsRequest) (*accesswire.ListAccessRequestsResponse, error) {
			return &accesswire.ListAccessRequestsResponse{NextKey: "k"}, nil
		}, "without end"},
		"empty pages": {func(ask *accesswire.ListAccessRequestsRequest) (*accesswire.ListAccessRequestsResponse, error) {
			next := "a"
			if ask.StartKey == "a" {
				next = "b"
			}
			return &accesswire.ListAccessRequestsResponse{NextKey: next}, nil
		}, "without end"},
		"too much to unpack": {func(ask *accesswire.ListAccessRequestsRequest) (*accesswire.ListAccessRequestsResponse, error) {
			r := stored("x", access.Pending)
			r.Spec.Roles = make([]string, 1<<20)
			return &accesswire.ListAccessRequestsResponse{NextKey: ask.StartKey + "k", AccessRequests: []*accesswire.AccessRequest{r}}, nil
		}, "MiB"},
		"garbled words": {func(*accesswire.ListAccessRequestsRequest) (*accesswire.ListAccessRequestsResponse, error) {
			return nil, status.Error(codes.Unknown, "no\x1b[2J such\r thing")
		}, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := listAll(requestPages(t, tc.page), access.Filter{})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.ContainsAny(err.Error(), "\x1b\r") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Answers about something else than was asked for are refused.
func TestAnswersAboutOthers(t *testing.T) {
	c := startAuth(t, func(method string, _ []byte) ([]byte, error) {
		switch lastOf(method) {
		case "GetRole":
			return wire.Marshal(&rolewire.Role{Metadata: wire.Metadata{Name: "other"}}), nil
		case "GetUser":
			return wire.Marshal(&rolewire.GetUserResponse{}), nil
		}
		return wire.Marshal(stored("other", access.Approved)), nil
	}).connect(t)
	ctx := testContext(t)
	_, role := c.Role(ctx, "mine")
	_, user := c.CurrentUser(ctx)
	_, made := c.CreateAccessRequest(ctx, access.Draft{User: "alice", Roles: []string{"dba"}})
	_, reviewed := c.ReviewAccessRequest(ctx, "mine", access.Review{State: access.Approved})
	for name, err := range map[string]error{"role": role, "user": user, "made": made, "reviewed": reviewed} {
		if err == nil {
			t.Errorf("%s: another one was taken", name)
		}
	}
}

// A dry run is not made by a server that does not know what that is.
func TestDryRunOfOldClusters(t *testing.T) {
	c := startAuth(t, func(method string, _ []byte) ([]byte, error) {
		if lastOf(method) != "CreateAccessRequestV2" {
			t.Errorf("%s was called", method)
		}
		return nil, status.Error(codes.Unimplemented, "unknown method")
	}).connect(t)
	if _, err := c.CreateAccessRequest(testContext(t), access.Draft{DryRun: true, Roles: []string{"dba"}}); err == nil {
		t.Error("it worked")
	}
}

// What resources are asked for travels as it was typed.
func TestResourceRequests(t *testing.T) {
	c := startAuth(t, func(_ string, request []byte) ([]byte, error) {
		var m accesswire.AccessRequest
		if err := wire.Unmarshal(request, &m); err != nil || len(m.Spec.ResourceIDs) != 1 || *m.Spec.ResourceIDs[0] != (accesswire.ResourceID{Cluster: "c", Kind: "node", Name: "n", Sub: "s/t"}) {
			t.Errorf("%+v, %v", m.Spec, err)
		}
		return request, nil
	}).connect(t)
	id, err := access.ParseResourceID("/c/node/n/s/t")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.CreateAccessRequest(testContext(t), access.Draft{Resources: []access.ResourceID{id}})
	if err != nil || len(r.Spec.Resources) != 1 || r.Spec.Resources[0].String() != "/c/node/n/s/t" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A watch ends with an error, and tells nothing that is out of turn.
func TestWatchEnds(t *testing.T) {
	put := &accesswire.Event{Type: 1, AccessRequest: stored("id", access.Approved)}
	gone := &accesswire.Event{Type: 2, Header: &accesswire.ResourceHeader{Kind: "access_request", Metadata: wire.Metadata{Name: "id"}}}
	for name, tc := range map[string]struct {
		events []*accesswire.Event
		end    error
		told   string
		is     error
	}{
		"the stream ends":      {[]*accesswire.Event{{}, put, gone}, nil, "0 1id 2id", io.ErrUnexpectedEOF},
		"the server goes":      {[]*accesswire.Event{{}}, status.Error(codes.Unavailable, "going"), "0", ErrUnavailable},
		"not allowed":          {nil, status.Error(codes.PermissionDenied, "no"), "", ErrAccessDenied},
		"it begins too late":   {[]*accesswire.Event{put}, nil, "", nil},
		"it begins twice":      {[]*accesswire.Event{{}, {}}, nil, "0", nil},
		"about something else": {[]*accesswire.Event{{}, {Type: 1}, {Type: 2}, {Type: 2, Header: &accesswire.ResourceHeader{Kind: "role"}}, {Type: 9}, put}, nil, "0 1id", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := startStreams(t, func(_ string, stream grpc.ServerStream) error {
				var request []byte
				if err := stream.RecvMsg(&request); err != nil {
					return err
				}
				for _, e := range tc.events {
					if err := stream.SendMsg(wire.Marshal(e)); err != nil {
						return err
					}
				}
				return tc.end
			}).connect(t)
			var told []string
			var last error
			for e, err := range c.WatchAccessRequests(testContext(t), access.Filter{User: "alice"}) {
				if last = err; err == nil {
					told = append(told, fmt.Sprint(e.Type, e.ID))
				}
			}
			if got := strings.Join(told, " "); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(tc.told, " ", "") {
				t.Errorf("told of %q, want %q", got, tc.told)
			}
			var call *Error
			if !errors.As(last, &call) || tc.is != nil && !errors.Is(last, tc.is) {
				t.Errorf("%v", last)
			}
		})
	}
}

// Errors are told apart, and the words of the server are kept.
func TestErrorKinds(t *testing.T) {
	kinds := []error{ErrAccessDenied, ErrNotFound, ErrExists, ErrInvalid, ErrLimit, ErrUnavailable, ErrExpired, ErrAmbiguous}
	for code, want := range map[codes.Code]error{
		codes.PermissionDenied: ErrAccessDenied, codes.NotFound: ErrNotFound, codes.AlreadyExists: ErrExists, codes.InvalidArgument: ErrInvalid,
		codes.ResourceExhausted: ErrLimit, codes.Unavailable: ErrUnavailable, codes.Unknown: nil, codes.FailedPrecondition: nil,
	} {
		c := startAuth(t, func(string, []byte) ([]byte, error) { return nil, status.Error(code, "because of this") }).connect(t)
		err := c.DeleteAccessRequest(testContext(t), "id")
		if err == nil || !strings.Contains(err.Error(), "because of this") {
			t.Errorf("%v: %v", code, err)
		}
		for _, kind := range kinds {
			if errors.Is(err, kind) != (kind == want) {
				t.Errorf("%v: %v is %v: %v", code, err, kind, errors.Is(err, kind))
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := startAuth(t, func(string, []byte) ([]byte, error) { return nil, nil }).connect(t)
	if err := c.DeleteAccessRequest(ctx, "id"); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
}
