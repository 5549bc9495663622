package devcluster

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// Who may not ask for access may not by the call of 14.x either.
func TestDeniedRequestsUnder14(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Emulate = emulate14 })
	barred := spec("barred", "{allow: {request: {roles: [editor]}}, deny: {rules: [{resources: [access_request], verbs: [create]}]}}")
	if _, err := f.CreateRoles([]byte(barred), false); err != nil {
		t.Fatal(err)
	}
	if err := f.UpdateUser("alice", UserChange{Roles: []string{"barred"}}); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	err = f.auth(f.login14(key)).Invoke(t.Context(), methodAuth+"CreateAccessRequest", &pb.AccessRequest{
		Metadata: &pb.Metadata{Name: uuid.NewString()}, Spec: &pb.AccessRequestSpec{User: "alice", Roles: []string{"editor"}},
	}, new(pb.Empty))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("asked for access: %v", err)
	}
	if list, err := f.AccessRequests(); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// A user whom a connector has made is gone when it says so, also for those who have longer
// certificates in the name.
func TestUserWhoIsOver(t *testing.T) {
	f := startRoles(t)
	l := f.as("sam", spec("plain", "{allow: {logins: [root]}}"), nil)
	end := f.clock.Now().Add(time.Minute)
	if err := f.changeUser("sam", func(u *user) error {
		u.Source, u.Expires = "saml/corp", end
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	current := func() error {
		return f.auth(l).Invoke(t.Context(), methodAuth+"GetCurrentUser", new(pb.Empty), new(pb.User))
	}
	if err := current(); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(2 * time.Minute)
	if err := current(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "sam is not found") {
		t.Errorf("calls: %v", err)
	}
	if _, err := f.SignUser(SignSpec{User: "sam"}); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("is signed for: %v", err)
	}
}

// The proxy's SSH server leads to OpenSSH servers too, to themselves, and only those whose
// roles have a login there.
func TestOpenSSHServersBehindTheSSHProxy(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SeparatePorts, c.SecondFactor = true, factorOff })
	f.secret = ""
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "SSH-2.0-theirs\r\n")
			_ = conn.Close()
		}
	}()
	key, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AddSSHD(SSHDSpec{
		Hostname: "old-1", Addr: server.Addr().String(), Labels: map[string]string{"env": "prod"}, HostKey: string(ssh.MarshalAuthorizedKey(key.PublicKey())),
	}); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(server.Addr().String())
	for env, want := range map[string]string{"prod": "SSH-2.0-theirs", "dev": "access denied: old-dev has no login on old-1"} {
		l := f.as("old-"+env, spec("a", "{allow: {logins: [root], node_labels: {env: "+env+"}}}"), nil)
		client, err := f.sshProxy(rawDial(t, f.SSHAddr()), l, "root")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		conn, err := client.Dial("tcp", "old-1:"+port)
		if err != nil {
			got = err.Error()
		} else {
			got, _ = bufio.NewReader(conn).ReadString('\n')
			_ = conn.Close()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", env, got, want)
		}
	}
}

// What a terminal would act on is no login, whoever says that somebody has it.
func TestLoginsOfControlCharacters(t *testing.T) {
	for _, login := range []string{"\x1b[2J", "root\r", "a\x00b", "\u0085"} {
		if err := checkLogin(login); err == nil {
			t.Errorf("%q is a login", login)
		}
		j := newJudge(&conditions{Logins: []string{"{{internal.logins}}"}}, map[string][]string{"logins": {login, "root"}})
		if len(j.logins) != 1 || j.logins[0] != "root" {
			t.Errorf("%q", j.logins)
		}
	}
}

// Who has looked at a request decides about that one: its ID is not used for another.
func TestRequestIDIsUsedOnce(t *testing.T) {
	f := startRoles(t)
	eve := f.auth(f.as("eve", spec("asker", "{allow: {request: {roles: [auditor, editor]}}}"), nil))
	id := uuid.NewString()
	ask := func(role string) error {
		return eve.Invoke(t.Context(), methodAuth+"CreateAccessRequestV2", &pb.AccessRequest{
			Metadata: &pb.Metadata{Name: id}, Spec: &pb.AccessRequestSpec{User: "eve", Roles: []string{role}},
		}, new(pb.AccessRequest))
	}
	take := func() error {
		return eve.Invoke(t.Context(), methodAuth+"DeleteAccessRequest", &pb.RequestID{Id: id}, new(pb.Empty))
	}
	if err := ask("auditor"); err != nil {
		t.Fatal(err)
	}
	if err := take(); err != nil {
		t.Fatal(err)
	}
	if err := ask("editor"); status.Code(err) != codes.AlreadyExists {
		t.Errorf("asked for something else: %v", err)
	}
	if err := take(); status.Code(err) != codes.NotFound {
		t.Errorf("taken back again: %v", err)
	}
	if list, err := f.AccessRequests(); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := f.ResolveRequest(id, true, ""); err == nil {
		t.Error("approved all the same")
	}
}
