package devcluster

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// What a list of requests may be sorted by, and how far it goes.
const (
	sortCreated = 1
	sortState   = 2
	sortUser    = 3

	scopeMine        = 1
	scopeNeedsReview = 2
	scopeReviewed    = 3
)

// seesRequest reports whether somebody may know of a request: it is theirs, or one that
// they may review, or they may list all.
func (rs roleSet) seesRequest(user string, r *AccessRequest) bool {
	return r.User == user || rs.mayReviewAll(r.Roles) || rs.may("list", "access_request")
}

// visibleRequests are those that the caller may see and the filter lets through, the
// oldest first.
func (c *Cluster) visibleRequests(ctx context.Context, f *pb.AccessRequestFilter) ([]AccessRequest, error) {
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.accessRequests()
	if err != nil {
		return nil, err
	}
	user := caller(ctx).user
	return slices.DeleteFunc(all, func(r AccessRequest) bool {
		return !roles.seesRequest(user, &r) || !r.passes(f) || !roles.inScope(f.GetScope(), user, &r)
	}), nil
}

// passes reports whether the filter lets a request through, but for its scope.
func (r *AccessRequest) passes(f *pb.AccessRequestFilter) bool {
	switch {
	case f.GetId() != "" && f.Id != r.ID,
		f.GetUser() != "" && f.User != r.User,
		f.GetRequester() != "" && f.Requester != r.User,
		f.GetState() != 0 && f.State != r.state():
		return false
	}
	return hasWords(slices.Concat([]string{r.ID, r.User, r.State, r.Reason, r.ResolveReason}, r.Roles, r.Reviewers), f.GetSearchKeywords())
}

// inScope reports whether a request is of the caller, waits for a review of theirs, or
// has one.
func (rs roleSet) inScope(scope int32, user string, r *AccessRequest) bool {
	switch scope {
	case scopeMine:
		return r.User == user
	case scopeNeedsReview:
		return r.User != user && r.state() == statePending && rs.mayReviewAll(r.Roles)
	case scopeReviewed:
		return r.Resolver == user
	}
	return true
}

// rpcListRequests answers with a page of requests; the key of the next one is the ID
// that it begins with.
func (c *Cluster) rpcListRequests(ctx context.Context, req *pb.ListAccessRequestsRequest) (*pb.ListAccessRequestsResponse, error) {
	list, err := c.visibleRequests(ctx, req.Filter)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(x, y AccessRequest) int {
		switch req.Sort {
		case sortCreated:
			return x.Created.Compare(y.Created)
		case sortState:
			return cmp.Compare(x.state(), y.state())
		case sortUser:
			return strings.Compare(x.User, y.User)
		}
		return strings.Compare(x.ID, y.ID)
	})
	if req.Descending {
		slices.Reverse(list)
	}
	if req.StartKey != "" {
		from := slices.IndexFunc(list, func(r AccessRequest) bool { return r.ID == req.StartKey })
		if from < 0 {
			return nil, invalid("unknown start key %q", req.StartKey)
		}
		list = list[from:]
	}
	page := &pb.ListAccessRequestsResponse{}
	limit := pageSize(req.Limit)
	if len(list) > limit {
		page.NextKey, list = list[limit].ID, list[:limit]
	}
	for i := range list {
		page.AccessRequests = append(page.AccessRequests, list[i].message())
	}
	return page, nil
}

// streamRequests is what servers had before ListAccessRequests.
func (c *Cluster) streamRequests(stream grpc.ServerStream) error {
	filter := new(pb.AccessRequestFilter)
	if err := stream.RecvMsg(filter); err != nil {
		return err
	}
	filter.Scope, filter.Requester = 0, "" // they came later
	list, err := c.visibleRequests(stream.Context(), filter)
	for i := range list {
		if err := stream.SendMsg(list[i].message()); err != nil {
			return err
		}
	}
	return err
}
