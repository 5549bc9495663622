package devcluster

import (
	"encoding/json"
	"slices"
	"time"
)

// roleVersion is that of roles that do not say which.
const roleVersion = "v7"

// defaultRoleTTL is how long logins last where a role does not say.
const defaultRoleTTL = 30 * time.Hour

// role is what the dev cluster knows of a role. Its conditions are what it allows; deny
// wins over what any role allows. The names in the state are those of the first version:
// directories outlive programs.
type role struct {
	Name           string            `json:"name"`
	Version        string            `json:"version,omitempty"`
	Description    string            `json:"description,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Expires        time.Time         `json:"expires,omitzero"` // it grants and denies nothing from then on
	MaxSessionTTL  time.Duration     `json:"max_session_ttl"`
	ForwardAgent   bool              `json:"forward_agent,omitempty"`
	PortForwarding bool              `json:"port_forwarding,omitempty"`
	PermitX11      bool              `json:"permit_x11,omitempty"`
	NoFileCopy     bool              `json:"no_file_copy,omitempty"`
	// SessionMFA: sessions on the nodes that the labels name take a second factor.
	SessionMFA bool `json:"require_session_mfa,omitempty"`
	// RequestAccess is what login makes of access requests, RequestPrompt what people
	// are told to give as the reason.
	RequestAccess string `json:"request_access,omitempty"`
	RequestPrompt string `json:"request_prompt,omitempty"`

	conditions
	Deny conditions `json:"deny,omitzero"`

	allowed, denied judge // made of the conditions by Cluster.roleSet
}

// conditions are one side of a role.
type conditions struct {
	Logins     []string            `json:"logins,omitempty"`
	NodeLabels map[string][]string `json:"node_labels,omitempty"`
	Rules      []rule              `json:"rules,omitempty"`

	// Access requests: the roles that may be asked for and on which terms, and those for
	// which requests may be reviewed.
	Requestable []string     `json:"requestable,omitempty"`
	Terms       requestTerms `json:"request_terms,omitzero"`
	Reviewable  []string     `json:"reviewable,omitempty"`
}

// requestTerms are the terms of access requests.
type requestTerms struct {
	Thresholds  []threshold   `json:"thresholds,omitempty"`
	Reviewers   []string      `json:"suggested_reviewers,omitempty"`
	MaxDuration time.Duration `json:"max_duration,omitempty"`
	NeedReason  bool          `json:"need_reason,omitempty"`
}

// What a role says about the reason of requests.
const (
	reasonRequired = "required"
	reasonOptional = "optional"
)

// threshold is how many reviews decide: one, whatever is said.
type threshold struct {
	Name    string `json:"name,omitempty"`
	Approve int    `json:"approve,omitempty"`
	Deny    int    `json:"deny,omitempty"`
}

type rule struct {
	Resources []string `json:"resources"`
	Verbs     []string `json:"verbs"`
}

// UnmarshalJSON reads a role at rest. The first version knew reviewers of everything and
// no others.
func (r *role) UnmarshalJSON(raw []byte) error {
	type plain role
	old := struct {
		*plain
		Reviews bool `json:"reviews"`
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(raw, &old); err != nil {
		return err
	}
	if old.Reviews && len(r.Reviewable) == 0 {
		r.Reviewable = []string{"*"}
	}
	return nil
}

// presetRoles are those of every new cluster: access reaches the nodes, editor
// changes settings, auditor reads; x11 adds that displays may be forwarded, which access
// does not allow, as in other clusters.
func presetRoles() []role {
	const ttl = defaultRoleTTL
	return []role{
		{
			Name:           "access",
			conditions:     conditions{Logins: []string{internalLogins}, NodeLabels: map[string][]string{"*": {"*"}}},
			MaxSessionTTL:  ttl,
			ForwardAgent:   true,
			PortForwarding: true,
		},
		{
			Name:           "editor",
			MaxSessionTTL:  ttl,
			ForwardAgent:   true,
			PortForwarding: true,
			conditions: conditions{Rules: []rule{{
				Resources: []string{"user", "role", "node"},
				Verbs:     []string{"list", "create", "read", "update", "delete"},
			}}},
		},
		{
			Name:          "auditor",
			MaxSessionTTL: ttl,
			conditions: conditions{Rules: []rule{{
				Resources: []string{"session", "event"},
				Verbs:     []string{"list", "read"},
			}}},
		},
		{Name: "x11", MaxSessionTTL: ttl, PermitX11: true},
		{
			Name:          "no-copy", // takes scp and sftp away from who has it
			MaxSessionTTL: ttl,
			NoFileCopy:    true,
		},
	}
}

// roleSet is the roles a person has, read with the person's traits: the one place where
// it is decided what they may do.
type roleSet struct {
	roles []role
	known []string // all roles there are, sorted; only of those who may ask for some
}

// roleSet reads the named roles; those that no longer exist grant and deny nothing.
func (r *registry) roleSet(names []string, traits map[string][]string) (roleSet, error) {
	var rs roleSet
	for _, name := range names {
		ro, found, err := r.role(name)
		if err != nil {
			return roleSet{}, err
		}
		if !found {
			continue
		}
		ro.allowed, ro.denied = newJudge(&ro.conditions, traits), newJudge(&ro.Deny, traits)
		rs.roles = append(rs.roles, ro)
	}
	if !rs.any(func(r role) bool { return len(r.Requestable) > 0 }) {
		return rs, nil
	}
	all, err := r.roles()
	for _, ro := range all {
		rs.known = append(rs.known, ro.Name)
	}
	return rs, err
}

// role reads one role. One that has expired is not found.
func (r *registry) role(name string) (ro role, found bool, err error) {
	found, err = r.state.get(bucketRoles, name, &ro)
	if err != nil || !found || ro.over(r.now()) {
		return role{}, false, err
	}
	return ro, true, nil
}

// roles are all roles, by name, without those that have expired.
func (r *registry) roles() (all []role, err error) {
	err = r.state.view(func(tx *stateTx) error {
		all, err = r.rolesIn(tx)
		return err
	})
	return all, err
}

func (r *registry) rolesIn(tx *stateTx) (all []role, err error) {
	err = tx.each(bucketRoles, func(_ string, raw []byte) error {
		var ro role
		if err := json.Unmarshal(raw, &ro); err != nil || ro.over(r.now()) {
			return err
		}
		all = append(all, ro)
		return nil
	})
	return all, err
}

func (r *role) over(now time.Time) bool { return !r.Expires.IsZero() && !r.Expires.After(now) }

// principals is every login that some role grants and none denies, in the order of the
// roles.
func (rs roleSet) principals() []string {
	return rs.logins(func(role) bool { return true })
}

// loginsFor is the logins that the roles grant on a node with these labels;
// none means that the node is out of reach.
func (rs roleSet) loginsFor(labels map[string]string) []string {
	if rs.any(func(r role) bool { return r.denied.nodes.match(labels) }) {
		return nil
	}
	return rs.logins(func(r role) bool { return r.allowed.nodes.match(labels) })
}

// logins of the roles that f picks, without what any role denies.
func (rs roleSet) logins(f func(role) bool) []string {
	var out []string
	for _, r := range rs.roles {
		if !f(r) {
			continue
		}
		for _, l := range r.allowed.logins {
			denied := rs.any(func(r role) bool { return slices.Contains(r.denied.logins, l) || slices.Contains(r.denied.logins, "*") })
			if !denied && l != "*" && !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}

// may reports whether some rule allows the verb on the kind of resource, and none
// denies it.
func (rs roleSet) may(verb, kind string) bool {
	return !rs.forbids(verb, kind) && rs.any(func(r role) bool { return r.conditions.rule(verb, kind) })
}

// forbids reports whether some rule denies the verb on the kind. It is enough to ask that
// where no rule has to allow it, as for a list of nodes.
func (rs roleSet) forbids(verb, kind string) bool {
	return rs.any(func(r role) bool { return r.Deny.rule(verb, kind) })
}

// rule reports whether some rule is about the verb on the kind.
func (c *conditions) rule(verb, kind string) bool {
	named := func(list []string, name string) bool {
		return slices.Contains(list, name) || slices.Contains(list, "*")
	}
	return slices.ContainsFunc(c.Rules, func(ru rule) bool { return named(ru.Resources, kind) && named(ru.Verbs, verb) })
}

// mayRequest reports whether the role may be asked for: one that there is, that is not
// held already, and that some role allows and none denies.
func (rs roleSet) mayRequest(name string) bool {
	return slices.Contains(rs.known, name) &&
		!rs.any(func(r role) bool { return r.Name == name || r.denied.requests(name) }) &&
		rs.any(func(r role) bool { return r.allowed.requests(name) })
}

// requestable are the roles that somebody may ask for and does not have.
func (rs roleSet) requestable() []string {
	return slices.DeleteFunc(slices.Clone(rs.known), func(name string) bool { return !rs.mayRequest(name) })
}

// mayReview reports whether requests for the role may be reviewed.
func (rs roleSet) mayReview(name string) bool {
	return !rs.any(func(r role) bool { return r.denied.reviews(name) }) && rs.any(func(r role) bool { return r.allowed.reviews(name) })
}

// mayReviewAll reports whether a request for these roles may be reviewed.
func (rs roleSet) mayReviewAll(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !rs.mayReview(name) })
}

// needsReason reports whether a request for the roles has to say why: all of those that
// allow one of them are asked.
func (rs roleSet) needsReason(names []string) bool {
	return rs.any(func(r role) bool {
		return r.RequestAccess == accessReason || r.Terms.NeedReason && slices.ContainsFunc(names, r.allowed.requests)
	})
}

// suggestedReviewers are whom the roles name for requests.
func (rs roleSet) suggestedReviewers() []string {
	var out []string
	for _, r := range rs.roles {
		for _, name := range r.Terms.Reviewers {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// requestDuration is how long access by a request for the roles lasts at most: the
// shortest that a role says which allows one of them, or requestTTL.
func (rs roleSet) requestDuration(names []string) time.Duration {
	longest := requestTTL
	for _, r := range rs.roles {
		if r.Terms.MaxDuration > 0 && slices.ContainsFunc(names, r.allowed.requests) {
			longest = min(longest, r.Terms.MaxDuration)
		}
	}
	return longest
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
