package devcluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// audited are the events of one kind that the log has.
func (f *fixture) audited(event string) (found []auditEvent) {
	f.t.Helper()
	for _, e := range auditLines(f.t, f.AuditLog()) {
		if e.Event == event {
			found = append(found, e)
		}
	}
	return found
}

// lastAudited waits for the n-th event of a kind, from 1 on, which is the last.
func (f *fixture) lastAudited(event string, n int) auditEvent {
	f.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; pause() {
		found := f.audited(event)
		if len(found) == n {
			e := found[n-1]
			if e.Time == "" || e.Cluster == "" {
				f.t.Errorf("%+v", e)
			}
			return e
		}
		if len(found) > n || time.Now().After(deadline) {
			f.t.Fatalf("%d events %s, want %d: %+v", len(found), event, n, found)
		}
	}
}

// logins are what the log says of them, a word each.
func (f *fixture) logins() (list []string) {
	f.t.Helper()
	for _, e := range f.audited(eventLogin) {
		line := e.User + " " + e.Method + " "
		if e.Success {
			line += "ok"
		} else {
			line += e.Error
		}
		if !strings.HasPrefix(e.RemoteAddr, "127.0.0.1") {
			f.t.Errorf("from %q", e.RemoteAddr)
		}
		list = append(list, line)
	}
	return list
}

// Every login is a line, the right one and the wrong one, whatever way it goes.
func TestAuditOfLogins(t *testing.T) {
	f := startCluster(t, withOn)
	var k softkey.Key
	f.register(&k, "blue key", true)
	finish := func(change func(map[string]any)) {
		f.do("POST", "/webapi/mfa/login/finish", finishBody(t, new(login), change))
	}
	f.login(nil)
	finish(func(m map[string]any) { m["totp_code"] = "000000" })
	finish(func(m map[string]any) {})
	f.do("POST", "/webapi/mfa/login/begin", `{"user":"alice","pass":"canary-wrong"}`)
	f.do("POST", "/webapi/mfa/login/begin", `{"user":"nobody\u001b[2J","pass":"canary-wrong"}`)
	raw, _ := f.challenge(beginAlice)
	answer, err := k.Get(f.origin(), raw)
	if err != nil {
		t.Fatal(err)
	}
	f.finish(answer, nil)
	f.finish(answer, nil)
	if raw, _ = f.challenge(beginPasswordless); len(raw) == 0 {
		t.Fatal("no challenge")
	}
	if answer, err = k.Get(f.origin(), raw); err != nil {
		t.Fatal(err)
	}
	f.finish(answer, nameless)
	f.clock.Advance(codePeriod)
	f.do("POST", "/webapi/sessions/web", `{"user":"alice","pass":"`+alicePassword+`","second_factor_token":"`+f.code()+`"}`)
	f.do("POST", "/webapi/mfa/login/finishsession", `{"user":"alice","webauthnAssertionResponse":{}}`)
	want := []string{
		"alice otp ok", "alice otp " + textWrongFactor, "alice password " + textMissingFactor, "alice password bad credentials",
		"nobody\x1b[2J password bad credentials", "alice webauthn ok", "alice webauthn " + textInvalid, "alice passwordless ok", "alice otp ok", "alice webauthn " + textInvalid,
	}
	if got := f.logins(); !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	// Headless: one that is approved, one that is denied.
	cc := f.auth(f.nextLogin())
	for _, state := range []headlessState{headlessApproved, headlessDenied} {
		h := f.startHeadless("alice", nil)
		if _, err := callHeadless(t, cc, h.id); err != nil {
			t.Fatal(err)
		}
		if err := updateHeadless(t, cc, h.id, state, f.touchedMessage(&k, scopeHeadless)); err != nil {
			t.Fatal(err)
		}
		h.status(t)
	}
	if got := f.logins()[len(want)+1:]; !slices.Equal(got, []string{"alice headless ok", "alice headless " + textHeadlessDenied}) {
		t.Errorf("%q", got)
	}
	f.noSecretInAudit(f.secret)
}

// noSecretInAudit looks for what must not be in the log.
func (f *fixture) noSecretInAudit(more ...string) {
	f.t.Helper()
	raw, err := os.ReadFile(f.AuditLog())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, secret := range append(more, "canary", alicePassword, "PRIVATE KEY", "-cert-v01@", "BEGIN ", zeroKey) {
		if bytes.Contains(raw, []byte(secret)) {
			f.t.Errorf("%q is in the audit log:\n%s", secret, raw)
		}
	}
}

func TestAuditOfBrowserLogins(t *testing.T) {
	f := startSSOCluster(t, nil)
	_, state := f.begin("github", "gh")
	f.back("github", state, f.signedIn("gh", "bob", ""))
	_, state = f.begin("github", "gh")
	f.back("github", state, f.signedIn("gh", "carol", "")) // has no role
	_, state = f.begin("github", "gh")
	f.back("github", state, "canary-code")
	f.do("POST", "/webapi/github/login/console", consoleBody(t, map[string]any{"connector_id": "nope"}))
	f.do("GET", "/v1/webapi/github/callback?state=unknown&code=canary-code", "") // is nobody's
	got := f.logins()
	if len(got) != 4 || got[0] != "bob sso ok" || !strings.HasPrefix(got[1], "carol sso carol has no role") ||
		!strings.HasPrefix(got[2], " sso ") || got[3] != ` sso there is no github connector "nope"` {
		t.Errorf("%q", got)
	}
	if e := f.audited(eventLogin); e[0].Connector != "gh" || e[3].Connector != "nope" {
		t.Errorf("%+v", e)
	}
	f.noSecretInAudit()
}

func TestAuditOfLoginsTo14(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Emulate, c.SecondFactor = emulate14, factorOff })
	f.do("POST", "/webapi/ssh/certs", `{"user":"alice","password":"canary-wrong"}`)
	signer, err := ssh.NewSignerFromSigner(rsaKey(t))
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"user": "alice", "password": alicePassword, "pub_key": ssh.MarshalAuthorizedKey(signer.PublicKey())})
	if err != nil {
		t.Fatal(err)
	}
	if resp, raw := f.do("POST", "/webapi/ssh/certs", string(body)); resp.StatusCode != 200 {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	if got := f.logins(); !slices.Equal(got, []string{"alice password " + textWrongPassword, "alice password ok"}) {
		t.Errorf("%q", got)
	}
}

func rsaKey(t *testing.T) userKey {
	t.Helper()
	key, err := newUserKey(suiteLegacy, formatFile)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A call that is denied is a line, whatever call it is; so is one that gives somebody more.
func TestAuditOfCalls(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SecondFactor = factorOff; withLeaf(c) })
	if _, err := f.AddUser(UserSpec{Name: "bob", Password: alicePassword, Roles: []string{roleRequester}, Logins: []string{"root"}}); err != nil {
		t.Fatal(err)
	}
	as := func(name string) (*login, *grpc.ClientConn) {
		l := f.login(func(m map[string]any) { m["user"] = name })
		return l, f.auth(l)
	}
	l, alice := as("alice")
	_, bob := as("bob")
	auth := "/" + authName + "/"
	if err := alice.Invoke(t.Context(), auth+"Ping", new(pb.Empty), new(pb.PingResponse)); err != nil {
		t.Fatal(err)
	}
	if err := alice.Invoke(t.Context(), auth+"GetRole", &pb.GetRoleRequest{Name: "editor"}, new(pb.Role)); err == nil {
		t.Fatal("alice reads roles")
	}
	e := f.lastAudited(eventDenied, 1)
	if e.User != "alice" || e.Call != auth+"GetRole" || e.Success || !strings.Contains(e.Error, `"role"`) || !strings.HasPrefix(e.RemoteAddr, "127.0.0.1:") || e.Cluster != "dev.example" {
		t.Errorf("%+v", e)
	}
	stream, err := alice.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, auth+"WatchEvents")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.SendMsg(&pb.Watch{Kinds: []*pb.WatchKind{{Kind: "user"}}}), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(pb.Event)); err == nil {
		t.Fatal("alice watches users")
	}
	if e = f.lastAudited(eventDenied, 2); e.Call != auth+"WatchEvents" || e.User != "alice" {
		t.Errorf("%+v", e)
	}
	// On the leaf, under its name.
	l.hostCAs.AddCert(f.leaf.auths.host.tlsCert)
	leaf := f.dial(l, alpnAuth+encodeCluster("leaf.example"), alpnH2)
	if err := leaf.Invoke(t.Context(), auth+"GetRole", &pb.GetRoleRequest{Name: "editor"}, new(pb.Role)); err == nil {
		t.Fatal("alice reads roles of the leaf")
	}
	if e = f.lastAudited(eventDenied, 3); e.Cluster != "leaf.example" {
		t.Errorf("%+v", e)
	}
	if err := alice.Invoke(t.Context(), auth+"GenerateUserCerts", certsRequest(t, l, nil), new(pb.Certs)); err != nil {
		t.Fatal(err)
	}
	if e = f.lastAudited(eventCert, 1); !e.Success || e.User != "alice" || e.Route != "leaf.example" || e.Call != auth+"GenerateUserCerts" {
		t.Errorf("%+v", e)
	}
	id := uuid.NewString()
	request := &pb.AccessRequest{
		Kind: "access_request", Metadata: &pb.Metadata{Name: id}, Spec: &pb.AccessRequestSpec{User: "bob", Roles: []string{"editor"}, RequestReason: "canary-reason"},
	}
	if err := bob.Invoke(t.Context(), auth+"CreateAccessRequestV2", request, new(pb.AccessRequest)); err != nil {
		t.Fatal(err)
	}
	if e = f.lastAudited("access_request.create", 1); e.User != "bob" || e.RequestID != id || !slices.Equal(e.Roles, []string{"editor"}) || e.State != "pending" {
		t.Errorf("%+v", e)
	}
	if err := bob.Invoke(t.Context(), auth+"DeleteAccessRequest", &pb.RequestID{Id: id}, new(pb.Empty)); err != nil {
		t.Fatal(err)
	}
	if e = f.lastAudited("access_request.delete", 1); e.RequestID != id {
		t.Errorf("%+v", e)
	}
	// Certificates that have ended on a connection that has not.
	f.clock.Advance(13 * time.Hour)
	if err := alice.Invoke(t.Context(), auth+"Ping", new(pb.Empty), new(pb.PingResponse)); err == nil {
		t.Fatal("an expired certificate")
	}
	if e = f.lastAudited(eventDenied, 4); !strings.Contains(e.Error, "expired") {
		t.Errorf("%+v", e)
	}
	f.noSecretInAudit()
}

// Sessions begin and end, and who may not log in on a node is told apart from who may.
func TestAuditOfSessions(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SecondFactor = factorOff })
	l := f.login(nil)
	cc := f.transport(l)
	client, err := f.ssh(l, cc, "node-1", "root")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.Output("echo canary-output; exit 3"); string(out) != "canary-output\n" || err == nil {
		t.Fatalf("%q, %v", out, err)
	}
	start, end := f.lastAudited(eventSessionStart, 1), f.lastAudited(eventSessionEnd, 1)
	if start.User != "alice" || start.Login != "root" || start.Node != "node-1" || start.NodeID != f.nodes[0].id || start.Kind != "exec" ||
		start.SessionID == "" || !start.Success || !strings.HasPrefix(start.RemoteAddr, "127.0.0.1:") || start.ExitStatus != nil {
		t.Errorf("%+v", start)
	}
	if end.SessionID != start.SessionID || end.ExitStatus == nil || *end.ExitStatus != 3 || *end.BytesSent != int64(len("canary-output\n")) || end.Seconds == nil || end.User != "alice" {
		t.Errorf("%+v", end)
	}
	files, err := sftp.NewClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if e := f.lastAudited(eventSessionEnd, 2); e.Kind != "sftp" || e.ExitStatus == nil || e.BytesSent != nil {
		t.Errorf("%+v", e)
	}
	// A client that leaves in the middle: nobody knows the status.
	if session, err = client.NewSession(); err != nil {
		t.Fatal(err)
	}
	if err := session.Start("sleep 60"); err != nil {
		t.Fatal(err)
	}
	f.lastAudited(eventSessionStart, 3)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if e := f.lastAudited(eventSessionEnd, 3); e.ExitStatus != nil {
		t.Errorf("%+v", e)
	}
	if _, err := f.ssh(l, cc, "node-1", "canary"); err == nil {
		t.Fatal("a login that is not alice's")
	}
	if e := f.lastAudited(eventDenied, 1); e.User != "alice" || e.Login != "canary" || e.Node != "node-1" || e.Error == "" {
		t.Errorf("%+v", e)
	}
	// A key that nobody has certified is nobody's.
	stranger := *l
	stranger.sshCert = &ssh.Certificate{Key: l.sshKey.PublicKey(), CertType: ssh.UserCert, KeyId: "admin", ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	if err := stranger.sshCert.SignCert(strings.NewReader(strings.Repeat("x", 1000)), l.sshKey); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ssh(&stranger, cc, "node-1", "root"); err == nil {
		t.Fatal("a certificate of nobody's")
	}
	if e := f.lastAudited(eventDenied, 2); e.User != "" || e.Login != "root" {
		t.Errorf("%+v", e)
	}
	raw, err := os.ReadFile(f.AuditLog())
	if err != nil || bytes.Contains(raw, []byte("canary-output")) {
		t.Errorf("what ran is in the log: %s", raw)
	}
}

// Nodes that want a second factor, and those that keep their files.
func TestAuditOfRefusedSessions(t *testing.T) {
	f := startCareful(t, func(c *Config) { c.Nodes = 2 }, "access", roleSessionMFAProd, "no-copy")
	l := f.login(nil)
	cc := f.transport(l)
	client, err := f.ssh(l, cc, "node-2", "root")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if e := f.lastAudited(eventDenied, 1); e.Node != "node-2" || e.Error != textSessionMFA {
		t.Errorf("%+v", e)
	}
	other, err := f.ssh(l, cc, "node-1", "root")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := sftp.NewClient(other); err == nil {
		t.Fatal("files were copied")
	}
	if e := f.lastAudited(eventDenied, 2); e.Node != "node-1" || e.Error != noCopying {
		t.Errorf("%+v", e)
	}
}

// What an administrator signs is in the log, whether the cluster runs or not, and a restart
// goes on with it.
func TestAuditOfSigning(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SecondFactor = factorOff })
	id, err := f.SignUser(SignSpec{User: "alice", TTL: 8760 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if e := f.lastAudited(eventCert, 1); e.User != "alice" || e.Method != methodSign || !e.Success || e.Expires != id.ValidUntil.Format(time.RFC3339) {
		t.Errorf("%+v", e)
	}
	if _, err := f.SignUser(SignSpec{User: "bob"}); err == nil {
		t.Fatal("nobody's")
	}
	if e := f.lastAudited(eventCert, 2); e.User != "bob" || e.Success || e.Error != "user bob does not exist" {
		t.Errorf("%+v", e)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAdmin(f.state.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.SignUser(SignSpec{User: "alice"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	f.lastAudited(eventCert, 3)
	again, err := Start(t.Context(), Config{Dir: f.state.dir, Addr: "127.0.0.1:0", SecondFactor: factorOff, Clock: f.clock.Now, NoRateLimit: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.AuditLog() != f.AuditLog() {
		t.Errorf("%s", again.AuditLog())
	}
	if _, err := again.SignUser(SignSpec{User: "alice"}); err != nil {
		t.Fatal(err)
	}
	f.lastAudited(eventCert, 4)
	f.noSecretInAudit()
}
