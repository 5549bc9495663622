package devcluster

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

const methodAuth = "/" + authName + "/"

// requestIDs lists requests page by page.
func requestIDs(t *testing.T, cc *grpc.ClientConn, req *pb.ListAccessRequestsRequest) (ids []string) {
	t.Helper()
	for range 100 {
		page := new(pb.ListAccessRequestsResponse)
		if err := cc.Invoke(t.Context(), methodAuth+"ListAccessRequests", req, page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.AccessRequests {
			ids = append(ids, r.Metadata.Name)
		}
		if req.StartKey = page.NextKey; page.NextKey == "" {
			return ids
		}
	}
	t.Fatal("the list does not end")
	return nil
}

// Lists are cut into pages, sorted, and hold what the caller may see: their own requests,
// those for roles that they review, or all, by a rule.
func TestRequestLists(t *testing.T) {
	f := startRoles(t)
	carol := f.auth(f.as("carol", spec("review-editor", "{allow: {review_requests: {roles: [editor]}}}"), nil))
	warden := f.auth(f.as("wanda", spec("warden", "{allow: {rules: [{resources: [access_request], verbs: [list, read, delete]}]}}"), nil))
	eve := f.auth(f.as("eve", spec("nothing", "{}"), nil))
	for i, r := range []AccessRequest{
		{ID: "1", User: "bob", Roles: []string{"editor"}, State: "pending", Reason: "Ticket 12"},
		{ID: "2", User: "bob", Roles: []string{"auditor"}, State: "pending"},
		{ID: "3", User: "carol", Roles: []string{"editor"}, State: "pending"},
		{ID: "4", User: "ann", Roles: []string{"editor"}, State: "approved", Resolver: "carol"},
		{ID: "5", User: "ann", Roles: []string{"editor", "auditor"}, State: "denied"},
	} {
		r.Created = f.clock.Now().Add(time.Duration(-i) * time.Minute)
		r.Expires = f.clock.Now().Add(time.Hour)
		if err := f.putRequest(&r); err != nil {
			t.Fatal(err)
		}
	}
	list := func(change func(*pb.ListAccessRequestsRequest)) *pb.ListAccessRequestsRequest {
		req := &pb.ListAccessRequestsRequest{Filter: new(pb.AccessRequestFilter)}
		change(req)
		return req
	}
	for name, tc := range map[string]struct {
		as   *grpc.ClientConn
		req  *pb.ListAccessRequestsRequest
		want string
	}{
		"a stranger":         {eve, list(func(*pb.ListAccessRequestsRequest) {}), ""},
		"a reviewer":         {carol, list(func(*pb.ListAccessRequestsRequest) {}), "1 3 4"},
		"a warden":           {warden, list(func(*pb.ListAccessRequestsRequest) {}), "1 2 3 4 5"},
		"pages of two":       {warden, list(func(r *pb.ListAccessRequestsRequest) { r.Limit = 2 }), "1 2 3 4 5"},
		"newest first":       {warden, list(func(r *pb.ListAccessRequestsRequest) { r.Limit, r.Sort, r.Descending = 2, sortCreated, true }), "1 2 3 4 5"},
		"oldest first":       {warden, list(func(r *pb.ListAccessRequestsRequest) { r.Limit, r.Sort = 2, sortCreated }), "5 4 3 2 1"},
		"by state":           {warden, list(func(r *pb.ListAccessRequestsRequest) { r.Sort, r.Descending = sortState, true }), "5 4 1 2 3"},
		"by user":            {warden, list(func(r *pb.ListAccessRequestsRequest) { r.Sort = sortUser }), "5 4 2 1 3"},
		"mine":               {carol, list(func(r *pb.ListAccessRequestsRequest) { r.Filter.Scope = scopeMine }), "3"},
		"to be reviewed":     {carol, list(func(r *pb.ListAccessRequestsRequest) { r.Filter.Scope = scopeNeedsReview }), "1"},
		"reviewed":           {carol, list(func(r *pb.ListAccessRequestsRequest) { r.Filter.Scope = scopeReviewed }), "4"},
		"searched":           {carol, list(func(r *pb.ListAccessRequestsRequest) { r.Filter.SearchKeywords = []string{"tICKET", "bob"} }), "1"},
		"pending of bob":     {warden, list(func(r *pb.ListAccessRequestsRequest) { r.Filter.User, r.Filter.State = "bob", statePending }), "1 2"},
		"of a requester":     {warden, list(func(r *pb.ListAccessRequestsRequest) { r.Filter.Requester = "ann" }), "4 5"},
		"one that is hidden": {carol, list(func(r *pb.ListAccessRequestsRequest) { r.Filter.Id = "2" }), ""},
	} {
		got := requestIDs(t, tc.as, tc.req)
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, want %s", name, got, tc.want)
		}
	}
	err := warden.Invoke(t.Context(), methodAuth+"ListAccessRequests", &pb.ListAccessRequestsRequest{StartKey: "nowhere"}, new(pb.ListAccessRequestsResponse))
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("an unknown key: %v", err)
	}
}

// Whoever has the rule takes back what others ask for; those who may see a request are
// told of it, and nobody else.
func TestRequestsAreDeletedAndWatched(t *testing.T) {
	f := startRoles(t)
	reviewer := f.auth(f.as("carol", spec("review-editor", "{allow: {review_requests: {roles: [editor]}}}"), nil))
	warden := f.auth(f.as("wanda", spec("warden", "{allow: {rules: [{resources: [access_request], verbs: [list, read, delete]}]}}"), nil))
	eve := f.auth(f.as("eve", spec("nothing", "{}"), nil))
	watch := func(cc *grpc.ClientConn, filter map[string]string) grpc.ClientStream {
		t.Helper()
		stream, err := cc.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, methodAuth+"WatchEvents")
		if err == nil {
			err = stream.SendMsg(&pb.Watch{Kinds: []*pb.WatchKind{{Kind: "access_request", Filter: filter}}})
		}
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	next := func(stream grpc.ClientStream) string {
		t.Helper()
		e := new(pb.Event)
		if err := stream.RecvMsg(e); err != nil {
			return status.Code(err).String()
		}
		return fmt.Sprint(e.Type, e.GetAccessRequest().GetMetadata().GetName(), e.GetResourceHeader().GetMetadata().GetName())
	}
	seen := map[string]grpc.ClientStream{"all": watch(warden, nil), "editor": watch(reviewer, nil), "own": watch(eve, map[string]string{"user": "eve"}), "one": watch(warden, map[string]string{"id": "b"})}
	for name, stream := range seen {
		if got := next(stream); got != "0" {
			t.Fatalf("%s begins with %s", name, got)
		}
	}
	if got := next(watch(eve, nil)); got != codes.PermissionDenied.String() {
		t.Errorf("eve watches everybody: %s", got)
	}
	for _, r := range []AccessRequest{{ID: "a", User: "bob", Roles: []string{"auditor"}}, {ID: "b", User: "bob", Roles: []string{"editor"}}, {ID: "c", User: "eve", Roles: []string{"auditor"}}} {
		r.State, r.Created, r.Expires = "pending", f.clock.Now(), f.clock.Now().Add(time.Hour)
		if err := f.putRequest(&r); err != nil {
			t.Fatal(err)
		}
		remove := func(cc *grpc.ClientConn) codes.Code {
			return status.Code(cc.Invoke(t.Context(), methodAuth+"DeleteAccessRequest", &pb.RequestID{Id: r.ID}, new(pb.Empty)))
		}
		if got := remove(reviewer); got != codes.PermissionDenied {
			t.Errorf("%s is taken back by a reviewer: %v", r.ID, got)
		}
		if got := remove(warden); got != codes.OK {
			t.Errorf("%s: %v", r.ID, got)
		}
		if got := remove(warden); got != codes.NotFound {
			t.Errorf("%s, twice: %v", r.ID, got)
		}
	}
	for name, want := range map[string]string{"all": "1a 2a 1b 2b 1c 2c", "editor": "1b 2b", "own": "1c 2c", "one": "1b 2b"} {
		var got []string
		for range strings.Fields(want) {
			got = append(got, strings.ReplaceAll(next(seen[name]), " ", ""))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: told of %v, want %s", name, got, want)
		}
	}
}

// A request that nobody decides about ends by itself, before the access would.
func TestRequestEnds(t *testing.T) {
	f := startRoles(t)
	now := f.clock.Now()
	for id, state := range map[string]string{"p": "pending", "a": "approved"} {
		r := &AccessRequest{ID: id, User: "bob", Roles: []string{"editor"}, State: state, Created: now, Until: now.Add(time.Hour), Expires: now.Add(3 * time.Hour)}
		if err := f.putRequest(r); err != nil {
			t.Fatal(err)
		}
	}
	f.clock.Advance(2 * time.Hour)
	list, err := f.AccessRequests()
	if err != nil || len(list) != 1 || list[0].ID != "a" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := f.ResolveRequest("p", true, ""); err == nil {
		t.Error("approved after its end")
	}
}

// The list of roles comes by page, and takes two verbs.
func TestRoleLists(t *testing.T) {
	f := startRoles(t)
	reader := f.auth(f.as("rita", spec("role-reader", "{allow: {rules: [{resources: [role], verbs: [list, read]}]}}"), nil))
	lister := f.auth(f.as("lena", spec("role-lister", "{allow: {rules: [{resources: [role], verbs: [list]}]}}"), nil))
	err := lister.Invoke(t.Context(), methodAuth+"ListRoles", new(pb.ListRolesRequest), new(pb.ListRolesResponse))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("without read: %v", err)
	}
	var names []string
	for req := (&pb.ListRolesRequest{Limit: 3}); ; {
		page := new(pb.ListRolesResponse)
		if err := reader.Invoke(t.Context(), methodAuth+"ListRoles", req, page); err != nil || len(page.Roles) > 3 {
			t.Fatalf("%d, %v", len(page.Roles), err)
		}
		for _, r := range page.Roles {
			names = append(names, r.Metadata.Name)
		}
		if req.StartKey = page.NextKey; page.NextKey == "" {
			break
		}
	}
	all, err := f.roles()
	if err != nil || len(names) != len(all) || !slices.IsSorted(names) || len(slices.Compact(names)) != len(all) {
		t.Errorf("%q, %v", names, err)
	}
	page := new(pb.ListRolesResponse)
	search := &pb.ListRolesRequest{Filter: &pb.RoleFilter{SearchKeywords: []string{"ROLE-"}}}
	if err := reader.Invoke(t.Context(), methodAuth+"ListRoles", search, page); err != nil || len(page.Roles) != 2 {
		t.Errorf("%v, %v", page, err)
	}
}

// Which calls there are depends on the version that the cluster stands for.
func TestRequestCallsOfVersions(t *testing.T) {
	calls := map[string]int{ // the version that alone has it, 0 for both
		"CreateAccessRequestV2": 18, "ListAccessRequests": 18, "ListRoles": 18, "CreateAccessRequest": emulate14, "GetRoles": emulate14, "SubmitAccessReview": 0,
	}
	for version, change := range map[int]func(*Config){18: nil, emulate14: func(c *Config) { c.Emulate, c.Suite = emulate14, "" }} {
		f := startCluster(t, change)
		var l *login
		if version == emulate14 {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			l = f.login14(key)
		} else {
			l = f.login(nil)
		}
		cc := f.auth(l)
		for call, of := range calls {
			err := cc.Invoke(t.Context(), methodAuth+call, new(pb.Empty), new(pb.Empty))
			if there := of == 0 || of == version; there == (status.Code(err) == codes.Unimplemented) {
				t.Errorf("%s of %d: %v", call, version, err)
			}
		}
	}
}

// Clients tell what is wrong by the code, and people by the text, which has no code in it.
func TestRequestErrors(t *testing.T) {
	f := startRoles(t)
	bob := f.auth(f.as("bob", spec("asks", "{allow: {request: {roles: [editor]}}}"), nil))
	carol := f.auth(f.as("carol", spec("reviews", "{allow: {review_requests: {roles: [editor]}}}"), nil))
	create := func(id string) error {
		return bob.Invoke(t.Context(), methodAuth+"CreateAccessRequestV2", &pb.AccessRequest{
			Metadata: &pb.Metadata{Name: id}, Spec: &pb.AccessRequestSpec{User: "bob", Roles: []string{"editor"}},
		}, new(pb.AccessRequest))
	}
	review := func(id string, start *timestamppb.Timestamp) error {
		return carol.Invoke(t.Context(), methodAuth+"SubmitAccessReview", &pb.AccessReviewSubmission{
			RequestId: id, Review: &pb.AccessReview{ProposedState: stateApproved, AssumeStartTime: start},
		}, new(pb.AccessRequest))
	}
	id, damaged := uuid.NewString(), uuid.NewString()
	err := f.state.update(func(tx *stateTx) error { return tx.put(bucketRequests, damaged, "no request") })
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what string
		err  error
		code codes.Code
		text string
	}{
		{"create", create(id), codes.OK, ""},
		{"create again", create(id), codes.AlreadyExists, "access request " + id + " exists already"},
		{"create over what cannot be read", create(damaged), codes.Unknown, "is damaged"},
		{"review to begin too late", review(id, timestamppb.New(f.clock.Now().Add(requestTTL))), codes.InvalidArgument, "assume start time is after"},
		{"review", review(id, nil), codes.OK, ""},
		{"review again", review(id, nil), codes.InvalidArgument, "access request " + id + " is approved already"},
		{"review none", review(uuid.NewString(), nil), codes.NotFound, "is not found"},
	} {
		s := status.Convert(step.err)
		if s.Code() != step.code || !strings.Contains(s.Message(), step.text) || strings.Contains(s.Message(), "code =") || strings.Contains(s.Message(), "\n") {
			t.Errorf("%s: %v", step.what, step.err)
		}
	}
}
