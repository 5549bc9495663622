package devcluster

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

const (
	kindNode = "node"
	// maxPage is how much of a list is sent at once, whatever is asked for.
	maxPage = 1000
	// announceTTL is how far ahead a node's registration expires.
	announceTTL = 10 * time.Minute
)

// nodeFilter is the part that all list requests share; the conditions are ANDed.
type nodeFilter struct {
	labels    map[string]string
	keywords  []string
	predicate string
}

// visibleNode is a node with the logins that the caller has there.
type visibleNode struct {
	*node
	logins []string
}

// visible lists the nodes that the caller's roles reach and the filter keeps.
func (c *Cluster) visible(ctx context.Context, f nodeFilter) ([]visibleNode, error) {
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	match, err := parsePredicate(f.predicate)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "failed to parse predicate expression: %v", err)
	}
	nodes, err := c.allNodes()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	var out []visibleNode
	for _, n := range nodes {
		logins := roles.loginsFor(n.labels)
		if len(logins) == 0 || !n.hasLabels(f.labels) || !n.hasKeywords(f.keywords) {
			continue
		}
		ok, err := match(n)
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "predicate expression: %v", err)
		}
		if ok {
			out = append(out, visibleNode{n, logins})
		}
	}
	return out, nil
}

func (n *node) hasLabels(want map[string]string) bool {
	for key, value := range want {
		if got, ok := n.labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// hasKeywords looks for words in the names and labels.
func (n *node) hasKeywords(words []string) bool {
	fields := []string{n.id, n.hostname, n.addr}
	for key, value := range n.labels {
		fields = append(fields, key, value)
	}
	return hasWords(fields, words)
}

// hasWords reports whether each word is somewhere in the texts, in any case.
func hasWords(texts, words []string) bool {
	all := strings.ToLower(strings.Join(texts, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(all, strings.ToLower(word)) })
}

func (c *Cluster) serverMessage(n *node) *pb.Server {
	subKind := ""
	if n.sshd {
		subKind = subKindSSHD
	}
	return &pb.Server{
		Kind: kindNode, SubKind: subKind, Version: "v2",
		Metadata: &pb.Metadata{
			Name: n.id, Namespace: "default", Labels: n.labels,
			Expires: timestamppb.New(c.now().Add(announceTTL)), Revision: revision(kindNode, n.id),
		},
		Spec: &pb.ServerSpec{
			Addr: n.addr, Hostname: n.hostname, Version: c.version(),
			Rotation: &pb.Rotation{
				Started: unsetTime(), LastRotated: unsetTime(),
				Schedule: &pb.RotationSchedule{UpdateClients: unsetTime(), UpdateServers: unsetTime(), Standby: unsetTime()},
			},
		},
	}
}

// pageRequest is how much of a list to send, in which order.
type pageRequest struct {
	start string
	limit int32
	desc  bool
	key   func(*node) string // unique
}

// page sorts the nodes and cuts out one page; next is empty at the end.
func page(nodes []visibleNode, req pageRequest) (part []visibleNode, next string) {
	order := func(a, b string) int {
		if req.desc {
			return cmp.Compare(b, a)
		}
		return cmp.Compare(a, b)
	}
	slices.SortFunc(nodes, func(a, b visibleNode) int { return order(req.key(a.node), req.key(b.node)) })
	if req.start != "" {
		from, _ := slices.BinarySearchFunc(nodes, req.start, func(n visibleNode, start string) int {
			return order(req.key(n.node), start)
		})
		nodes = nodes[from:]
	}
	limit := pageSize(req.limit)
	if len(nodes) <= limit {
		return nodes, ""
	}
	return nodes[:limit], req.key(nodes[limit].node)
}

// pageSize is how long a page of a list is if one of that length is asked for, or none.
func pageSize(asked int32) int {
	if asked <= 0 || asked > maxPage {
		return maxPage
	}
	return int(asked)
}

// byHostname sorts as lists of all kinds do: by name in lower case, then ID.
func byHostname(n *node) string { return strings.ToLower(n.hostname) + "/" + n.id }

func (c *Cluster) resources(nodes []visibleNode, withLogins bool) []*pb.PaginatedResource {
	var out []*pb.PaginatedResource
	for _, n := range nodes {
		r := &pb.PaginatedResource{Node: c.serverMessage(n.node)}
		if withLogins {
			r.Logins = n.logins
		}
		out = append(out, r)
	}
	return out
}

func (c *Cluster) rpcListUnified(ctx context.Context, req *pb.ListUnifiedResourcesRequest) (*pb.ListUnifiedResourcesResponse, error) {
	switch req.GetSortBy().GetField() {
	case "", "name", "kind": // there is one kind
	default:
		return nil, status.Errorf(codes.Unimplemented, "sorting by %q is not supported for unified resources", req.SortBy.Field)
	}
	nodes, err := c.visible(ctx, nodeFilter{req.Labels, req.SearchKeywords, req.PredicateExpression})
	if err != nil {
		return nil, err
	}
	if len(req.Kinds) > 0 && !slices.Contains(req.Kinds, kindNode) || req.PinnedOnly {
		nodes = nil
	}
	nodes, next := page(nodes, pageRequest{start: req.StartKey, limit: req.Limit, desc: req.GetSortBy().GetIsDesc(), key: byHostname})
	return &pb.ListUnifiedResourcesResponse{Resources: c.resources(nodes, req.IncludeLogins), NextKey: next}, nil
}

func (c *Cluster) rpcListResources(ctx context.Context, req *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
	if req.ResourceType == "" {
		return nil, status.Error(codes.InvalidArgument, "missing parameter resource type")
	}
	var key func(*node) string
	switch req.GetSortBy().GetField() {
	case "", "name":
		key = func(n *node) string { return n.id }
	case "hostname":
		key = byHostname
	case "addr":
		key = func(n *node) string { return n.addr + "/" + n.id }
	default:
		return nil, status.Errorf(codes.Unimplemented, "sorting by field %q for resource %q is not supported", req.SortBy.Field, req.ResourceType)
	}
	nodes, err := c.visible(ctx, nodeFilter{req.Labels, req.SearchKeywords, req.PredicateExpression})
	if err != nil {
		return nil, err
	}
	if req.ResourceType != kindNode {
		nodes = nil
	}
	resp := new(pb.ListResourcesResponse)
	if req.NeedTotalCount {
		resp.TotalCount = int32(len(nodes))
	}
	nodes, resp.NextKey = page(nodes, pageRequest{start: req.StartKey, limit: req.Limit, desc: req.GetSortBy().GetIsDesc(), key: key})
	resp.Resources = c.resources(nodes, req.IncludeLogins)
	return resp, nil
}

// targets matches like the transport does, among the nodes the caller reaches.
func (c *Cluster) targets(ctx context.Context, host, port string, f nodeFilter) ([]*node, error) {
	seen, err := c.visible(ctx, f)
	if err != nil {
		return nil, err
	}
	nodes := make([]*node, len(seen))
	for i, n := range seen {
		nodes[i] = n.node
	}
	if host == "" {
		return nodes, nil
	}
	return matchNodes(nodes, host, port), nil
}

func (c *Cluster) rpcSSHTargets(ctx context.Context, req *pb.GetSSHTargetsRequest) (*pb.GetSSHTargetsResponse, error) {
	if req.Host == "" {
		return nil, status.Error(codes.InvalidArgument, "missing parameter host")
	}
	nodes, err := c.targets(ctx, req.Host, req.Port, nodeFilter{})
	if err != nil {
		return nil, err
	}
	resp := new(pb.GetSSHTargetsResponse)
	for _, n := range nodes {
		resp.Servers = append(resp.Servers, c.serverMessage(n))
	}
	return resp, nil
}

func (c *Cluster) rpcResolveSSHTarget(ctx context.Context, req *pb.ResolveSSHTargetRequest) (*pb.ResolveSSHTargetResponse, error) {
	f := nodeFilter{req.Labels, req.SearchKeywords, req.PredicateExpression}
	if req.Host == "" && len(f.labels) == 0 && len(f.keywords) == 0 && f.predicate == "" {
		return nil, status.Error(codes.InvalidArgument, "request does not contain any parameters")
	}
	nodes, err := c.targets(ctx, req.Host, req.Port, f)
	switch {
	case err != nil:
		return nil, err
	case len(nodes) == 0:
		return nil, status.Error(codes.NotFound, "no matching hosts")
	case len(nodes) > 1:
		return nil, status.Error(codes.NotFound, textAmbiguous)
	}
	return &pb.ResolveSSHTargetResponse{Server: c.serverMessage(nodes[0])}, nil
}
