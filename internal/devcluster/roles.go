package devcluster

import (
	"slices"
	"time"
)

// internalLogins is the template in a role's logins that stands for the
// logins trait of the user.
const internalLogins = "{{internal.logins}}"

// role is what the dev cluster knows of a role.
type role struct {
	Name           string              `json:"name"`
	Logins         []string            `json:"logins,omitempty"`
	NodeLabels     map[string][]string `json:"node_labels,omitempty"`
	MaxSessionTTL  time.Duration       `json:"max_session_ttl"`
	ForwardAgent   bool                `json:"forward_agent,omitempty"`
	PortForwarding bool                `json:"port_forwarding,omitempty"`
	PermitX11      bool                `json:"permit_x11,omitempty"`
	NoFileCopy     bool                `json:"no_file_copy,omitempty"`
	Rules          []rule              `json:"rules,omitempty"`
	// SessionMFA: sessions on the nodes that the labels name take a second factor.
	SessionMFA bool `json:"require_session_mfa,omitempty"`

	// Access requests: the roles that may be asked for, what login makes of it, what
	// people are told to give as the reason, and whether requests may be reviewed.
	Requestable   []string `json:"requestable,omitempty"`
	RequestAccess string   `json:"request_access,omitempty"`
	RequestPrompt string   `json:"request_prompt,omitempty"`
	Reviews       bool     `json:"reviews,omitempty"`
}

type rule struct {
	Resources []string `json:"resources"`
	Verbs     []string `json:"verbs"`
}

// presetRoles are those of every new cluster: access reaches the nodes, editor
// changes settings, auditor reads; x11 adds that displays may be forwarded, which access
// does not allow, as in other clusters.
func presetRoles() []role {
	const ttl = 30 * time.Hour
	return []role{
		{
			Name:           "access",
			Logins:         []string{internalLogins},
			NodeLabels:     map[string][]string{"*": {"*"}},
			MaxSessionTTL:  ttl,
			ForwardAgent:   true,
			PortForwarding: true,
		},
		{
			Name:           "editor",
			MaxSessionTTL:  ttl,
			ForwardAgent:   true,
			PortForwarding: true,
			Rules: []rule{{
				Resources: []string{"user", "role", "node"},
				Verbs:     []string{"list", "create", "read", "update", "delete"},
			}},
		},
		{
			Name:          "auditor",
			MaxSessionTTL: ttl,
			Rules: []rule{{
				Resources: []string{"session", "event"},
				Verbs:     []string{"list", "read"},
			}},
		},
		{Name: "x11", MaxSessionTTL: ttl, PermitX11: true},
		{
			Name:          "no-copy", // takes scp and sftp away from who has it
			MaxSessionTTL: ttl,
			NoFileCopy:    true,
		},
	}
}

// roleSet is the roles a person has, and the logins trait they are read with.
type roleSet struct {
	roles  []role
	logins []string
}

// roleSet reads the named roles; names that no longer exist grant nothing.
func (c *Cluster) roleSet(names, logins []string) (roleSet, error) {
	rs := roleSet{logins: logins}
	for _, name := range names {
		var r role
		found, err := c.state.get(bucketRoles, name, &r)
		if err != nil {
			return roleSet{}, err
		}
		if found {
			rs.roles = append(rs.roles, r)
		}
	}
	return rs, nil
}

// expand is the logins that one role grants.
func (rs roleSet) expand(r role) []string {
	var out []string
	for _, l := range r.Logins {
		if l == internalLogins {
			out = append(out, rs.logins...)
		} else {
			out = append(out, l)
		}
	}
	return out
}

// principals is every login that some role grants, in the order of the roles.
func (rs roleSet) principals() []string {
	var out []string
	for _, r := range rs.roles {
		for _, l := range rs.expand(r) {
			if !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}

// loginsFor is the logins that the roles grant on a node with these labels;
// none means that the node is out of reach.
func (rs roleSet) loginsFor(labels map[string]string) []string {
	var out []string
	for _, r := range rs.roles {
		if !labelsMatch(r.NodeLabels, labels) {
			continue
		}
		for _, l := range rs.expand(r) {
			if !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}

// labelsMatch reports whether all wanted labels are there; "*" stands for any
// key with any value, or for any value of a key. No wanted label matches no node.
func labelsMatch(want map[string][]string, have map[string]string) bool {
	if slices.Contains(want["*"], "*") {
		return true
	}
	for key, values := range want {
		got, ok := have[key]
		if !ok || !slices.Contains(values, "*") && !slices.Contains(values, got) {
			return false
		}
	}
	return len(want) > 0
}

// may reports whether some rule allows the verb on the kind of resource.
func (rs roleSet) may(verb, resource string) bool {
	for _, r := range rs.roles {
		for _, ru := range r.Rules {
			if slices.Contains(ru.Resources, resource) && slices.Contains(ru.Verbs, verb) {
				return true
			}
		}
	}
	return false
}

// sessionTTL is what a login of the given wanted length gets: no longer than
// the strictest role allows, no shorter than a minute.
func (rs roleSet) sessionTTL(want time.Duration) time.Duration {
	if want <= 0 {
		want = defaultSessionTTL
	}
	for _, r := range rs.roles {
		if r.MaxSessionTTL > 0 {
			want = min(want, r.MaxSessionTTL)
		}
	}
	return max(want, time.Minute)
}

func (rs roleSet) any(f func(role) bool) bool { return slices.ContainsFunc(rs.roles, f) }
