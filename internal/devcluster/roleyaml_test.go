package devcluster

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// stagingBot is the example of docs/devcluster-roles.md.
const stagingBot = `kind: role
version: v7
metadata:
  name: staging-bot
  description: lists and enters the servers of staging
  labels: {team: ops}
  expires: 2100-01-01T00:00:00Z
spec:
  options:
    max_session_ttl: 1h
    port_forwarding: false
    ssh_file_copy: false
  allow:
    logins: [deploy, '{{external.team}}-x']
    node_labels:
      env: staging
      tier: [web, 'db-*', '^c[0-9]+$', '{{external.tier}}']
    rules:
    - resources: [role, node]
      verbs: [read, list]
    request:
      roles: [access, 'prod-*']
      suggested_reviewers: [carol]
      max_duration: 2h
      reason: {mode: required}
      thresholds:
      - {name: one, approve: 1, deny: 1}
    review_requests:
      roles: ['*']
  deny:
    logins: ['*']
    node_labels: {'*': '*'}
    rules:
    - {resources: ['*'], verbs: [update]}
    request: {roles: [editor]}
    review_requests: {roles: [editor]}
`

func TestRoleYAML(t *testing.T) {
	got, err := parseRoles([]byte(stagingBot))
	if err != nil {
		t.Fatal(err)
	}
	want := role{
		Name: "staging-bot", Version: "v7", Description: "lists and enters the servers of staging", Labels: map[string]string{"team": "ops"},
		Expires: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), MaxSessionTTL: time.Hour, NoFileCopy: true,
		conditions: conditions{
			Logins:      []string{"deploy", "{{external.team}}-x"},
			NodeLabels:  map[string][]string{"env": {"staging"}, "tier": {"web", "db-*", "^c[0-9]+$", "{{external.tier}}"}},
			Rules:       []rule{{Resources: []string{"role", "node"}, Verbs: []string{"read", "list"}}},
			Requestable: []string{"access", "prod-*"}, Reviewable: []string{"*"},
			Terms: requestTerms{
				Thresholds: []threshold{{"one", 1, 1}}, Reviewers: []string{"carol"}, MaxDuration: 2 * time.Hour, NeedReason: true,
			},
		},
		Deny: conditions{
			Logins: []string{"*"}, NodeLabels: map[string][]string{"*": {"*"}},
			Rules:       []rule{{Resources: []string{"*"}, Verbs: []string{"update"}}},
			Requestable: []string{"editor"}, Reviewable: []string{"editor"},
		},
	}
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

// What a role does not say is as in other clusters.
func TestRoleYAMLDefaults(t *testing.T) {
	for version, labels := range map[string]map[string][]string{"v3": {"*": {"*"}}, "v4": nil, "v8": nil} {
		got, err := parseRoles([]byte("kind: role\nversion: " + version + "\nmetadata: {name: plain}\nspec:\n  deny:\n"))
		want := role{
			Name: "plain", Version: version, MaxSessionTTL: 30 * time.Hour, PortForwarding: true, conditions: conditions{NodeLabels: labels},
		}
		if err != nil || !reflect.DeepEqual(got, []role{want}) {
			t.Errorf("%s: %+v, %v", version, got, err)
		}
	}
}

// What get prints, create accepts, and it means the same.
func TestRoleRoundTrip(t *testing.T) {
	parsed, err := parseRoles([]byte(stagingBot))
	if err != nil {
		t.Fatal(err)
	}
	all := append(presetRoles(), parsed...)
	var yamls, jsons []string
	for i := range all {
		all[i].Version = or(all[i].Version, roleVersion)
		text, err := all[i].yaml()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := all[i].json()
		if err != nil {
			t.Fatal(err)
		}
		yamls, jsons = append(yamls, text), append(jsons, string(raw))
	}
	for name, file := range map[string]string{
		"YAML": strings.Join(yamls, "---\n"), "JSON": "[" + strings.Join(jsons, ",") + "]",
	} {
		if again, err := parseRoles([]byte(file)); err != nil || !reflect.DeepEqual(again, all) {
			t.Errorf("%s: %v\n%+v\nwant\n%+v", name, err, again, all)
		}
	}
}

// withRole is a role whose line 4 and those after it are the given ones.
func withRole(lines string) string {
	return "kind: role\nversion: v7\nmetadata: {name: r}\n" + lines
}

func TestRoleYAMLRefuses(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"nothing":             {"", "the file is empty"},
		"only comments":       {"# none\n---\n---\n", "the file is empty"},
		"a text":              {"role", "line 1: the document: expected fields, got a text"},
		"no YAML":             {withRole("spec: {a: b\n"), "did not find expected"},
		"bare asterisk":       {withRole("spec: {allow: {node_labels: {*: *}}}"), "* and & have to be in quotes"},
		"too big":             {strings.Repeat("# comment\n", 30_000), "the file has more than 256 KiB"},
		"too many":            {strings.Repeat("--- {}\n", 101), "more than 100 documents"},
		"another kind":        {"kind: user\nversion: v2\nmetadata: {name: x}", `line 1: kind: "user" is not made from files`},
		"no kind":             {"version: v7\nmetadata: {name: r}", "line 1: kind: the field is missing"},
		"no name":             {"kind: role\nversion: v7\nmetadata: {}", "line 3: metadata.name: the field is missing"},
		"version":             {"kind: role\nversion: v9\nmetadata: {name: r}", `line 2: version: "v9" is none of v3 to v8`},
		"name":                {"kind: role\nversion: v7\nmetadata: {name: a b}", `line 3: metadata.name: "a b" is no role name`},
		"name with a comma":   {"kind: role\nversion: v7\nmetadata: {name: 'a,b'}", `is no role name`},
		"unknown field":       {withRole("spec:\n  allow:\n    node_lables: {}"), "line 6: spec.allow.node_lables: unknown field, there are logins, "},
		"not enforced":        {withRole("spec:\n  allow:\n    db_names: [x]"), "line 6: spec.allow.db_names: the dev cluster does not enforce this field"},
		"option not enforced": {withRole("spec: {options: {max_sessions: 3}}"), "line 4: spec.options.max_sessions: the dev cluster does not enforce"},
		"where":               {withRole("spec: {allow: {rules: [{where: x}]}}"), "spec.allow.rules[0].where: the dev cluster does not enforce"},
		"twice":               {withRole("spec: {}\nspec: {}"), "line 5: spec: the field is there twice"},
		"one name, two roles": {withRole("---\n") + withRole(""), "role r is there twice"},
		"field of controls":   {withRole(`"\x1b[2J": 1`), `the document: "\x1b[2J" has characters that cannot be shown`},
		"description":         {"kind: role\nversion: v7\nmetadata: {name: r, description: \"a\\u202eb\"}", "cannot be shown"},
		"long text":           {withRole("spec: {options: {request_prompt: " + strings.Repeat("x", 1025) + "}}"), "more than 1024 bytes"},
		"long list":           {withRole("spec: {allow: {logins: [" + strings.Repeat("a,", 1001) + "]}}"), "more than 1000 entries"},
		"anchor":              {withRole("spec: &a {}"), "line 4: anchors and aliases are not accepted"},
		"alias":               {"kind: &a role\nversion: *a", "anchors and aliases"},
		"merge":               {withRole("<<: {spec: {}}"), "line 4: merges are not accepted"},
		"tag":                 {withRole("spec: !!map {}"), "line 4: tags are not accepted"},
		"deep":                {withRole("spec: " + strings.Repeat("[", 21) + strings.Repeat("]", 21)), "more than 20 levels"},
		"login":               {withRole("spec: {allow: {logins: ['a b']}}"), `line 4: spec.allow.logins[0]: "a b" is no login name`},
		"every login":         {withRole("spec: {allow: {logins: ['*']}}"), `"*" is no login name`},
		"login of a flag":     {withRole("spec: {allow: {logins: ['-teleport-internal-join']}}"), `is no login name`},
		"login of a number":   {withRole("spec: {allow: {logins: [1000]}}"), `expected a text, got "1000", which is no text: put it in quotes`},
		"login twice":         {withRole("spec: {allow: {logins: [a, a]}}"), `line 4: spec.allow.logins[1]: "a" is there twice`},
		"logins no list":      {withRole("spec: {allow: {logins: root}}"), "spec.allow.logins: expected a list, got a text"},
		"function":            {withRole("spec: {allow: {logins: ['{{email.local(external.email)}}']}}"), "and no functions"},
		"unknown trait":       {withRole("spec: {allow: {logins: ['{{internal.nope}}']}}"), "no internal trait has that name"},
		"two templates":       {withRole("spec: {allow: {logins: ['{{internal.logins}}{{external.x}}']}}"), "is not one template"},
		"open template":       {withRole("spec: {allow: {logins: ['{{internal.logins']}}"), "is not one template"},
		"label of a number":   {withRole("spec: {allow: {node_labels: {port: 22}}}"), `spec.allow.node_labels.port[0]: expected a text, got "22"`},
		"label without value": {withRole("spec: {allow: {node_labels: {env: []}}}"), "spec.allow.node_labels.env: the label has no value"},
		"any key":             {withRole("spec: {allow: {node_labels: {'*': prod}}}"), `the key "*" goes with the value "*" alone`},
		"any key and others":  {withRole("spec: {deny: {node_labels: {'*': '*', env: prod}}}"), `beside "*" other labels have no effect`},
		"expression":          {withRole("spec: {allow: {node_labels: {env: '^($'}}}"), "is no regular expression"},
		"open expression":     {withRole("spec: {allow: {request: {roles: ['^dev)|(?:$']}}}"), "is no regular expression"},
		"template for a role": {withRole("spec: {allow: {request: {roles: ['{{external.x}}']}}}"), "neither the name of a role nor a pattern"},
		"rule without verbs":  {withRole("spec: {allow: {rules: [{resources: [role]}]}}"), "spec.allow.rules[0].verbs: the field is missing"},
		"empty rule":          {withRole("spec: {allow: {rules: [{resources: [], verbs: []}]}}"), "a rule needs resources and verbs"},
		"resource":            {withRole("spec: {allow: {rules: [{resources: [rolle], verbs: [read]}]}}"), `"rolle" is not one of *, access_request,`},
		"verb":                {withRole("spec: {allow: {rules: [{resources: [role], verbs: [peek]}]}}"), `"peek" is not one of`},
		"duration":            {withRole("spec: {options: {max_session_ttl: 8}}"), "expected a length of time as 8h or 90m"},
		"short duration":      {withRole("spec: {options: {max_session_ttl: 1s}}"), "1s is not between 1m0s and"},
		"negative duration":   {withRole("spec: {options: {max_session_ttl: -8h}}"), "is not between"},
		"boolean":             {withRole("spec: {options: {forward_agent: yes please}}"), "expected true or false, got a text"},
		"kind of MFA":         {withRole("spec: {options: {require_session_mfa: hardware_key}}"), "expected true or false"},
		"request access":      {withRole("spec: {options: {request_access: sometimes}}"), `"sometimes" is not one of optional, always, reason`},
		"expires":             {"kind: role\nversion: v7\nmetadata: {name: r, expires: tomorrow}", "expected a time as"},
		"namespace":           {"kind: role\nversion: v7\nmetadata: {name: r, namespace: x}", `metadata.namespace: "x" is not one of default`},
		"namespaces":          {withRole("spec: {allow: {namespaces: [default, x]}}"), `spec.allow.namespaces[1]: "x" is not one of default`},
		"two reviews":         {withRole("spec: {allow: {request: {roles: [a], thresholds: [{approve: 2}]}}}"), "thresholds of 1: one review decides"},
		"request for nothing": {withRole("spec: {allow: {request: {max_duration: 1h}}}"), "spec.allow.request.roles: there are none"},
		"terms denied":        {withRole("spec: {deny: {request: {max_duration: 1h}}}"), "spec.deny.request.max_duration: the dev cluster does not enforce"},
		"long request":        {withRole("spec: {allow: {request: {roles: [a], max_duration: 9h}}}"), "9h0m0s is not between 1m0s and 8h0m0s"},
	} {
		if got, err := parseRoles([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", name, got, err, c.want)
		}
	}
	// A billion laughs is refused at the first line of it.
	bomb := "a: &a [x, x]\n"
	for c := 'b'; c < 'z'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9))
	}
	if _, err := parseRoles([]byte(bomb)); err == nil || !strings.HasPrefix(err.Error(), "line 1: anchors") {
		t.Error(err)
	}
}

// What another cluster has printed of a role is taken, with what it counts changes by.
func TestRoleYAMLAsPrinted(t *testing.T) {
	plain, err := parseRoles([]byte(withRole("spec: {allow: {logins: [root]}}")))
	if err != nil {
		t.Fatal(err)
	}
	printed, err := parseRoles([]byte("kind: role\nversion: v7\nmetadata: {id: 1700000000000000000, name: r, namespace: default, revision: 9c3b}\n" +
		"spec: {allow: {logins: [root], namespaces: [default]}, deny: {namespaces: [default]}}"))
	if err != nil || !reflect.DeepEqual(printed, plain) {
		t.Errorf("%+v, %v, want %+v", printed, err, plain)
	}
}

// A role of a real cluster, as that has printed it, is taken as it is.
func TestCapturedRole(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "wire", "testdata", "grpc", "GetRole.response.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseRoles(raw)
	if err != nil || len(got) != 1 || got[0].Name != "fixture" || got[0].MaxSessionTTL != 70000*time.Hour || !got[0].ForwardAgent ||
		len(got[0].Logins) != 3 || got[0].NodeLabels["*"][0] != "*" || len(got[0].Rules) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parseRoles([]byte(strings.Replace(string(raw), `"best_effort"`, `"strict"`, 1))); err == nil || !strings.Contains(err.Error(), "spec.options.record_session: the dev cluster does not enforce") {
		t.Errorf("strict recording: %v", err)
	}
}
