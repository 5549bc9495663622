package devcluster

import (
	"context"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// Ways to log in, as the audit log names them.
const (
	methodPassword     = "password"
	methodOTP          = "otp"
	methodWebAuthn     = "webauthn"
	methodPasswordless = "passwordless"
	methodSSO          = "sso"
	methodHeadless     = "headless"
	methodSign         = "sign" // no login: an administrator's certificate
)

// loginNote is who tries to log in, how, and from where.
type loginNote struct{ user, method, connector, from string }

// noteLogin notes how a login has ended. It is called once for each.
func (c *Cluster) noteLogin(n loginNote, err error) {
	e := auditEvent{Event: eventLogin, User: n.user, Method: n.method, Connector: n.connector, RemoteAddr: n.from, Success: err == nil}
	if err != nil {
		e.Error = err.Error()
	}
	c.note(e)
}

// method is how the request wants to log in.
func (req *finishRequest) method() string {
	switch {
	case req.hasWebauthn() && req.User == "":
		return methodPasswordless
	case req.hasWebauthn():
		return methodWebAuthn
	case req.TOTPCode != "":
		return methodOTP
	}
	return methodPassword
}

// auditedCalls are the calls that are noted when they succeed: they change what somebody
// can do. Every call is noted when it is denied.
func auditedCalls() map[string]string {
	return map[string]string{
		"GenerateUserCerts":          eventCert,
		"GenerateUserSingleUseCerts": eventCert,
		"CreateAccessRequestV2":      "access_request.create",
		"CreateAccessRequest":        "access_request.create",
		"SubmitAccessReview":         "access_request.review",
		"DeleteAccessRequest":        "access_request.delete",
		"AddMFADeviceSync":           "mfa.add",
		"DeleteMFADeviceSync":        "mfa.delete",
	}
}

// noteCall notes a call that was denied or has changed something. The messages are nil for
// streams.
func (c *Cluster) noteCall(ctx context.Context, method string, req, resp any, err error) {
	e := auditEvent{User: caller(ctx).user, Call: method, RemoteAddr: callerAddr(ctx).String()}
	switch {
	case status.Code(err) == codes.PermissionDenied:
		e.Event, e.Error = eventDenied, status.Convert(err).Message()
	case err == nil:
		e.Event, e.Success = auditedCalls()[path.Base(method)], true
	}
	if e.Event == "" {
		return
	}
	e.describe(req, resp)
	c.note(e)
}

// describe adds what a call is about.
func (e *auditEvent) describe(req, resp any) {
	switch m := req.(type) {
	case *pb.UserCertsRequest:
		e.Node, e.Login, e.Route = m.NodeName, m.SshLogin, m.RouteToCluster
		e.RequestID = strings.Join(m.AccessRequests, ",")
	case *pb.AccessRequest:
		e.RequestID, e.Roles = m.GetMetadata().GetName(), m.GetSpec().GetRoles()
	case *pb.AccessReviewSubmission:
		e.RequestID = m.RequestId
	case *pb.RequestID:
		e.RequestID = m.Id
	}
	if m, ok := resp.(*pb.AccessRequest); ok && e.Success {
		e.Roles = m.GetSpec().GetRoles()
		e.State = requestStates()[m.GetSpec().GetState()]
	}
}

// noteSigned notes an identity that an administrator has made.
func (c *Cluster) noteSigned(user string, until time.Time, err error) {
	e := auditEvent{Event: eventCert, User: user, Method: methodSign, Success: err == nil}
	if err != nil {
		e.Error = err.Error()
	} else {
		e.Expires = until.UTC().Format(time.RFC3339)
	}
	c.note(e)
}

// nodeRefusal is why a node has last refused a key.
type nodeRefusal struct {
	user, login string
	err         error
}

// refused keeps why a key was not taken, and whose it was if that is proven.
func (r *nodeRefusal) refused(c *Cluster, login string, key ssh.PublicKey, err error) {
	*r = nodeRefusal{login: login, err: err}
	if cert, ok := key.(*ssh.Certificate); ok {
		if _, trusted := c.userIssuer(cert.SignatureKey); trusted {
			r.user = cert.KeyId
		}
	}
}

// noteRefusal notes somebody who could not log in on a node.
func (c *Cluster) noteRefusal(n *node, from string, r nodeRefusal) {
	if r.err != nil { // else they have left before they said who they are
		c.note(auditEvent{
			Event: eventDenied, User: r.user, Login: r.login, Node: n.hostname, NodeID: n.id, RemoteAddr: from, Error: r.err.Error(),
		})
	}
}

// event is one of somebody who has logged in on a node.
func (nc *nodeConn) event(name string) auditEvent {
	return auditEvent{
		Event: name, User: nc.teleportUser, Login: nc.conn.User(), Node: nc.node.hostname, NodeID: nc.node.id,
		RemoteAddr: nc.conn.RemoteAddr().String(),
	}
}

// noteDenied notes what somebody may not do on a node.
func (nc *nodeConn) noteDenied(reason string) {
	e := nc.event(eventDenied)
	e.Error = reason
	nc.cluster.note(e)
}

// kindSFTP is a session of files, of which nobody counts the bytes.
const kindSFTP = "sftp"

// sessionRecord is what the audit log says of a session's end.
type sessionRecord struct {
	kind  string
	began time.Time
	exit  *int // nil if the client left before
	sent  atomic.Int64
}

// copied counts output.
func (r *sessionRecord) copied(n int64, _ error) { r.sent.Add(n) }

func (r *sessionRecord) ends(status int) { r.exit = &status }

func (s *session) sessionEvent(name string) auditEvent {
	e := s.nc.event(name)
	e.Success, e.SessionID, e.Kind, e.Terminal = true, s.id, s.record.kind, s.pty != nil
	return e
}

// noteStart notes that a session runs something: "shell", "exec" or "subsystem".
func (s *session) noteStart(request string) {
	s.record.kind, s.record.began = request, s.nc.cluster.now()
	if request == "subsystem" {
		s.record.kind = kindSFTP
	}
	s.nc.cluster.note(s.sessionEvent(eventSessionStart))
}

// noteEnd notes that it has ended.
func (s *session) noteEnd() {
	e := s.sessionEvent(eventSessionEnd)
	e.ExitStatus = s.record.exit
	seconds := s.nc.cluster.now().Sub(s.record.began).Round(time.Millisecond).Seconds()
	e.Seconds = &seconds
	if s.record.kind != kindSFTP {
		sent := s.record.sent.Load()
		e.BytesSent = &sent
	}
	s.nc.cluster.note(e)
}
