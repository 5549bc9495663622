package devcluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// Roles like access that want a second factor for each session: on every node, or on
// those with the label env=prod, whatever other roles say.
const (
	roleSessionMFA     = "session-mfa"
	roleSessionMFAProd = "session-mfa-prod"
)

// How nodes turn away who needs a second factor; see Config.MFARefusal.
const (
	refuseChannel = "channel"
	refuseRequest = "request"
	refuseAuth    = "auth"
)

const (
	// textSessionMFA is what clients look for.
	textSessionMFA = "access to resource requires MFA"
	// singleUseTTL is how long a certificate for one session is good.
	singleUseTTL = time.Minute
	// reuseAllowed is what challenges say that may be answered more than once.
	reuseAllowed = 1
)

// sessionMFA are the settings of second factors for sessions.
type sessionMFA struct {
	refusal string
	noReuse bool
}

// putMFARoles makes the roles, also in a state from before there were any.
func putMFARoles(s *state, cfg Config) error {
	if mode := or(cfg.MFARefusal, refuseChannel); !slices.Contains([]string{refuseChannel, refuseRequest, refuseAuth}, mode) {
		return fmt.Errorf("MFA refusal %q is not one of %s, %s, %s", mode, refuseChannel, refuseRequest, refuseAuth)
	}
	return s.update(func(tx *stateTx) error {
		for name, labels := range map[string]map[string][]string{roleSessionMFA: {"*": {"*"}}, roleSessionMFAProd: {"env": {"prod"}}} {
			r := presetRoles()[0]
			r.Name, r.NodeLabels, r.SessionMFA = name, labels, true
			if err := tx.put(bucketRoles, name, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// needMFA reports whether a role that has to do with a node of these labels wants a
// second factor for sessions there.
func (rs roleSet) needMFA(labels map[string]string) bool {
	return rs.any(func(r role) bool { return r.SessionMFA && r.allowed.nodes.match(labels) })
}

// judge is what a node thinks of a certificate: an error refuses the login, words
// refuse what comes after it.
func (m sessionMFA) judge(cert *ssh.Certificate, needed bool) (refusal string, err error) {
	switch {
	case !needed || cert.Extensions["mfa-verified"] != "":
		return "", nil
	case m.refusal == refuseAuth:
		return "", errors.New(textSessionMFA)
	}
	return textSessionMFA, nil
}

// permRefusal is where the words are in the permissions.
const permRefusal permKey = "refusal"

// refuses turns a channel away, if there is a reason to.
func (nc *nodeConn) refuses(ch ssh.NewChannel) bool {
	if nc.refusal == "" || nc.cluster.sessionMFA.refusal == refuseRequest && ch.ChannelType() == "session" {
		return false
	}
	_ = ch.Reject(ssh.ConnectionFailed, nc.refusal)
	return true
}

// refusesGlobal answers no to everything but the question whether the node is there, if
// there is a reason to.
func (nc *nodeConn) refusesGlobal(req *ssh.Request) bool {
	if nc.refusal == "" || req.Type == "keepalive@openssh.com" {
		return false
	}
	if req.WantReply {
		_ = req.Reply(false, nil)
	}
	return true
}

// refusesRequest reports whether a request has to be refused that would run something.
func (nc *nodeConn) refusesRequest(req *ssh.Request) bool {
	return nc.refusal != "" && slices.Contains([]string{"shell", "exec", "subsystem"}, req.Type)
}

// mayReuse reports whether an answer in that scope may count more than once.
func (c *Cluster) mayReuse(scope challengeScope) bool {
	return scope == scopeUserSession && !c.sessionMFA.noReuse
}

// allowReuse lets the challenge that waits there be answered more than once.
func (c *ceremonies) allowReuse(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if asked := c.waiting[key]; asked != nil {
		asked.reusable = true
	}
}

// mfaRequired answers whether the caller needs a second factor for a session. Nodes
// that nobody knows need none.
func (c *Cluster) mfaRequired(ctx context.Context, req *pb.IsMFARequiredRequest) (bool, error) {
	if req.Node == nil {
		return false, invalid("no resource is named that could require MFA")
	}
	if req.Node.Login == joinPrincipal {
		return true, nil
	}
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(matchNodes(c.nodes, req.Node.Node, ""), func(n *node) bool { return roles.needMFA(n.labels) }), nil
}

func (c *Cluster) rpcIsMFARequired(ctx context.Context, req *pb.IsMFARequiredRequest) (*pb.IsMFARequiredResponse, error) {
	required, err := c.mfaRequired(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := &pb.IsMFARequiredResponse{Required: required}
	switch {
	case c.is14():
	case required:
		resp.MfaRequired = mfaIsRequired
	default:
		resp.MfaRequired = mfaNotRequired
	}
	return resp, nil
}

// singleUse issues a certificate for one session to who has answered the challenge
// with a security key.
func (c *Cluster) singleUse(ctx context.Context, u *user, req *pb.UserCertsRequest) (*pb.Certs, error) {
	key, err := parseSSHPublicKey(req.SshPublicKey)
	if err != nil {
		return nil, invalid("%v", err)
	}
	line, err := c.singleUseCert(ctx, u, key, req)
	if err != nil {
		return nil, err
	}
	return &pb.Certs{Ssh: line, SshCaCerts: [][]byte{c.auths.host.authorizedKey()}}, nil
}

func (c *Cluster) singleUseCert(ctx context.Context, u *user, key ssh.PublicKey, req *pb.UserCertsRequest) ([]byte, error) {
	answer := req.MfaResponse.GetWebauthn()
	switch {
	case answer != nil:
	case req.MfaResponse.GetTotp() != nil:
		return nil, refused("one-time codes are not accepted for sessions; expected a WebAuthn or SSO response")
	default:
		return nil, refused("%s: no answer to a challenge in the request", textSessionMFA)
	}
	_, device, err := c.finishAssertion(u.Name, scopeUserSession, assertionOf(answer))
	if errors.Is(err, errBadAnswer) {
		err = refused("%s", err)
	}
	if err != nil {
		return nil, err
	}
	id := caller(ctx)
	order := certRequest{user: u, format: req.Format, loginIP: callerIP(ctx), mfaDevice: device.ID, until: id.expires}
	if order.route, err = c.route(req.RouteToCluster); err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	expires, err := c.assume(&order, req, id, id.expires)
	if err != nil {
		return nil, err
	}
	if order.roles, err = c.roleSet(order.roleNames(), u.traits()); err != nil {
		return nil, err
	}
	if order.ttl = min(expires.Sub(c.now()), singleUseTTL); order.ttl <= 0 {
		return nil, invalid("the certificate would have expired already")
	}
	c.log.Info("certificate for a session issued", "user", u.Name, "node", req.NodeName, "login", req.SshLogin, "device", device.Name)
	return c.signSSH(key, order)
}

// challenge14 takes out of a request what 14.x does not know. Its challenges have no
// scopes; see also scopeOf.
func (c *Cluster) challenge14(req *pb.CreateAuthenticateChallengeRequest) *pb.CreateAuthenticateChallengeRequest {
	if !c.is14() {
		return req
	}
	old := proto.CloneOf(req)
	old.MfaRequiredCheck = nil
	old.ChallengeExtensions = &pb.ChallengeExtensions{Scope: int32(scopeManageDevices)}
	return old
}

// scopeOf is the scope that a user's challenge is kept under: 14.x knows only one.
func (c *Cluster) scopeOf(scope challengeScope) challengeScope {
	if c.is14() && scope != scopePasswordless {
		return scopeManageDevices
	}
	return scope
}

// certs14 takes out of a request what 14.x does not know.
func (c *Cluster) certs14(req *pb.UserCertsRequest) *pb.UserCertsRequest {
	if !c.is14() {
		return req
	}
	old := proto.CloneOf(req)
	old.Purpose, old.SshPublicKey, old.TlsPublicKey = 0, nil, nil
	return old
}

// singleUseStreams is how 14.x issues certificates for one session; later servers do
// not know the call.
func (c *Cluster) singleUseStreams() []grpc.StreamDesc {
	if !c.is14() {
		return nil
	}
	return []grpc.StreamDesc{{
		StreamName: "GenerateUserSingleUseCerts", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error { return c.singleUse14(s) },
	}}
}

// singleUse14 is the dialogue: what is wanted, the challenge, the answer, the
// certificate.
func (c *Cluster) singleUse14(stream grpc.ServerStream) error {
	ctx := stream.Context()
	first := new(pb.UserSingleUseCertsRequest)
	if err := stream.RecvMsg(first); err != nil {
		return err
	}
	req := first.GetInit()
	if req == nil {
		return invalid("expected Init, got another request")
	}
	if req.Usage != usageSSH {
		return status.Error(codes.Unimplemented, "no resource here but nodes needs certificates of its own")
	}
	req.Purpose = purposeSingleUse
	u, err := c.certsCaller(ctx, req)
	if err != nil {
		return err
	}
	key, err := parseSSHPublicKey(req.PublicKey)
	if err != nil {
		return status.Error(codes.Unknown, err.Error())
	}
	challenge := &pb.MFAAuthenticateChallenge{MfaRequired: mfaNotRequired}
	required, err := c.mfaRequired(ctx, &pb.IsMFARequiredRequest{Node: &pb.NodeLogin{Node: req.NodeName, Login: req.SshLogin}})
	if or(req.RouteToCluster, c.settings.Name) != c.settings.Name { // the leaf knows, and has been asked
		required = true
	}
	if err == nil && required {
		challenge, err = c.rpcChallenge(ctx, &pb.CreateAuthenticateChallengeRequest{})
	}
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&pb.UserSingleUseCertsResponse{Response: &pb.UserSingleUseCertsResponse_MfaChallenge{MfaChallenge: challenge}}); err != nil || !required {
		return err
	}
	second := new(pb.UserSingleUseCertsRequest)
	if err := stream.RecvMsg(second); err != nil {
		return err
	}
	req.MfaResponse = second.GetMfaResponse()
	line, err := c.singleUseCert(ctx, u, key, req)
	if err != nil {
		return err
	}
	return stream.SendMsg(&pb.UserSingleUseCertsResponse{Response: &pb.UserSingleUseCertsResponse_Cert{
		Cert: &pb.SingleUseUserCert{Cert: &pb.SingleUseUserCert_Ssh{Ssh: line}},
	}})
}
