package devcluster

import "context"

// action is something that is done with a kind of resource.
type action struct{ verb, kind string }

// openCalls are the calls that need no rule that allows them, and that a rule can deny;
// what they answer depends on the caller's roles. Other calls ask roleSet.may themselves.
func openCalls() map[string]action {
	const auth = "/" + authName + "/"
	return map[string]action{
		auth + "ListUnifiedResources":     {"list", kindNode},
		auth + "ListResources":            {"list", kindNode},
		auth + "GetSSHTargets":            {"list", kindNode},
		auth + "ResolveSSHTarget":         {"list", kindNode},
		auth + "CreateAccessRequestV2":    {"create", "access_request"},
		auth + "CreateAccessRequest":      {"create", "access_request"},
		auth + "ListAccessRequests":       {"list", "access_request"},
		auth + "GetAccessRequestsV2":      {"list", "access_request"},
		auth + "SubmitAccessReview":       {"update", "access_request"},
		auth + "DeleteAccessRequest":      {"delete", "access_request"},
		auth + "WatchEvents":              {"read", "access_request"}, // it tells of nothing else
		auth + "GetActiveSessionTrackers": {"list", "session"},
	}
}

// forbidden is the refusal of an open call that a rule of the caller's roles denies.
func (c *Cluster) forbidden(ctx context.Context, method string) error {
	a, open := openCalls()[method]
	if !open {
		return nil
	}
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return err
	}
	if roles.forbids(a.verb, a.kind) {
		return denied(a.verb, a.kind)
	}
	return nil
}

// mayDial judges at the proxy who may go to an OpenSSH server, which knows nothing of
// roles: somebody who has a login there. Other nodes judge for themselves.
func (c *Cluster) mayDial(ctx context.Context, n *node) error {
	if !n.sshd {
		return nil
	}
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return err
	}
	if len(roles.loginsFor(n.labels)) == 0 {
		return noLogin(caller(ctx).user, n)
	}
	return nil
}

func noLogin(user string, n *node) error {
	return refused("access denied: %s has no login on %s", user, n.hostname)
}
