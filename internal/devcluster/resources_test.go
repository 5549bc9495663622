package devcluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

func listUnified(t *testing.T, cc *grpc.ClientConn, req *pb.ListUnifiedResourcesRequest) (*pb.ListUnifiedResourcesResponse, error) {
	t.Helper()
	resp := new(pb.ListUnifiedResourcesResponse)
	return resp, cc.Invoke(t.Context(), "/proto.AuthService/ListUnifiedResources", req, resp)
}

func hostnames(resources []*pb.PaginatedResource) []string {
	var out []string
	for _, r := range resources {
		out = append(out, r.Node.Spec.Hostname)
	}
	return out
}

func TestPages(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Hostnames = []string{"delta", "Alpha", "charlie", "alpha", "bravo"} })
	cc := f.auth(f.login(nil))
	for _, desc := range []bool{false, true} {
		var got []string
		start, calls := "", 0
		for {
			resp, err := listUnified(t, cc, &pb.ListUnifiedResourcesRequest{
				Kinds: []string{"node"}, Limit: 2, StartKey: start, SortBy: &pb.SortBy{Field: "name", IsDesc: desc},
			})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, hostnames(resp.Resources)...)
			calls++
			if start = resp.NextKey; start == "" {
				break
			}
		}
		if desc {
			slices.Reverse(got)
		}
		lower := strings.ToLower(strings.Join(got, " "))
		if calls != 3 || lower != "alpha alpha bravo charlie delta" {
			t.Errorf("desc %v: %d calls, %q", desc, calls, got)
		}
	}
	for _, field := range []string{"", "name", "hostname", "addr"} {
		resp := new(pb.ListResourcesResponse)
		err := cc.Invoke(t.Context(), "/proto.AuthService/ListResources", &pb.ListResourcesRequest{
			ResourceType: "node", Limit: 4, SortBy: &pb.SortBy{Field: field}, NeedTotalCount: true, IncludeLogins: true,
		}, resp)
		if err != nil || len(resp.Resources) != 4 || resp.NextKey == "" || resp.TotalCount != 5 {
			t.Fatalf("%q: %v, %v", field, resp, err)
		}
		if !slices.Equal(resp.Resources[0].Logins, []string{"root", "alice"}) {
			t.Errorf("logins %q", resp.Resources[0].Logins)
		}
		sorted := map[string]func(a, b *pb.PaginatedResource) int{
			"addr": func(a, b *pb.PaginatedResource) int { return strings.Compare(a.Node.Spec.Addr, b.Node.Spec.Addr) },
			"": func(a, b *pb.PaginatedResource) int {
				return strings.Compare(a.Node.Metadata.Name, b.Node.Metadata.Name)
			},
		}[strings.TrimSuffix(field, "name")]
		if sorted != nil && !slices.IsSortedFunc(resp.Resources, sorted) {
			t.Errorf("%q is not sorted: %v", field, hostnames(resp.Resources))
		}
	}
	_, err := listUnified(t, cc, &pb.ListUnifiedResourcesRequest{SortBy: &pb.SortBy{Field: "nope"}})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("sort field: %v", err)
	}
	if resp, err := listUnified(t, cc, &pb.ListUnifiedResourcesRequest{Kinds: []string{"app"}}); err != nil || len(resp.Resources) != 0 {
		t.Errorf("other kind: %v, %v", resp, err)
	}
}

func TestFilters(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Nodes = 3 })
	cc := f.auth(f.login(nil))
	all := "node-1 node-2 node-3"
	tests := []struct {
		req  *pb.ListUnifiedResourcesRequest
		want string
	}{
		{&pb.ListUnifiedResourcesRequest{}, all},
		{&pb.ListUnifiedResourcesRequest{Labels: map[string]string{"env": "dev"}}, "node-1 node-3"},
		{&pb.ListUnifiedResourcesRequest{Labels: map[string]string{"env": "dev", "tier": "db"}}, ""},
		{&pb.ListUnifiedResourcesRequest{Labels: map[string]string{"env": "*"}}, ""},
		{&pb.ListUnifiedResourcesRequest{SearchKeywords: []string{"NODE", "prod"}}, "node-2"},
		{&pb.ListUnifiedResourcesRequest{SearchKeywords: []string{"127.0.0.3"}}, "node-3"},
		{&pb.ListUnifiedResourcesRequest{SearchKeywords: []string{f.nodes[1].id[:13]}}, "node-2"},
		{&pb.ListUnifiedResourcesRequest{SearchKeywords: []string{"tunnel"}}, ""},
		{&pb.ListUnifiedResourcesRequest{Labels: map[string]string{"env": "dev"}, SearchKeywords: []string{"3"}, PredicateExpression: `name != "node-1"`}, "node-3"},
	}
	for expr, want := range map[string]string{
		`name == "node-2"`:                                        "node-2",
		`"node-2" == name`:                                        "node-2",
		`labels["env"] == "prod"`:                                 "node-2",
		`labels.env == "dev"`:                                     "node-1 node-3",
		`labels.env == "dev" && name != "node-1"`:                 "node-3",
		`name == "node-1" || labels.tier == "db"`:                 "node-1 node-2",
		`!(name == "node-1")`:                                     "node-2 node-3",
		`!hasPrefix(name, "node-")`:                               "",
		`hasPrefix(resource.spec.hostname, "node-")`:              all,
		`equals(labels["tier"], "web")`:                           "node-1 node-3",
		`search("prod", "node")`:                                  "node-2",
		`exists(labels.nope)`:                                     "",
		`exists(labels.env)`:                                      all,
		`contains(split(labels.env, "e"), "d")`:                   "node-1 node-3",
		`resource.metadata.labels["env"] == "prod"`:               "node-2",
		`resource.metadata.name == "` + f.nodes[0].id + `"`:       "node-1",
		`name == "node-1" && labels.env == "x" || name=="node-3"`: "node-3",
		"name == `node-2`":                                        "node-2",
		"  ":                                                      all,
	} {
		tests = append(tests, struct {
			req  *pb.ListUnifiedResourcesRequest
			want string
		}{&pb.ListUnifiedResourcesRequest{PredicateExpression: expr}, want})
	}
	for _, test := range tests {
		resp, err := listUnified(t, cc, test.req)
		if got := strings.Join(hostnames(resp.Resources), " "); err != nil || got != test.want {
			t.Errorf("%v: %q, want %q; %v", test.req, got, test.want, err)
		}
	}
	for _, expr := range []string{
		"name", `name ==`, `name = "x"`, `nope == "x"`, `labels == "x"`, `name == "x" &`, `(name == "x"`, `name == "x")`, `hasPrefix(name)`,
		`"unterminated`, `labels[env] == "x"`, `name == 'x'`, `1 == 1`, `search()`, `contains(name, "x")`, `!`, `&&`, `name == "x" name`,
		strings.Repeat("(", 3000), strings.Repeat("x", maxPredicate+1), "labels.", `labels["x"`,
	} {
		if _, err := listUnified(t, cc, &pb.ListUnifiedResourcesRequest{PredicateExpression: expr}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%.40s: %v", expr, err)
		}
	}
}

// People see the nodes that a role of theirs reaches with at least one login.
func TestListsAreFilteredByRoles(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Nodes = 3 })
	prod := role{Name: "prod", conditions: conditions{Logins: []string{"deploy"}, NodeLabels: map[string][]string{"env": {"prod"}}}}
	if err := f.state.update(func(tx *stateTx) error { return tx.put(bucketRoles, prod.Name, prod) }); err != nil {
		t.Fatal(err)
	}
	for roles, want := range map[string]string{"prod": "node-2", "auditor": "", "auditor,prod": "node-2", "access": ""} {
		name := "u-" + strings.ReplaceAll(roles, ",", "-")
		en, err := f.AddUser(UserSpec{Name: name, Password: alicePassword, Roles: strings.Split(roles, ",")})
		if err != nil {
			t.Fatal(err)
		}
		f.secret = en.TOTPSecret
		cc := f.auth(f.login(func(m map[string]any) { m["user"] = name }))
		resp, err := listUnified(t, cc, &pb.ListUnifiedResourcesRequest{IncludeLogins: true})
		if got := strings.Join(hostnames(resp.Resources), " "); err != nil || got != want {
			t.Errorf("%s: %q, want %q; %v", roles, got, want, err)
		}
		targets := new(pb.GetSSHTargetsResponse)
		err = cc.Invoke(t.Context(), "/proto.AuthService/GetSSHTargets", &pb.GetSSHTargetsRequest{Host: "node-1", Port: "0"}, targets)
		if err != nil || len(targets.Servers) != 0 {
			t.Errorf("%s: targets %v, %v", roles, targets, err)
		}
	}
}

func TestResolve(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Hostnames = []string{"twin", "twin", "single"} })
	cc := f.auth(f.login(nil))
	targets := new(pb.GetSSHTargetsResponse)
	err := cc.Invoke(t.Context(), "/proto.AuthService/GetSSHTargets", &pb.GetSSHTargetsRequest{Host: "twin", Port: "0"}, targets)
	if err != nil || len(targets.Servers) != 2 || targets.Servers[0].Metadata.Name == targets.Servers[1].Metadata.Name {
		t.Errorf("targets %v, %v", targets, err)
	}
	for _, test := range []struct {
		req  *pb.ResolveSSHTargetRequest
		want string
	}{
		{&pb.ResolveSSHTargetRequest{Host: "single"}, "single"},
		{&pb.ResolveSSHTargetRequest{Host: f.nodes[1].id, Port: "0"}, "twin"},
		{&pb.ResolveSSHTargetRequest{Labels: map[string]string{"env": "prod"}}, "twin"},
		{&pb.ResolveSSHTargetRequest{PredicateExpression: `name == "single"`}, "single"},
		{&pb.ResolveSSHTargetRequest{SearchKeywords: []string{"ing"}}, "single"},
		{&pb.ResolveSSHTargetRequest{Host: "twin"}, textAmbiguous},
		{&pb.ResolveSSHTargetRequest{Host: "nope"}, "no matching hosts"},
		{&pb.ResolveSSHTargetRequest{Labels: map[string]string{"env": "nope"}}, "no matching hosts"},
	} {
		resp := new(pb.ResolveSSHTargetResponse)
		err := cc.Invoke(t.Context(), "/proto.AuthService/ResolveSSHTarget", test.req, resp)
		got := resp.GetServer().GetSpec().GetHostname()
		if err != nil {
			got = status.Convert(err).Message()
			if status.Code(err) != codes.NotFound {
				t.Errorf("%v: %v", test.req, err)
			}
		}
		if got != test.want {
			t.Errorf("%v: %q, want %q", test.req, got, test.want)
		}
	}
	if err := cc.Invoke(t.Context(), "/proto.AuthService/ResolveSSHTarget", new(pb.ResolveSSHTargetRequest), new(pb.ResolveSSHTargetResponse)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no target: %v", err)
	}
}

func TestManyNodes(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Nodes = 600 })
	seen := make(map[string]bool)
	for _, n := range f.nodes {
		seen[n.id], seen[n.addr] = true, true
	}
	if len(seen) != 1200 {
		t.Errorf("%d different IDs and addresses", len(seen))
	}
	l := f.login(nil)
	cc := f.transport(l)
	for _, i := range []int{1, 300, 600} {
		client, err := f.ssh(l, cc, fmt.Sprintf("node-%d", i), "alice")
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
	}
}

func FuzzPredicate(f *testing.F) {
	for _, seed := range []string{`name == "x"`, `labels["a"] != labels.b && !search("x")`, `contains(split(name, ","), "x")`, "((("} {
		f.Add(seed)
	}
	n := &node{id: "id", hostname: "h", addr: "127.0.0.1:3022", labels: map[string]string{"a": "b"}}
	f.Fuzz(func(t *testing.T, expr string) {
		match, err := parsePredicate(expr)
		if err != nil {
			return
		}
		if _, err := match(n); err != nil {
			t.Errorf("%q: %v", expr, err)
		}
	})
}
