package devcluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// A role that is replaced, that expires or that is gone counts as it is now, also for
// who has logged in before.
func TestRolesCountAsTheyAreNow(t *testing.T) {
	f := startRoles(t)
	end := f.clock.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	file := func(env string) string {
		return "kind: role\nversion: v7\nmetadata: {name: a, expires: " + end + "}\nspec: {allow: {logins: [root], node_labels: {env: " + env + "}}}"
	}
	l := f.as("carol", file("dev"), nil)
	if got := fmt.Sprint(f.reach(l)); got != "[node-1:root]" {
		t.Error(got)
	}
	if _, err := f.CreateRoles([]byte(file("prod")), false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("replaced without force: %v", err)
	}
	if changes, err := f.CreateRoles([]byte(file("prod")), true); err != nil || !slices.Equal(changes, []RoleChange{{"a", true}}) {
		t.Fatalf("%v, %v", changes, err)
	}
	if got := fmt.Sprint(f.reach(l)); got != "[node-2:root]" {
		t.Error(got)
	}
	f.clock.Advance(time.Hour)
	if got := fmt.Sprint(f.reach(l)); got != "[]" {
		t.Errorf("expired: %s", got)
	}
	if _, err := f.CreateRoles([]byte(file("dev")), true); err == nil || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("of the past: %v", err)
	}
	if err := f.UpdateUser("carol", UserChange{Roles: []string{"a"}}); err == nil || !strings.Contains(err.Error(), `role "a" does not exist, there are access, `) {
		t.Errorf("a role that has expired was given: %v", err)
	}
}

// A file is taken as a whole or not at all.
func TestRolesOfOneFile(t *testing.T) {
	f := startRoles(t)
	for _, last := range []string{spec("access", "{}"), spec("a", "{}"), "kind: role\nversion: v7\nmetadata: {name: b, x: y}\n"} {
		if changes, err := f.CreateRoles([]byte(spec("a", "{}")+last), false); err == nil || changes != nil {
			t.Errorf("%s: %v, %v", last, changes, err)
		}
	}
	for _, name := range remadeRoles() {
		if _, err := f.CreateRoles([]byte(spec(name, "{}")), true); err == nil || !strings.Contains(err.Error(), "made anew at every start") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, found, err := f.role("a"); found || err != nil {
		t.Errorf("half of a file was taken: %v", err)
	}
	// What is there already is taken again as a whole.
	roles, err := f.Roles()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	for _, r := range roles {
		file.WriteString("---\n" + r.YAML)
	}
	if changes, err := f.CreateRoles(file.Bytes(), true); err != nil || len(changes) != len(roles) {
		t.Errorf("%v, %v", changes, err)
	}
}

// Directories outlive programs: these are the roles as the first version stored them.
func TestRolesOfOlderDirectories(t *testing.T) {
	type oldRole struct {
		Name           string              `json:"name"`
		Logins         []string            `json:"logins,omitempty"`
		NodeLabels     map[string][]string `json:"node_labels,omitempty"`
		MaxSessionTTL  time.Duration       `json:"max_session_ttl"`
		ForwardAgent   bool                `json:"forward_agent,omitempty"`
		PortForwarding bool                `json:"port_forwarding,omitempty"`
		PermitX11      bool                `json:"permit_x11,omitempty"`
		NoFileCopy     bool                `json:"no_file_copy,omitempty"`
		Rules          []rule              `json:"rules,omitempty"`
		SessionMFA     bool                `json:"require_session_mfa,omitempty"`
		Requestable    []string            `json:"requestable,omitempty"`
		RequestAccess  string              `json:"request_access,omitempty"`
		RequestPrompt  string              `json:"request_prompt,omitempty"`
		Reviews        bool                `json:"reviews,omitempty"`
	}
	old := oldRole{
		Name: "old", Logins: []string{internalLogins, "deploy"}, NodeLabels: map[string][]string{"env": {"dev"}}, MaxSessionTTL: time.Hour,
		ForwardAgent: true, PortForwarding: true, PermitX11: true, NoFileCopy: true, SessionMFA: true,
		Rules:       []rule{{Resources: []string{"role"}, Verbs: []string{"read"}}},
		Requestable: []string{"access"}, RequestAccess: accessReason, RequestPrompt: "why", Reviews: true,
	}
	f := startRoles(t)
	if err := f.state.update(func(tx *stateTx) error { return tx.put(bucketRoles, old.Name, old) }); err != nil {
		t.Fatal(err)
	}
	got, found, err := f.role("old")
	want := role{
		Name: "old", MaxSessionTTL: time.Hour, ForwardAgent: true, PortForwarding: true, PermitX11: true, NoFileCopy: true, SessionMFA: true,
		RequestAccess: accessReason, RequestPrompt: "why",
		conditions: conditions{
			Logins: old.Logins, NodeLabels: old.NodeLabels, Rules: old.Rules, Requestable: old.Requestable, Reviewable: []string{"*"},
		},
	}
	if err != nil || !found || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant\n%+v", got, err, want)
	}
	// What is stored now is read again as it was.
	raw, err := json.Marshal(got)
	var again role
	if err != nil || json.Unmarshal(raw, &again) != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("%s, %v", raw, err)
	}
}

// The role on the wire says what the file says.
func TestRoleMessage(t *testing.T) {
	f := startRoles(t)
	l := f.as("bot", stagingBot, nil)
	m := new(pb.Role)
	if err := f.auth(l).Invoke(t.Context(), "/proto.AuthService/GetRole", &pb.GetRoleRequest{Name: "staging-bot"}, m); err != nil {
		t.Fatal(err)
	}
	allow, deny, o := m.Spec.Allow, m.Spec.Deny, m.Spec.Options
	for name, ok := range map[string]bool{
		"header":   m.Kind == "role" && m.Version == "v7" && m.Metadata.Description != "" && m.Metadata.Labels["team"] == "ops",
		"expires":  m.Metadata.Expires.AsTime().Year() == 2100,
		"options":  o.MaxSessionTtl == int64(time.Hour) && !o.PortForwarding.Value && !o.SshFileCopy.Value && !o.ForwardAgent,
		"logins":   slices.Equal(allow.Logins, []string{"deploy", "{{external.team}}-x"}) && slices.Equal(deny.Logins, []string{"*"}),
		"labels":   len(allow.NodeLabels.Values["tier"].Values) == 4 && deny.NodeLabels.Values["*"].Values[0] == "*",
		"rules":    len(allow.Rules) == 1 && deny.Rules[0].Verbs[0] == "update",
		"requests": slices.Equal(allow.Request.Roles, []string{"access", "prod-*"}) && slices.Equal(deny.Request.Roles, []string{"editor"}),
		"terms": allow.Request.MaxDuration == int64(2*time.Hour) && allow.Request.Thresholds[0].Approve == 1 &&
			allow.Request.Reason.Mode == "required" && allow.Request.SuggestedReviewers[0] == "carol",
		"reviews": allow.ReviewRequests.Roles[0] == "*" && deny.ReviewRequests.Roles[0] == "editor",
	} {
		if !ok {
			t.Errorf("%s: %v", name, m)
		}
	}
	before := m.Metadata.Revision
	if _, err := f.CreateRoles([]byte(strings.Replace(stagingBot, "1h", "2h", 1)), true); err != nil {
		t.Fatal(err)
	}
	if err := f.auth(l).Invoke(t.Context(), "/proto.AuthService/GetRole", &pb.GetRoleRequest{Name: "staging-bot"}, m); err != nil || m.Metadata.Revision == before {
		t.Errorf("the revision stayed: %v", err)
	}
}
