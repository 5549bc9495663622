package devcluster

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// startRoles runs a cluster of two nodes, node-1 (env=dev, tier=web) and node-2
// (env=prod, tier=db), where a password is enough.
func startRoles(t *testing.T) *fixture {
	t.Helper()
	f := startCluster(t, func(c *Config) { c.Nodes, c.SecondFactor = 2, factorOff })
	f.secret = ""
	return f
}

// spec is a role that says no more than its spec, in the flow style of YAML.
func spec(name, text string) string {
	return "kind: role\nversion: v7\nmetadata: {name: " + name + "}\nspec: " + text + "\n---\n"
}

// as logs a user in who has the roles of a file and no others.
func (f *fixture) as(user, file string, change func(*UserSpec)) *login {
	f.t.Helper()
	changes, err := f.CreateRoles([]byte(file), true)
	if err != nil {
		f.t.Fatalf("%s: %v", file, err)
	}
	u := UserSpec{Name: user, Password: alicePassword, Logins: []string{"root"}}
	for _, c := range changes {
		u.Roles = append(u.Roles, c.Name)
	}
	if change != nil {
		change(&u)
	}
	if _, err := f.AddUser(u); err != nil {
		f.t.Fatal(err)
	}
	return f.login(func(m map[string]any) { m["user"] = user })
}

// reach is what a user reaches, as node:login, sorted: what is listed, and where a
// login with SSH succeeds. They have to agree.
func (f *fixture) reach(l *login) []string {
	f.t.Helper()
	resp, err := listUnified(f.t, f.auth(l), &pb.ListUnifiedResourcesRequest{IncludeLogins: true})
	if err != nil {
		f.t.Fatal(err)
	}
	listed, entered := []string{}, []string{}
	for _, r := range resp.Resources {
		for _, login := range r.Logins {
			listed = append(listed, r.Node.Spec.Hostname+":"+login)
		}
	}
	cc := f.transport(l)
	for _, host := range []string{"node-1", "node-2"} {
		for _, login := range []string{"root", "deploy", "web-x", "ops-x"} {
			client, err := f.ssh(l, cc, host, login)
			if err == nil {
				_ = client.Close()
				entered = append(entered, host+":"+login)
			}
		}
	}
	slices.Sort(listed)
	slices.Sort(entered)
	if !slices.Equal(listed, entered) {
		f.t.Errorf("listed %v, entered %v", listed, entered)
	}
	return entered
}

// Allow and deny, over labels and logins, in one role and in several: deny wins.
func TestRolesDecideAboutNodes(t *testing.T) {
	f := startRoles(t)
	const all = "allow: {logins: [root, deploy], node_labels: {'*': '*'}}"
	for i, c := range []struct {
		name, file, want string
	}{
		{"nothing", spec("a", "{}"), ""},
		{"everything", spec("a", "{"+all+"}"), "node-1:deploy node-1:root node-2:deploy node-2:root"},
		{"labels without logins", spec("a", "{allow: {node_labels: {'*': '*'}}}"), ""},
		{"logins without labels", spec("a", "{allow: {logins: [root]}}"), ""},
		{"one label", spec("a", "{allow: {logins: [deploy], node_labels: {env: prod}}}"), "node-2:deploy"},
		{"two labels that agree", spec("a", "{allow: {logins: [deploy], node_labels: {env: prod, tier: db}}}"), "node-2:deploy"},
		{"two labels that do not", spec("a", "{allow: {logins: [deploy], node_labels: {env: prod, tier: web}}}"), ""},
		{"one of several values", spec("a", "{allow: {logins: [deploy], node_labels: {env: [x, dev]}}}"), "node-1:deploy"},
		{"any value of a key", spec("a", "{allow: {logins: [deploy], node_labels: {env: '*'}}}"), "node-1:deploy node-2:deploy"},
		{"a key that is not there", spec("a", "{allow: {logins: [deploy], node_labels: {nope: '*'}}}"), ""},
		{"part of a value", spec("a", "{allow: {logins: [deploy], node_labels: {env: 'pr*'}}}"), "node-2:deploy"},
		{"expression", spec("a", "{allow: {logins: [deploy], node_labels: {env: '^(prod|staging)$'}}}"), "node-2:deploy"},
		{"expression for a part", spec("a", "{allow: {logins: [deploy], node_labels: {env: '^pro$'}}}"), ""},
		{"alternatives stay within the anchors", spec("a", "{allow: {logins: [deploy], node_labels: {env: '^pro|x$'}}}"), ""},
		{"logins do not mix with the labels of others",
			spec("a", "{allow: {logins: [deploy], node_labels: {env: dev}}}") + spec("b", "{allow: {logins: [root], node_labels: {env: prod}}}"),
			"node-1:deploy node-2:root"},
		{"labels denied in the same role", spec("a", "{"+all+", deny: {node_labels: {env: prod}}}"), "node-1:deploy node-1:root"},
		{"labels denied in another role", spec("a", "{"+all+"}") + spec("b", "{deny: {node_labels: {tier: 'w*'}}}"), "node-2:deploy node-2:root"},
		{"all labels that are denied have to be there", spec("a", "{"+all+", deny: {node_labels: {env: prod, tier: web}}}"),
			"node-1:deploy node-1:root node-2:deploy node-2:root"},
		{"every node denied", spec("a", "{"+all+"}") + spec("b", "{deny: {node_labels: {'*': '*'}}}"), ""},
		{"login denied", spec("a", "{"+all+"}") + spec("b", "{deny: {logins: [root]}}"), "node-1:deploy node-2:deploy"},
		{"every login denied", spec("a", "{"+all+", deny: {logins: ['*']}}"), ""},
		{"login and labels denied each by itself", spec("a", "{"+all+", deny: {logins: [root], node_labels: {env: dev}}}"), "node-2:deploy"},
		{"logins of the user", spec("a", "{allow: {logins: ['{{internal.logins}}'], node_labels: {env: dev}}}"), "node-1:root"},
		{"logins of the user denied", spec("a", "{"+all+", deny: {logins: ['{{internal.logins}}']}}"), "node-1:deploy node-2:deploy"},
		{"trait in a login", spec("a", "{allow: {logins: ['{{external.team}}-x'], node_labels: {env: dev}}}"), "node-1:ops-x node-1:web-x"},
		{"trait in a label", spec("a", "{allow: {logins: [root], node_labels: {tier: '{{external.team}}'}}}"), "node-1:root"},
		{"trait with an asterisk is no pattern", spec("a", "{allow: {logins: [root], node_labels: {tier: '{{external.star}}'}}}"), ""},
		{"trait that is no login", spec("a", "{allow: {logins: ['{{external.star}}', '{{external.flag}}'], node_labels: {'*': '*'}}}"), ""},
		{"trait that nobody has", spec("a", "{allow: {logins: ['{{external.nope}}', root], node_labels: {tier: ['{{external.nope}}', db]}}}"), "node-2:root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := f.as(fmt.Sprintf("u%d", i), c.file, func(u *UserSpec) {
				u.Traits = map[string][]string{"team": {"web", "ops"}, "star": {"*"}, "flag": {"-teleport-internal-join"}}
			})
			if got := strings.Join(f.reach(l), " "); got != c.want {
				t.Errorf("reaches %q, want %q", got, c.want)
			}
		})
	}
}

// A certificate names the logins that are left and the permissions of the roles, and
// ends when the strictest of them says.
func TestRolesDecideAboutCertificates(t *testing.T) {
	f := startRoles(t)
	forwarding := []string{"permit-agent-forwarding", "permit-port-forwarding", "permit-X11-forwarding"}
	for name, c := range map[string]struct {
		file, principals, forwarding string
		ttl                          time.Duration
	}{
		"defaults": {spec("a", "{allow: {logins: [root]}}"), "root " + joinPrincipal, "permit-port-forwarding", 12 * time.Hour},
		"all": {spec("a", "{options: {forward_agent: true, permit_x11_forwarding: true}, allow: {logins: [root]}}"),
			"root " + joinPrincipal, strings.Join(forwarding, " "), 12 * time.Hour},
		"none": {spec("a", "{options: {port_forwarding: false}, allow: {logins: [root, deploy]}, deny: {logins: [root]}}"),
			"deploy " + joinPrincipal, "", 12 * time.Hour},
		"shortest": {spec("a", "{options: {max_session_ttl: 1h}, allow: {logins: [root]}}") + spec("b", "{options: {max_session_ttl: 20m}}"),
			"root " + joinPrincipal, "permit-port-forwarding", 20 * time.Minute},
	} {
		l := f.as("cert-"+name, c.file, nil)
		if got := strings.Join(l.sshCert.ValidPrincipals, " "); got != c.principals {
			t.Errorf("%s: principals %q, want %q", name, got, c.principals)
		}
		got := slices.DeleteFunc(slices.Clone(forwarding), func(ext string) bool {
			_, ok := l.sshCert.Extensions[ext]
			return !ok
		})
		if strings.Join(got, " ") != c.forwarding {
			t.Errorf("%s: %v, want %q", name, got, c.forwarding)
		}
		for kind, end := range map[string]time.Time{"TLS": l.tlsCert.NotAfter, "SSH": time.Unix(int64(l.sshCert.ValidBefore), 0)} {
			if left := end.Sub(f.clock.Now().Truncate(time.Second)); left != c.ttl {
				t.Errorf("%s: %s certificate for %s, want %s", name, kind, left, c.ttl)
			}
		}
	}
	l := f.as("nobody", spec("a", "{allow: {logins: [root]}, deny: {logins: ['*']}}"), nil)
	if first := l.sshCert.ValidPrincipals[0]; !strings.HasPrefix(first, "-teleport-nologin-") {
		t.Errorf("without a login: %q", l.sshCert.ValidPrincipals)
	}
}

// What sessions on a node may do is for the roles to say, too.
func TestRolesDecideAboutSessions(t *testing.T) {
	f := startRoles(t)
	const nodes = "allow: {logins: [root], node_labels: {env: dev}}"
	for i, c := range []struct {
		options                 string
		copies, forwards, needs bool
	}{
		{"{}", true, true, false},
		{"{ssh_file_copy: false}", false, true, false},
		{"{port_forwarding: false}", true, false, false},
		{"{require_session_mfa: true}", true, true, true},
	} {
		l := f.as(fmt.Sprintf("s%d", i), spec("a", "{options: "+c.options+", "+nodes+"}"), nil)
		client, err := f.ssh(l, f.transport(l), "node-1", "root")
		if err != nil {
			t.Fatal(err)
		}
		ok, _, err := client.SendRequest("tcpip-forward", true, ssh.Marshal(struct {
			Addr string
			Port uint32
		}{"127.0.0.1", 0}))
		if err != nil || ok != (c.forwards && !c.needs) {
			t.Errorf("%s: forwarding %v, %v", c.options, ok, err)
		}
		session, err := client.NewSession()
		if needs := err != nil && strings.Contains(err.Error(), textSessionMFA); needs != c.needs {
			t.Errorf("%s: session %v", c.options, err)
		}
		if err == nil {
			if err := session.RequestSubsystem("sftp"); (err == nil) != c.copies {
				t.Errorf("%s: sftp %v", c.options, err)
			}
		}
		_ = client.Close()
		required := new(pb.IsMFARequiredResponse)
		err = f.auth(l).Invoke(t.Context(), "/proto.AuthService/IsMFARequired", &pb.IsMFARequiredRequest{Node: &pb.NodeLogin{Node: "node-1", Login: "root"}}, required)
		if err != nil || required.Required != c.needs {
			t.Errorf("%s: required %v, %v", c.options, required, err)
		}
	}
}

// A call is refused to who has no rule for it, or one that denies it. Own roles are shown
// to nobody else either; what GetCurrentUserRoles is for.
func TestRolesDecideAboutCalls(t *testing.T) {
	f := startRoles(t)
	const rules = "rules: [{resources: [%s], verbs: [%s]}]"
	allow := func(what, verbs string) string { return "allow: {" + fmt.Sprintf(rules, what, verbs) + "}" }
	deny := func(what, verbs string) string { return "deny: {" + fmt.Sprintf(rules, what, verbs) + "}" }
	auth := "/" + authName + "/"
	calls := map[string]func(*login) error{
		"role": func(l *login) error {
			return f.auth(l).Invoke(t.Context(), auth+"GetRole", &pb.GetRoleRequest{Name: "editor"}, new(pb.Role))
		},
		"own": func(l *login) error {
			return f.auth(l).Invoke(t.Context(), auth+"GetRole", &pb.GetRoleRequest{Name: "a"}, new(pb.Role))
		},
		"user": func(l *login) error {
			return f.auth(l).Invoke(t.Context(), "/"+usersName+"/GetUser", &pb.GetUserRequest{Name: "alice"}, new(pb.GetUserResponse))
		},
		"nodes": func(l *login) error {
			_, err := listUnified(t, f.auth(l), new(pb.ListUnifiedResourcesRequest))
			return err
		},
		"requests": func(l *login) error {
			return f.auth(l).Invoke(t.Context(), auth+"ListAccessRequests", new(pb.ListAccessRequestsRequest), new(pb.ListAccessRequestsResponse))
		},
	}
	for i, c := range []struct{ file, works string }{
		{spec("a", "{}"), "nodes requests"},
		{spec("a", "{"+allow("role", "read")+"}"), "nodes own requests role"},
		{spec("a", "{"+allow("role", "list")+"}"), "nodes requests"},
		{spec("a", "{"+allow("role", "'*'")+"}"), "nodes own requests role"},
		{spec("a", "{"+allow("'*'", "read")+"}"), "nodes own requests role user"},
		{spec("a", "{"+allow("'*'", "'*'")+"}") + spec("b", "{"+deny("role", "read")+"}"), "nodes requests user"},
		{spec("a", "{"+allow("role, user", "read")+", "+deny("user", "'*'")+"}"), "nodes own requests role"},
		{spec("a", "{"+allow("'*'", "'*'")+", "+deny("'*'", "list")+"}"), "own role user"},
		{spec("a", "{"+deny("node", "list, read")+"}"), "requests"},
		{spec("a", "{"+deny("'*'", "'*'")+"}"), ""},
	} {
		l := f.as(fmt.Sprintf("c%d", i), c.file, nil)
		var works []string
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			err := calls[name](l)
			if err == nil {
				works = append(works, name)
			} else if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "access denied to perform action") {
				t.Errorf("%s: %s: %v", c.file, name, err)
			}
		}
		if got := strings.Join(works, " "); got != c.works {
			t.Errorf("%s: %q works, want %q", c.file, got, c.works)
		}
	}
}

// What may be asked for and reviewed: patterns, and deny above all.
func TestRolesDecideAboutRequests(t *testing.T) {
	f := startRoles(t)
	_, err := f.CreateRoles([]byte(spec("prod-db", "{}")+spec("prod-web", "{}")+
		spec("asker", "{allow: {request: {roles: [access, gone, 'prod-*'], max_duration: 2h, reason: {mode: required}, suggested_reviewers: [carol]}, review_requests: {roles: ['^prod-.*$']}}}")+
		spec("not-db", "{deny: {request: {roles: ['*-db']}, review_requests: {roles: [prod-web]}}}")), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ held, asks, reviews string }{
		{"asker", "access prod-db prod-web", "prod-db prod-web"},
		{"asker access", "prod-db prod-web", "prod-db prod-web"},
		{"asker not-db", "access prod-web", "prod-db"},
		{"not-db", "", ""},
		{"requester reviewer not-db", "access auditor editor", "access auditor prod-db"},
		{"reviewer", "", "access auditor prod-db prod-web"},
	} {
		rs, err := f.roleSet(strings.Fields(c.held), nil)
		if err != nil {
			t.Fatal(err)
		}
		var asks, reviews []string
		for _, name := range []string{"access", "auditor", "editor", "gone", "prod-db", "prod-web"} {
			if rs.mayRequest(name) {
				asks = append(asks, name)
			}
			if name != "editor" && name != "gone" && rs.mayReview(name) {
				reviews = append(reviews, name)
			}
		}
		if got := strings.Join(asks, " "); got != c.asks || !slices.Equal(rs.requestable(), asks) {
			t.Errorf("%s: asks for %q (%v), want %q", c.held, got, rs.requestable(), c.asks)
		}
		if got := strings.Join(reviews, " "); got != c.reviews {
			t.Errorf("%s: reviews %q, want %q", c.held, got, c.reviews)
		}
	}
	rs, err := f.roleSet([]string{"asker", "requester"}, nil)
	if err != nil || !rs.needsReason([]string{"prod-db"}) || rs.needsReason([]string{"auditor"}) ||
		rs.requestDuration([]string{"prod-db"}) != 2*time.Hour || rs.requestDuration([]string{"auditor"}) != requestTTL ||
		!slices.Equal(rs.suggestedReviewers(), []string{"carol"}) {
		t.Errorf("terms: %v, %s, %v, %v", rs.needsReason([]string{"auditor"}), rs.requestDuration([]string{"prod-db"}), rs.suggestedReviewers(), err)
	}
}

// An OpenSSH server knows nothing of roles: the proxy lets only those through to it who
// have a login there.
func TestRolesDecideAboutOpenSSHServers(t *testing.T) {
	f := startRoles(t)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	key, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AddSSHD(SSHDSpec{
		Hostname: "old-1", Addr: server.Addr().String(), Labels: map[string]string{"env": "prod"}, HostKey: string(ssh.MarshalAuthorizedKey(key.PublicKey())),
	}); err != nil {
		t.Fatal(err)
	}
	const nodes = "{allow: {logins: [root], node_labels: {env: %s}}}"
	for env, want := range map[string]codes.Code{"prod": codes.OK, "dev": codes.PermissionDenied} {
		l := f.as("old-"+env, spec("a", fmt.Sprintf(nodes, env)), nil)
		conn, err := f.proxySSH(f.transport(l), "old-1:0")
		if status.Code(err) != want {
			t.Errorf("%s: %v", env, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// The example of docs/devcluster-roles.md does what is said there, and nothing else.
func TestRoleOfLeastPrivilege(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "devcluster-roles.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	f := startCluster(t, func(c *Config) {
		c.SecondFactor, c.NodeLabels, c.Hostnames = factorOff, map[string]string{"env": "staging"}, []string{"node-1"}
	})
	f.secret = ""
	key, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AddSSHD(SSHDSpec{
		Hostname: "node-2", Addr: "127.0.0.1:1", Labels: map[string]string{"env": "prod"}, HostKey: string(ssh.MarshalAuthorizedKey(key.PublicKey())),
	}); err != nil {
		t.Fatal(err)
	}
	l := f.as("bot", example, nil)
	if got := fmt.Sprint(f.reach(l)); got != "[node-1:deploy]" {
		t.Errorf("reaches %s", got)
	}
	if left := l.tlsCert.NotAfter.Sub(f.clock.Now()); left > time.Hour {
		t.Errorf("a login of %s", left)
	}
	for _, ext := range []string{"permit-port-forwarding", "permit-agent-forwarding", "permit-X11-forwarding"} {
		if _, ok := l.sshCert.Extensions[ext]; ok {
			t.Error(ext)
		}
	}
	client, err := f.ssh(l, f.transport(l), "node-1", "deploy")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.RequestSubsystem("sftp"); err == nil {
		t.Error("files may be copied")
	}
	cc, auth := f.auth(l), "/"+authName+"/"
	for method, req := range map[string]proto.Message{
		auth + "GetRole": &pb.GetRoleRequest{Name: "access"}, "/" + usersName + "/GetUser": &pb.GetUserRequest{Name: "alice"},
		auth + "ListAccessRequests":    new(pb.ListAccessRequestsRequest),
		auth + "CreateAccessRequestV2": &pb.AccessRequest{Metadata: &pb.Metadata{Name: uuid.NewString()}, Spec: &pb.AccessRequestSpec{User: "bot", Roles: []string{"access"}}},
		auth + "SubmitAccessReview":    new(pb.AccessReviewSubmission), auth + "DeleteAccessRequest": new(pb.RequestID),
	} {
		if err := cc.Invoke(t.Context(), method, req, new(pb.Empty)); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", method, err)
		}
	}
}
