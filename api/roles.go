package api

import (
	"context"
	"fmt"
	"iter"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/rolewire"
)

const (
	methodGetUser          = "/teleport.users.v1.UsersService/GetUser"
	methodCurrentUser14    = "/proto.AuthService/GetCurrentUser"
	methodCurrentUserRoles = "/proto.AuthService/GetCurrentUserRoles"
	methodGetRole          = "/proto.AuthService/GetRole"
	methodListRoles        = "/proto.AuthService/ListRoles"
	methodGetRoles14       = "/proto.AuthService/GetRoles"
)

// CurrentUser returns the user that the credentials are for, as the cluster knows them
// now: certificates may still be of other roles and traits.
//
// Errors: *Error; and one for an answer without a user.
func (c *Client) CurrentUser(ctx context.Context) (*access.User, error) {
	var reply rolewire.GetUserResponse
	err := c.call(ctx, methodGetUser, &rolewire.GetUserRequest{CurrentUser: true}, &reply)
	if isUnimplemented(err) {
		reply.User = new(rolewire.User)
		err = c.call(ctx, methodCurrentUser14, &wire.Empty{}, reply.User)
	}
	if err != nil {
		return nil, err
	}
	if reply.User == nil || reply.User.Metadata.Name == "" {
		return nil, fmt.Errorf("%s has not said which user it was asked by", c.addr)
	}
	s := &reply.User.Spec
	return &access.User{
		Name: reply.User.Metadata.Name, Roles: s.Roles, Traits: lists(&s.Traits), Expires: s.Expires.Time(),
		Locked: s.Status.IsLocked, LockedUntil: s.Status.LockExpires.Time(), CreatedBy: s.CreatedBy.User.Name,
	}, nil
}

// Role returns the role of that name, which takes a role with a rule that allows read on
// role. Some clusters let users read the roles they have without; CurrentUserRoles works
// with all.
//
// Errors: *Error, which is ErrNotFound or ErrAccessDenied; and one for an answer
// with another role.
func (c *Client) Role(ctx context.Context, name string) (*access.Role, error) {
	var reply rolewire.Role
	if err := c.call(ctx, methodGetRole, &rolewire.GetRoleRequest{Name: name}, &reply); err != nil {
		return nil, err
	}
	if reply.Metadata.Name != name {
		return nil, fmt.Errorf("%s answers with another role than was asked for", c.addr)
	}
	return newRole(&reply), nil
}

// Roles lists the cluster's roles, which takes a role with a rule that allows list and
// read on role. There may be 20,000 of them, in 64 MiB; the first error ends the list.
func (c *Client) Roles(ctx context.Context) iter.Seq2[*access.Role, error] {
	return func(yield func(*access.Role, error) bool) {
		p := pages{client: c, what: "roles", most: maxItems}
		p.fetch = func(ctx context.Context, limit int32, key string) (int, string, error) {
			var reply rolewire.ListRolesResponse
			err := p.page(ctx, methodListRoles, &rolewire.ListRolesRequest{Limit: limit, StartKey: key}, &reply)
			if isUnimplemented(err) {
				err = p.page(ctx, methodGetRoles14, &wire.Empty{}, &reply)
			}
			if err != nil {
				return 0, "", err
			}
			for _, r := range reply.Roles {
				if !yield(newRole(r), nil) {
					return 0, "", nil
				}
			}
			return len(reply.Roles), reply.NextKey, nil
		}
		if err := p.each(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// CurrentUserRoles returns the roles of the user that the credentials are for, with those
// of assumed access requests. It takes no rights. Errors: *Error.
func (c *Client) CurrentUserRoles(ctx context.Context) ([]*access.Role, error) {
	var all []*access.Role
	err := c.streamed(ctx, methodCurrentUserRoles, &wire.Empty{}, func(data []byte, memory *int) error {
		var r rolewire.Role
		err := wire.UnmarshalWithin(data, &r, memory)
		all = append(all, newRole(&r))
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func newRole(r *rolewire.Role) *access.Role {
	o := &r.Spec.Options
	allowed := func(v *rolewire.BoolValue) bool { return v == nil || v.Value }
	return &access.Role{
		Name: r.Metadata.Name, Description: r.Metadata.Description, Labels: r.Metadata.Labels, Version: r.Version,
		Options: access.Options{
			MaxSessionTTL: duration(o.MaxSessionTTL), IdleTimeout: duration(o.ClientIdleTimeout),
			ForwardAgent: o.ForwardAgent, PortForwarding: allowed(o.PortForwarding), FileCopy: allowed(o.SSHFileCopy), X11Forwarding: o.PermitX11Forwarding,
			MaxConnections: o.MaxConnections, MaxSessions: o.MaxSessions, SessionMFA: o.RequireMFAType != 0,
			RequestAccess: o.RequestAccess, RequestPrompt: o.RequestPrompt,
		},
		Allow: newConditions(&r.Spec.Allow), Deny: newConditions(&r.Spec.Deny),
	}
}

func newConditions(m *rolewire.RoleConditions) access.Conditions {
	conditions := access.Conditions{Logins: m.Logins, NodeLabels: lists(&m.NodeLabels), Expression: m.NodeLabelsExpression}
	for _, r := range m.Rules {
		conditions.Rules = append(conditions.Rules, access.Rule{Resources: r.Resources, Verbs: r.Verbs, Where: r.Where})
	}
	if r := m.Request; r != nil {
		conditions.Request = access.Requestable{
			Roles: r.Roles, SearchAsRoles: r.SearchAsRoles, SuggestedReviewers: r.SuggestedReviewers, MaxDuration: duration(r.MaxDuration),
		}
	}
	return conditions
}
