package devcluster

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// internalLogins is the template in a role's logins that stands for the
// logins trait of the user.
const internalLogins = "{{internal.logins}}"

// judge is one side of a role as it is read for one person: templates are filled in,
// patterns are ready to match.
type judge struct {
	logins            []string
	nodes             labelMatcher
	request, reviewed []matcher
}

func newJudge(c *conditions, traits map[string][]string) judge {
	j := judge{nodes: newLabelMatcher(c.NodeLabels, traits), request: patterns(c.Requestable), reviewed: patterns(c.Reviewable)}
	for _, l := range c.Logins {
		for _, login := range expand(l, traits) {
			// Traits may come from elsewhere: what is no login name is none. Only a role
			// itself, where it denies, may say that it means all.
			if (l == "*" || checkLogin(login) == nil) && !slices.Contains(j.logins, login) {
				j.logins = append(j.logins, login)
			}
		}
	}
	return j
}

func (j judge) requests(role string) bool { return anyMatch(j.request, role) }
func (j judge) reviews(role string) bool  { return anyMatch(j.reviewed, role) }

// matcher reports whether a pattern means a value.
type matcher func(value string) bool

func anyMatch(ms []matcher, value string) bool {
	return slices.ContainsFunc(ms, func(m matcher) bool { return m(value) })
}

func exactly(want string) matcher { return func(value string) bool { return value == want } }

// newMatcher reads a pattern: ^…$ is a regular expression for the whole value, and in
// everything else each * stands for any text.
func newMatcher(pattern string) (matcher, error) {
	switch {
	case len(pattern) > 1 && pattern[0] == '^' && pattern[len(pattern)-1] == '$':
		// The group keeps alternatives within the anchors, once it is sure that it ends where
		// it seems to.
		_, err := regexp.Compile(pattern)
		var re *regexp.Regexp
		if err == nil {
			re, err = regexp.Compile(`\A(?:` + pattern[1:len(pattern)-1] + `)\z`)
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no regular expression: %w", pattern, err)
		}
		return re.MatchString, nil
	case strings.Contains(pattern, "*"):
		return glob(pattern), nil
	}
	return exactly(pattern), nil
}

// glob matches in one pass: each part is taken where it comes first.
func glob(pattern string) matcher {
	parts := strings.Split(pattern, "*")
	first, middle, last := parts[0], parts[1:len(parts)-1], parts[len(parts)-1]
	return func(value string) bool {
		rest, ok := strings.CutPrefix(value, first)
		if !ok {
			return false
		}
		if rest, ok = strings.CutSuffix(rest, last); !ok {
			return false
		}
		for _, part := range middle {
			if _, rest, ok = strings.Cut(rest, part); !ok {
				return false
			}
		}
		return true
	}
}

// patterns were checked when the role was made; one that cannot be read matches nothing.
func patterns(list []string) []matcher {
	var ms []matcher
	for _, p := range list {
		if m, err := newMatcher(p); err == nil {
			ms = append(ms, m)
		}
	}
	return ms
}

// labelMatcher is what a role says about the labels of nodes.
type labelMatcher struct {
	all  bool
	keys map[string][]matcher
}

func newLabelMatcher(want, traits map[string][]string) labelMatcher {
	m := labelMatcher{all: slices.Contains(want["*"], "*"), keys: make(map[string][]matcher)}
	for key, values := range want {
		m.keys[key] = nil
		for _, v := range values {
			if !hasTemplate(v) {
				m.keys[key] = append(m.keys[key], patterns([]string{v})...)
				continue
			}
			// A trait is a value and never a pattern: who has the trait * has not all.
			for _, value := range expand(v, traits) {
				m.keys[key] = append(m.keys[key], exactly(value))
			}
		}
	}
	return m
}

// match reports whether all wanted labels are there; "*" stands for any key with any
// value, or for any value of a key. No wanted label matches no node.
func (m labelMatcher) match(have map[string]string) bool {
	if m.all {
		return true
	}
	for key, values := range m.keys {
		got, ok := have[key]
		if !ok || !anyMatch(values, got) {
			return false
		}
	}
	return len(m.keys) > 0
}

// hasTemplate reports whether a trait is to be filled in.
func hasTemplate(s string) bool { return strings.Contains(s, "{{") }

// traitText is a text with a trait in it: {{internal.NAME}} or {{external.NAME}}.
type traitText struct{ before, trait, after string }

// internalTraits are the traits that a cluster itself gives to users; the others come
// from who vouches for them.
func internalTraits() []string {
	return []string{
		"aws_role_arns", "azure_identities", "db_names", "db_roles", "db_users", "gcp_service_accounts", "host_user_gid",
		"host_user_uid", "kubernetes_groups", "kubernetes_users", "logins", "mcp_tools", "windows_logins",
	}
}

// parseTemplate reads a text with one template in it.
func parseTemplate(s string) (traitText, error) {
	before, rest, _ := strings.Cut(s, "{{")
	inner, after, ok := strings.Cut(rest, "}}")
	source, name, dotted := strings.Cut(strings.TrimSpace(inner), ".")
	switch {
	case !ok || hasTemplate(inner) || strings.Contains(after, "{{") || strings.Contains(before+after, "}}"):
		return traitText{}, fmt.Errorf("%q is not one template, {{internal.NAME}} or {{external.NAME}}", s)
	case !dotted || source != "internal" && source != "external" || !isTraitName(name):
		return traitText{}, fmt.Errorf("%q: the dev cluster knows the templates {{internal.NAME}} and {{external.NAME}}, and no functions", s)
	case source == "internal" && !slices.Contains(internalTraits(), name):
		return traitText{}, fmt.Errorf("%q: no internal trait has that name, there are %s", s, strings.Join(internalTraits(), ", "))
	}
	return traitText{before, name, after}, nil
}

func isTraitName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_/:.", r)
	})
}

// expand fills in the trait, with one text for each of its values; none if the person
// does not have it.
func expand(s string, traits map[string][]string) []string {
	if !hasTemplate(s) {
		return []string{s}
	}
	t, err := parseTemplate(s)
	if err != nil {
		return nil // it was checked when the role was made
	}
	var out []string
	for _, value := range traits[t.trait] {
		if value != "" {
			out = append(out, t.before+value+t.after)
		}
	}
	return out
}
