package devcluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxRoleTTL bounds how long a role lets logins last: 100 years.
const maxRoleTTL = 100 * 365 * 24 * time.Hour

// parseRoles reads the roles of a file: YAML as other clusters have it, or JSON, one
// document for each role. Nothing is passed over: a field that is unknown, or that the
// dev cluster would not act on, is an error that names it and its line.
func parseRoles(raw []byte) ([]role, error) {
	docs, err := readDocuments(raw)
	if err != nil {
		return nil, err
	}
	var all []role
	for _, doc := range docs {
		r, err := parseRole(doc)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(other role) bool { return other.Name == r.Name }) {
			return nil, wrongAt(doc, "metadata.name", "role %s is there twice", r.Name)
		}
		all = append(all, r)
	}
	return all, nil
}

// parseRole reads one document. What it does not say is as in other clusters: ports may
// be forwarded, files copied, and logins last 30 hours.
func parseRole(doc *yaml.Node) (role, error) {
	r := role{MaxSessionTTL: defaultRoleTTL, PortForwarding: true}
	var kind string
	spec := yamlFields{known: map[string]yamlField{
		"options": r.optionFields().read,
		"allow":   allowFields(&r.conditions).read,
		"deny":    denyFields(&r.Deny).read,
	}}
	meta := yamlFields{known: map[string]yamlField{
		"name":        yamlText(&r.Name, checkRoleName),
		"description": yamlText(&r.Description, nil),
		"labels":      metaLabels(&r.Labels),
		"expires":     yamlInstant(&r.Expires),
		"namespace":   yamlText(new(string), isDefaultNamespace),
		"id":          passedOver,
		"revision":    passedOver,
	}, required: []string{"name"}}
	err := yamlFields{known: map[string]yamlField{
		"kind":     yamlText(&kind, checkKind),
		"version":  yamlText(&r.Version, checkRoleVersion),
		"metadata": meta.read,
		"spec":     spec.read,
	}, notHere: []string{"sub_kind"}, required: []string{"kind", "version", "metadata"}}.read(doc, "")
	if err == nil && r.Version == "v3" && len(r.NodeLabels) == 0 {
		r.NodeLabels = map[string][]string{"*": {"*"}} // as that version has it
	}
	return r, err
}

// passedOver is a field with which the cluster that has printed the role counts its changes.
func passedOver(*yaml.Node, string) error { return nil }

// isDefaultNamespace takes what every resource has been in for years.
func isDefaultNamespace(name string) error { return oneOf(name, "default") }

func checkKind(kind string) error {
	if kind != "role" {
		return fmt.Errorf("%q is not made from files: role is", kind)
	}
	return nil
}

func checkRoleVersion(v string) error {
	if len(v) != 2 || v[0] != 'v' || v[1] < '3' || v[1] > '8' {
		return fmt.Errorf("%q is none of v3 to v8", v)
	}
	return nil
}

// checkRoleName refuses names that would not survive a certificate or a list with commas.
func checkRoleName(name string) error {
	if err := checkUserName(strings.ReplaceAll(name, ":", "_")); err != nil {
		return fmt.Errorf("%q is no role name: letters, digits and - _ . : @ + are", name)
	}
	return nil
}

func metaLabels(dst *map[string]string) yamlField {
	return func(n *yaml.Node, path string) error {
		labels, err := labelLists(n, path, nil)
		for key, values := range labels {
			if *dst == nil {
				*dst = make(map[string]string)
			}
			if len(values) > 1 {
				return wrongAt(n, yamlPath(path, key), "a label has one value")
			}
			(*dst)[key] = values[0]
		}
		return err
	}
}

func (r *role) optionFields() yamlFields {
	return yamlFields{known: map[string]yamlField{
		"max_session_ttl":       yamlDuration(&r.MaxSessionTTL, time.Minute, maxRoleTTL),
		"forward_agent":         yamlBool(&r.ForwardAgent),
		"port_forwarding":       yamlBool(&r.PortForwarding),
		"permit_x11_forwarding": yamlBool(&r.PermitX11),
		"ssh_file_copy":         yamlNot(&r.NoFileCopy),
		"require_session_mfa":   yamlBool(&r.SessionMFA),
		"request_access":        yamlText(&r.RequestAccess, checkRequestAccess),
		"request_prompt":        yamlText(&r.RequestPrompt, nil),
	}, notHere: []string{
		"cert_extensions", "cert_format", "client_idle_timeout", "create_db_user", "create_db_user_mode", "create_desktop_user",
		"create_host_user", "create_host_user_default_shell", "create_host_user_mode", "desktop_clipboard",
		"desktop_directory_sharing", "device_trust_mode", "disconnect_expired_cert", "enhanced_recording", "idp", "lock",
		"max_connections", "max_kubernetes_connections", "max_sessions", "mfa_verification_interval", "pin_source_ip",
		"record_session", "require_session_join", "ssh_port_forwarding",
	}, anyway: usualOptions()}
}

// usualOptions are those that real clusters write into every role whose file does not
// have them, as JSON. They are about what there is not here.
func usualOptions() map[string]string {
	return map[string]string{
		"cert_format": `"standard"`, "enhanced_recording": `["command","network"]`, "record_session": `{"default":"best_effort","desktop":true}`,
		"desktop_clipboard": "true", "desktop_directory_sharing": "true", "pin_source_ip": "false", "idp": `{"saml":{"enabled":true}}`,
		"create_desktop_user": "false", "create_db_user": "false", "disconnect_expired_cert": "false",
	}
}

func checkRequestAccess(mode string) error {
	return oneOf(mode, accessOptional, accessAlways, accessReason)
}

func oneOf(s string, values ...string) error {
	if !slices.Contains(values, s) {
		return fmt.Errorf("%q is not one of %s", s, strings.Join(values, ", "))
	}
	return nil
}

// otherConditions are those about resources that the dev cluster does not have.
func otherConditions() []string {
	return []string{
		"account_assignments", "app_labels", "app_labels_expression", "aws_role_arns", "azure_identities", "cluster_labels",
		"cluster_labels_expression", "db_labels", "db_labels_expression", "db_names", "db_permissions", "db_roles",
		"db_service_labels", "db_service_labels_expression", "db_users", "desktop_groups", "gcp_service_accounts",
		"github_permissions", "group_labels", "group_labels_expression", "host_groups", "host_sudoers", "impersonate",
		"join_sessions", "kubernetes_groups", "kubernetes_labels", "kubernetes_labels_expression", "kubernetes_resources",
		"kubernetes_users", "mcp", "node_labels_expression", "require_session_join", "spiffe",
		"windows_desktop_labels", "windows_desktop_labels_expression", "windows_desktop_logins", "workload_identity_labels",
		"workload_identity_labels_expression",
	}
}

func allowFields(c *conditions) yamlFields {
	f := conditionFields(c, checkLoginOrTemplate)
	f.known["request"] = c.requestFields
	return f
}

// denyFields: all logins may be denied at once, and requests have no terms.
func denyFields(c *conditions) yamlFields {
	f := conditionFields(c, func(login string) error {
		if login == "*" {
			return nil
		}
		return checkLoginOrTemplate(login)
	})
	f.known["request"] = yamlFields{
		known:   map[string]yamlField{"roles": yamlTexts(&c.Requestable, checkPattern)},
		notHere: append(otherRequestFields(), "thresholds", "suggested_reviewers", "max_duration", "reason"),
	}.read
	return f
}

func conditionFields(c *conditions, checkLogin func(string) error) yamlFields {
	return yamlFields{known: map[string]yamlField{
		"logins":      yamlTexts(&c.Logins, checkLogin),
		"node_labels": c.nodeLabels,
		"namespaces":  yamlTexts(new([]string), isDefaultNamespace),
		"rules":       yamlList(c.ruleField),
		"review_requests": yamlFields{
			known:   map[string]yamlField{"roles": yamlTexts(&c.Reviewable, checkPattern)},
			notHere: []string{"claims_to_roles", "preview_as_roles", "where"},
		}.read,
	}, notHere: otherConditions()}
}

func checkLoginOrTemplate(login string) error {
	if hasTemplate(login) {
		_, err := parseTemplate(login)
		return err
	}
	return checkLogin(login)
}

func checkLabelValue(v string) error {
	if hasTemplate(v) {
		_, err := parseTemplate(v)
		return err
	}
	_, err := newMatcher(v)
	return err
}

// checkPattern takes the name of a role or a pattern for some.
func checkPattern(p string) error {
	if p == "" || hasTemplate(p) {
		return fmt.Errorf("%q is neither the name of a role nor a pattern", p)
	}
	_, err := newMatcher(p)
	return err
}

// labelLists reads labels, each with a value or a list of values.
func labelLists(n *yaml.Node, path string, check func(string) error) (map[string][]string, error) {
	if isNull(n) || n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		return nil, nil
	}
	switch {
	case n.Kind != yaml.MappingNode:
		return nil, wrongAt(n, path, "expected labels, got %s", yamlKind(n))
	case len(n.Content)/2 > maxYAMLList:
		return nil, wrongAt(n, path, "more than %d labels", maxYAMLList)
	}
	labels := make(map[string][]string)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := textOf(n.Content[i], path)
		if err != nil {
			return nil, err
		}
		at := yamlPath(path, key)
		switch {
		case key == "":
			return nil, wrongAt(n.Content[i], path, "a label has no key")
		case labels[key] != nil:
			return nil, wrongAt(n.Content[i], at, "the label is there twice")
		}
		values, err := labelValues(n.Content[i+1], at, check)
		if err != nil {
			return nil, err
		}
		labels[key] = values
	}
	return labels, nil
}

// nodeLabels reads labels that nodes have to have; "*" alone stands for all of them.
func (c *conditions) nodeLabels(n *yaml.Node, path string) (err error) {
	c.NodeLabels, err = labelLists(n, path, checkLabelValue)
	all := c.NodeLabels["*"]
	switch {
	case err != nil || all == nil:
		return err
	case len(all) > 1 || all[0] != "*":
		return wrongAt(n, path, `the key "*" goes with the value "*" alone`)
	case len(c.NodeLabels) > 1:
		return wrongAt(n, path, `beside "*" other labels have no effect`)
	}
	return nil
}

func labelValues(n *yaml.Node, path string, check func(string) error) ([]string, error) {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		n = &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Content: []*yaml.Node{n}}
	}
	var values []string
	if err := yamlTexts(&values, check)(n, path); err != nil {
		return nil, err
	}
	if len(values) == 0 {
		return nil, wrongAt(n, path, "the label has no value")
	}
	return values, nil
}

// ruleKinds are the kinds of resources that the dev cluster has, ruleVerbs what is done
// with them.
func ruleKinds() []string {
	return []string{"*", "access_request", "event", "node", "role", "session", "user"}
}

func ruleVerbs() []string { return []string{"*", "create", "delete", "list", "read", "update"} }

func (c *conditions) ruleField(n *yaml.Node, path string) error {
	var ru rule
	err := yamlFields{known: map[string]yamlField{
		"resources": yamlTexts(&ru.Resources, func(s string) error { return oneOf(s, ruleKinds()...) }),
		"verbs":     yamlTexts(&ru.Verbs, func(s string) error { return oneOf(s, ruleVerbs()...) }),
	}, notHere: []string{"where", "actions"}, required: []string{"resources", "verbs"}}.read(n, path)
	switch {
	case err != nil:
		return err
	case len(ru.Resources) == 0 || len(ru.Verbs) == 0:
		return wrongAt(n, path, "a rule needs resources and verbs")
	}
	c.Rules = append(c.Rules, ru)
	return nil
}

func otherRequestFields() []string {
	return []string{"annotations", "claims_to_roles", "kubernetes_resources", "search_as_roles"}
}

// requestFields reads which roles may be asked for, on which terms.
func (c *conditions) requestFields(n *yaml.Node, path string) error {
	var mode string
	reason := yamlFields{known: map[string]yamlField{
		"mode": yamlText(&mode, func(s string) error { return oneOf(s, reasonRequired, reasonOptional) }),
	}, notHere: []string{"prompt"}}
	err := yamlFields{known: map[string]yamlField{
		"roles":               yamlTexts(&c.Requestable, checkPattern),
		"thresholds":          yamlList(c.Terms.thresholdField),
		"suggested_reviewers": yamlTexts(&c.Terms.Reviewers, checkUserName),
		"max_duration":        yamlDuration(&c.Terms.MaxDuration, time.Minute, requestTTL),
		"reason":              reason.read,
	}, notHere: otherRequestFields()}.read(n, path)
	if err != nil {
		return err
	}
	c.Terms.NeedReason = mode == reasonRequired
	if len(c.Requestable) == 0 && !isNull(n) && len(n.Content) > 0 {
		return wrongAt(n, path+".roles", "there are none: nothing may be asked for")
	}
	return nil
}

// thresholdField takes what the dev cluster does anyway: one review decides.
func (t *requestTerms) thresholdField(n *yaml.Node, path string) error {
	th := threshold{Approve: 1, Deny: 1}
	one := func(dst *int) yamlField {
		return func(n *yaml.Node, path string) error {
			if n.Kind != yaml.ScalarNode || n.Decode(dst) != nil || *dst != 1 {
				return wrongAt(n, path, "the dev cluster knows thresholds of 1: one review decides")
			}
			return nil
		}
	}
	err := yamlFields{known: map[string]yamlField{
		"name": yamlText(&th.Name, nil), "approve": one(&th.Approve), "deny": one(&th.Deny),
	}, notHere: []string{"filter"}}.read(n, path)
	if err == nil && len(t.Thresholds) > 0 {
		err = wrongAt(n, path, "one threshold is enough where one review decides")
	}
	t.Thresholds = append(t.Thresholds, th)
	return err
}
