package devcluster

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// startCareful has alice need a second factor for sessions, by these roles.
func startCareful(t *testing.T, change func(*Config), roles ...string) *fixture {
	t.Helper()
	f := startCluster(t, func(c *Config) {
		c.SecondFactor = factorOn
		if change != nil {
			change(c)
		}
	})
	if err := f.changeUser("alice", func(u *user) error { u.Roles = roles; return nil }); err != nil {
		t.Fatal(err)
	}
	return f
}

// How nodes turn away a certificate that no second factor vouches for. Each way is one
// that clients meet.
func TestSessionMFARefusals(t *testing.T) {
	for _, mode := range []string{"", refuseChannel, refuseRequest, refuseAuth} {
		t.Run(mode, func(t *testing.T) {
			f := startCareful(t, func(c *Config) { c.MFARefusal, c.Nodes = mode, 2 }, "access", roleSessionMFAProd)
			l := f.login(nil)
			cc := f.transport(l)
			free, err := f.ssh(l, cc, "node-1", "root")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := free.NewSession(); err != nil {
				t.Errorf("a node that needs nothing: %v", err)
			}
			client, err := f.ssh(l, cc, "node-2", "root")
			if mode == refuseAuth {
				if err == nil || !strings.Contains(err.Error(), "unable to authenticate") || strings.Contains(err.Error(), "MFA") {
					t.Errorf("%v, want a refusal without words", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var rejected *ssh.OpenChannelError
			if _, _, err = client.OpenChannel("direct-tcpip", nil); !errors.As(err, &rejected) || rejected.Message != textSessionMFA {
				t.Errorf("another channel: %v", err)
			}
			for request, want := range map[string]bool{"keepalive@openssh.com": true, "session-id-query@goteleport.com": false} {
				if ok, _, err := client.SendRequest(request, true, nil); ok != want || err != nil {
					t.Errorf("%s: %v, %v", request, ok, err)
				}
			}
			session, err := client.NewSession()
			if mode != refuseRequest {
				if !errors.As(err, &rejected) || rejected.Message != textSessionMFA || rejected.Reason == ssh.Prohibited {
					t.Errorf("%v, want words that are not those of a limit", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			stderr, err := session.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			err = session.Start("true")
			said, _ := io.ReadAll(stderr) // the node closes the channel
			if err == nil || !strings.Contains(string(said), textSessionMFA) {
				t.Errorf("%v, %q", err, said)
			}
		})
	}
	if _, err := Start(t.Context(), Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", MFARefusal: "politely"}); err == nil {
		t.Error("an unknown way was accepted")
	}
}

// Who needs a second factor where.
func TestIsMFARequired(t *testing.T) {
	f := startCareful(t, func(c *Config) { c.Nodes = 2 }, "access", roleSessionMFAProd)
	cc := f.auth(f.login(nil))
	ask := func(node, login string) *pb.IsMFARequiredResponse {
		t.Helper()
		resp := new(pb.IsMFARequiredResponse)
		if err := cc.Invoke(t.Context(), "/proto.AuthService/IsMFARequired", &pb.IsMFARequiredRequest{Node: &pb.NodeLogin{Node: node, Login: login}}, resp); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	prod := f.nodes[1]
	for _, name := range []string{prod.hostname, prod.id, "127.0.0.2"} {
		if r := ask(name, "root"); !r.Required || r.MfaRequired != mfaIsRequired {
			t.Errorf("%s: %v", name, r)
		}
	}
	for _, name := range []string{"node-1", "nowhere"} {
		if r := ask(name, "root"); r.Required || r.MfaRequired != mfaNotRequired {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := ask("node-1", joinPrincipal); !r.Required {
		t.Error("joining is reported as not required")
	}
	r, _, err := f.role(roleSessionMFAProd)
	if role := r.message(); err != nil || role.Spec.Options.RequireMfaType != 1 {
		t.Errorf("the role says %d, %v", role.GetSpec().GetOptions().GetRequireMfaType(), err)
	}
}

// The stream of 14.x is for 14.x alone, and needs what it says.
func TestSingleUseStream(t *testing.T) {
	const method = "/proto.AuthService/GenerateUserSingleUseCerts"
	open := func(f *fixture, l *login, init *pb.UserCertsRequest) (grpc.ClientStream, *pb.UserSingleUseCertsResponse, error) {
		stream, err := f.auth(l).NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.SendMsg(&pb.UserSingleUseCertsRequest{Request: &pb.UserSingleUseCertsRequest_Init{Init: init}})
		resp := new(pb.UserSingleUseCertsResponse)
		return stream, resp, stream.RecvMsg(resp)
	}
	f := startCareful(t, nil, roleSessionMFA)
	if _, _, err := open(f, f.login(nil), &pb.UserCertsRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("18.x: %v", err)
	}

	f = startCareful(t, func(c *Config) { c.Emulate = emulate14 }, roleSessionMFA)
	var k softkey.Key
	f.register(&k, "key", false)
	key := newRSA(t)
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	l := f.login14(key)
	required := new(pb.IsMFARequiredResponse)
	if err := f.auth(l).Invoke(t.Context(), "/proto.AuthService/IsMFARequired", &pb.IsMFARequiredRequest{Node: &pb.NodeLogin{Node: "node-1", Login: "root"}}, required); err != nil || !required.Required || required.MfaRequired != 0 {
		t.Errorf("%v, %v", required, err)
	}
	init := func(change func(*pb.UserCertsRequest)) *pb.UserCertsRequest {
		r := &pb.UserCertsRequest{
			Username: "alice", Usage: usageSSH, NodeName: "node-1", SshLogin: "root", RouteToCluster: f.settings.Name,
			PublicKey: ssh.MarshalAuthorizedKey(signer.PublicKey()),
		}
		if change != nil {
			change(r)
		}
		return r
	}
	for name, tc := range map[string]struct {
		change func(*pb.UserCertsRequest)
		code   codes.Code
	}{
		"another user": {func(r *pb.UserCertsRequest) { r.Username = "bob" }, codes.PermissionDenied},
		"no node":      {func(r *pb.UserCertsRequest) { r.NodeName = "" }, codes.InvalidArgument},
		"no key":       {func(r *pb.UserCertsRequest) { r.PublicKey = nil }, codes.Unknown},
		"not SSH":      {func(r *pb.UserCertsRequest) { r.Usage = 2 }, codes.Unimplemented},
	} {
		if _, _, err := open(f, l, init(tc.change)); status.Code(err) != tc.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, resp, err := open(f, l, init(func(r *pb.UserCertsRequest) { r.NodeName = "nowhere" })); err != nil || resp.GetMfaChallenge().GetMfaRequired() != mfaNotRequired {
		t.Errorf("a node that is not there: %v, %v", resp, err)
	}
	stream, resp, err := open(f, l, init(nil))
	if err != nil || resp.GetMfaChallenge().GetWebauthnChallenge() == nil || resp.GetMfaChallenge().GetMfaRequired() != 0 {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = stream.SendMsg(&pb.UserSingleUseCertsRequest{Request: &pb.UserSingleUseCertsRequest_MfaResponse{MfaResponse: f.respond(&k, resp.GetMfaChallenge())}})
	if err := stream.RecvMsg(resp); err != nil {
		t.Fatal(err)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey(resp.GetCert().GetSsh())
	if err != nil {
		t.Fatal(err)
	}
	cert := parsed.(*ssh.Certificate)
	left := time.Unix(int64(cert.ValidBefore), 0).Sub(f.clock.Now())
	if cert.Extensions["mfa-verified"] == "" || left > singleUseTTL || !slices.Contains(cert.ValidPrincipals, "root") {
		t.Errorf("a certificate for %v with %v", left, cert.Extensions)
	}
}

// login14 logs alice in with one key, as 14.x does.
func (f *fixture) login14(key *rsa.PrivateKey) *login {
	f.t.Helper()
	l := &login{tlsKey: key}
	resp, raw := f.do("POST", "/webapi/mfa/login/finish", body14(f.t, key, func(m map[string]any) { m["totp_code"] = f.code() }))
	if err := json.Unmarshal(raw, &l.resp); err != nil || resp.StatusCode != http.StatusOK {
		f.t.Fatalf("%s %s", resp.Status, raw)
	}
	l.tlsCert = parseCert(f.t, l.resp.TLSCert)
	l.hostCAs = x509.NewCertPool()
	l.hostCAs.AppendCertsFromPEM(l.resp.HostSigners[0].TLSCerts[0])
	return l
}

// respond has a key answer a challenge of the auth API.
func (f *fixture) respond(k *softkey.Key, challenge *pb.MFAAuthenticateChallenge) *pb.MFAAuthenticateResponse {
	f.t.Helper()
	options := challenge.WebauthnChallenge.PublicKey
	client, hash := softkey.ClientData("webauthn.get", f.origin(), options.Challenge)
	req := softkey.GetRequest{ClientDataHash: hash, RPID: options.RpId}
	for _, c := range options.AllowCredentials {
		req.Allow = append(req.Allow, c.Id)
	}
	got, err := k.GetAssertion(req)
	if err != nil || len(got) != 1 {
		f.t.Fatalf("%d answers, %v", len(got), err)
	}
	return &pb.MFAAuthenticateResponse{Response: &pb.MFAAuthenticateResponse_Webauthn{Webauthn: &pb.CredentialAssertionResponse{
		Type: publicKey, RawId: got[0].CredentialID,
		Response: &pb.AuthenticatorAssertionResponse{ClientDataJson: client, AuthenticatorData: got[0].AuthData, Signature: got[0].Signature},
	}}}
}
