package devcluster

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// roleMethods are the calls about many roles; GetRoles is what 14.x has instead of
// ListRoles.
func (c *Cluster) roleMethods() []grpc.MethodDesc {
	return []grpc.MethodDesc{
		unary(authName, "ListRoles", c.rpcListRoles),
		unary(authName, "GetRoles", c.rpcRoles14),
	}
}

func (c *Cluster) roleStreams() []grpc.StreamDesc {
	return []grpc.StreamDesc{
		{StreamName: "GetCurrentUserRoles", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return c.streamCurrentRoles(s) }},
	}
}

// listRoles are all roles, by name, for those who may list and read them.
func (c *Cluster) listRoles(ctx context.Context) ([]role, error) {
	mine, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	for _, verb := range []string{"list", "read"} {
		if !mine.may(verb, "role") {
			return nil, denied(verb, "role")
		}
	}
	return c.roles()
}

// rpcListRoles answers with a page of roles; the key of the next one is the name that it
// begins with.
func (c *Cluster) rpcListRoles(ctx context.Context, req *pb.ListRolesRequest) (*pb.ListRolesResponse, error) {
	all, err := c.listRoles(ctx)
	if err != nil {
		return nil, err
	}
	words := req.GetFilter().GetSearchKeywords()
	all = slices.DeleteFunc(all, func(r role) bool {
		return r.Name < req.StartKey || !hasWords([]string{r.Name, r.Description}, words)
	})
	limit := pageSize(req.Limit)
	page := new(pb.ListRolesResponse)
	if len(all) > limit {
		page.NextKey, all = all[limit].Name, all[:limit]
	}
	for _, r := range all {
		page.Roles = append(page.Roles, r.message())
	}
	return page, nil
}

func (c *Cluster) rpcRoles14(ctx context.Context, _ *pb.Empty) (*pb.ListRolesResponse, error) {
	all, err := c.listRoles(ctx)
	answer := new(pb.ListRolesResponse)
	for _, r := range all {
		answer.Roles = append(answer.Roles, r.message())
	}
	return answer, err
}

// streamCurrentRoles sends the roles of the caller's certificate, which takes no rights.
func (c *Cluster) streamCurrentRoles(stream grpc.ServerStream) error {
	if err := stream.RecvMsg(new(pb.Empty)); err != nil {
		return err
	}
	mine, err := c.callerRoles(stream.Context())
	for _, r := range mine.roles {
		if err := stream.SendMsg(r.message()); err != nil {
			return err
		}
	}
	return err
}
