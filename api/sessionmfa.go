package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
	"github.com/seed-087d674e/tsh/internal/wire/sessionwire"
)

const (
	methodMFARequired    = "/proto.AuthService/IsMFARequired"
	methodSingleUseCerts = "/proto.AuthService/GenerateUserSingleUseCerts"
)

// maxPrompt is how long a person may take to answer a challenge that a stream waits
// for. Servers forget challenges after five minutes.
const maxPrompt = 6 * time.Minute

// SessionRequest asks for the certificate for one session on a node that lets nobody
// in without a second factor.
type SessionRequest struct {
	User    string
	Expires time.Time // of the login; the certificate ends much earlier
	Cluster string    // of the node, the root cluster or a leaf
	Node    string    // name, address or ID as it is dialled, without the port
	Login   string    // account on the node
	SSHKey  []byte    // authorized_keys line of a key made for this session
	// Leaf is a connection to the auth server of the node's cluster, where that is
	// not the root: it knows whether a second factor is required.
	Leaf *Client
	// Reuse asks for a challenge whose answer serves for other sessions, too.
	Reuse bool
	// Answer is the answer to such a challenge; without one Ask is called.
	Answer *mfa.Answer
	// Ask has the person answer a challenge. The context ends when the answer would
	// come too late.
	Ask func(context.Context, *mfa.Challenge) (mfa.Answer, error)
}

// SessionCert has a certificate issued that is good for one session. It is what the
// cluster says; the caller has to check it (keystore.Identity.SingleUse). The client
// has to be one of the root cluster.
//
// Servers of 18.x get two calls, one before and one after the person's answer; those
// that do not say whether a second factor is required (14.x) are asked that first, and
// the rest is a stream.
//
// Errors: mfa.ErrNotRequired, which is before Ask; *Error, which is ErrAccessDenied
// for an answer that is not accepted; the error of Ask.
func (c *Client) SessionCert(ctx context.Context, r SessionRequest) (*ssh.Certificate, error) {
	if r.Answer != nil {
		return c.singleUseCert(ctx, &r, *r.Answer)
	}
	if r.Leaf != nil {
		told, err := r.Leaf.mfaRequired(ctx, &r)
		if err != nil {
			return nil, err
		}
		if !told { // an old leaf; its root may be old, too
			if cert, err := c.singleUseStream(ctx, &r); !isUnimplemented(err) {
				return cert, err
			}
		}
	}
	challenge, told, err := c.sessionChallenge(ctx, &r)
	if err != nil {
		return nil, err
	}
	if !told && r.Leaf == nil { // it did not understand the question
		if _, err := c.mfaRequired(ctx, &r); err != nil {
			return nil, err
		}
		return c.singleUseStream(ctx, &r)
	}
	answer, err := r.Ask(ctx, challenge)
	if err != nil {
		return nil, err
	}
	return c.singleUseCert(ctx, &r, answer)
}

// mfaRequired returns mfa.ErrNotRequired if the session takes no second factor; told is
// false of servers that know the old form of the answer alone.
func (c *Client) mfaRequired(ctx context.Context, r *SessionRequest) (told bool, err error) {
	var reply sessionwire.RequiredResponse
	if err := c.call(ctx, methodMFARequired, r.question(), &reply); err != nil {
		return false, err
	}
	if told = reply.Answer != 0; told {
		reply.Required = reply.Answer == sessionwire.RequiredYes
	}
	if !reply.Required {
		return told, mfa.ErrNotRequired
	}
	return told, nil
}

// question asks whether the session takes a second factor.
func (r *SessionRequest) question() *sessionwire.RequiredRequest {
	return &sessionwire.RequiredRequest{Node: &sessionwire.NodeLogin{Node: r.Node, Login: r.Login}}
}

// sessionChallenge asks for a challenge and, unless another cluster has said so, whether
// there is any need for one: if not, the error is mfa.ErrNotRequired. Told is whether
// that was answered.
func (c *Client) sessionChallenge(ctx context.Context, r *SessionRequest) (challenge *mfa.Challenge, told bool, err error) {
	request := sessionwire.ChallengeRequest{
		ContextUser: &wire.Empty{},
		Extensions:  &sessionwire.ChallengeExtensions{Scope: int32(mfa.ScopeSession), AllowReuse: sessionwire.ReuseNo},
	}
	if r.Reuse {
		request.Extensions.AllowReuse = sessionwire.ReuseYes
	}
	if r.Leaf == nil {
		request.Check = r.question()
	}
	var reply mfawire.Challenge
	if err := c.call(ctx, methodChallenge, &request, &reply); err != nil {
		return nil, false, err
	}
	if reply.Required == sessionwire.RequiredNo && r.Leaf == nil {
		return nil, true, mfa.ErrNotRequired
	}
	challenge = newChallenge(&reply)
	challenge.Reusable = r.Reuse
	return challenge, reply.Required == sessionwire.RequiredYes, nil
}

func (c *Client) singleUseCert(ctx context.Context, r *SessionRequest, answer mfa.Answer) (*ssh.Certificate, error) {
	cert, _, err := c.GenerateCertificates(ctx, CertsRequest{
		User: r.User, Expires: r.Expires, Cluster: r.Cluster, Node: r.Node, Login: r.Login, Answer: answer, SSHKey: r.SSHKey,
	})
	return cert, err
}

// singleUseStream is how servers of 14.x issue the certificate: challenge and answer
// are part of one call.
func (c *Client) singleUseStream(ctx context.Context, r *SessionRequest) (*ssh.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, maxPrompt)
	defer cancel()
	stream, err := c.conn.Stream(ctx, methodSingleUseCerts)
	if err != nil {
		return nil, &Error{Method: methodSingleUseCerts, Addr: c.addr, err: err}
	}
	defer stream.CloseSend()
	wanted := &accesswire.UserCertsRequest{
		PublicKey: r.SSHKey, Username: r.User, Expires: accesswire.NewTimestamp(r.Expires), RouteToCluster: r.Cluster,
		NodeName: r.Node, SSHLogin: r.Login, Usage: sessionwire.UsageSSH,
	}
	reply, err := c.exchangeOn(stream, cancel, &sessionwire.SingleUseRequest{Init: wanted})
	if err != nil {
		return nil, err
	}
	if reply.Challenge == nil {
		return nil, fmt.Errorf("%s: there is no challenge in its answer", c.addr)
	}
	if reply.Challenge.Required == sessionwire.RequiredNo {
		return nil, mfa.ErrNotRequired
	}
	answer, err := r.Ask(ctx, newChallenge(reply.Challenge))
	if err != nil {
		return nil, err
	}
	if reply, err = c.exchangeOn(stream, cancel, &sessionwire.SingleUseRequest{MFAResponse: newAnswer(&answer)}); err != nil {
		return nil, err
	}
	if reply.Cert == nil {
		return nil, fmt.Errorf("%s: there is no certificate in its answer", c.addr)
	}
	return c.parseSSHCert(reply.Cert.SSH)
}

// exchangeOn sends one message on the stream and waits for one, as long as for a call.
func (c *Client) exchangeOn(stream *rpc.Stream, cancel context.CancelFunc, request *sessionwire.SingleUseRequest) (*sessionwire.SingleUseResponse, error) {
	late := time.AfterFunc(callTimeout, cancel)
	reply := new(sessionwire.SingleUseResponse)
	err := stream.Send(wire.Marshal(request))
	if err == nil || errors.Is(err, io.EOF) { // a server that has ended the call says how
		var data []byte
		if data, err = stream.Recv(); err == nil {
			err = wire.Unmarshal(data, reply)
		}
	}
	if !late.Stop() && err != nil {
		err = context.DeadlineExceeded
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, &Error{Method: methodSingleUseCerts, Addr: c.addr, err: err}
	}
	return reply, nil
}
