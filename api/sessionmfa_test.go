package api

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
	"github.com/seed-087d674e/tsh/internal/wire/sessionwire"
)

const plainKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"

// sessionServer is a server that has its answers from a table, and notes what it is
// asked.
type sessionServer struct {
	challenge mfawire.Challenge
	required  sessionwire.RequiredResponse
	stream    []*sessionwire.SingleUseResponse // nil: it does not know the call
	calls     []string
}

func (s *sessionServer) handle(method string, stream grpc.ServerStream) error {
	method = method[strings.LastIndexByte(method, '/')+1:]
	s.calls = append(s.calls, method)
	var request []byte
	switch method {
	case "GenerateUserSingleUseCerts":
		if s.stream == nil {
			return status.Error(codes.Unimplemented, "unknown method")
		}
		for _, reply := range s.stream {
			if err := stream.RecvMsg(&request); err != nil {
				return err
			}
			if err := stream.SendMsg(wire.Marshal(reply)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	var reply any
	switch method {
	case "CreateAuthenticateChallenge":
		reply = &s.challenge
	case "IsMFARequired":
		reply = &s.required
	case "GenerateUserCerts":
		reply = &accesswire.Certs{SSH: []byte(plainKey)} // which ends it with an error of its own
	}
	return stream.SendMsg(wire.Marshal(reply))
}

// Which calls are made, in which order, for which servers; and never is anybody asked
// who does not have to be.
func TestSessionCertCalls(t *testing.T) {
	const isKey, asked = "it is a plain key", true
	question := mfawire.Challenge{TOTP: &wire.Empty{}}
	yes, no := question, mfawire.Challenge{Required: sessionwire.RequiredNo}
	yes.Required = sessionwire.RequiredYes
	oldStream := []*sessionwire.SingleUseResponse{{Challenge: &question}, {Cert: &accesswire.Certs{SSH: []byte(plainKey)}}}
	for name, tc := range map[string]struct {
		server sessionServer
		answer *mfa.Answer
		leaf   *sessionServer
		want   string
		err    string
		asked  bool
	}{
		"required":           {server: sessionServer{challenge: yes}, want: "CreateAuthenticateChallenge GenerateUserCerts", err: isKey, asked: asked},
		"not required":       {server: sessionServer{challenge: no}, want: "CreateAuthenticateChallenge", err: mfa.ErrNotRequired.Error()},
		"answered before":    {answer: &mfa.Answer{Code: "1"}, want: "GenerateUserCerts", err: isKey},
		"14.x":               {server: sessionServer{challenge: question, required: sessionwire.RequiredResponse{Required: true}, stream: oldStream}, want: "CreateAuthenticateChallenge IsMFARequired GenerateUserSingleUseCerts", err: isKey, asked: asked},
		"14.x, not required": {server: sessionServer{challenge: question}, want: "CreateAuthenticateChallenge IsMFARequired", err: mfa.ErrNotRequired.Error()},
		"14.x changes its mind": {server: sessionServer{challenge: question, required: sessionwire.RequiredResponse{Required: true}, stream: []*sessionwire.SingleUseResponse{{Challenge: &no}}},
			want: "CreateAuthenticateChallenge IsMFARequired GenerateUserSingleUseCerts", err: mfa.ErrNotRequired.Error()},
		"leaf":               {server: sessionServer{challenge: question}, leaf: &sessionServer{required: sessionwire.RequiredResponse{Required: true, Answer: sessionwire.RequiredYes}}, want: "CreateAuthenticateChallenge GenerateUserCerts", err: isKey, asked: asked},
		"leaf, not required": {leaf: &sessionServer{required: sessionwire.RequiredResponse{Answer: sessionwire.RequiredNo}}, err: mfa.ErrNotRequired.Error()},
		"old leaf":           {server: sessionServer{challenge: question}, leaf: &sessionServer{required: sessionwire.RequiredResponse{Required: true}}, want: "GenerateUserSingleUseCerts CreateAuthenticateChallenge GenerateUserCerts", err: isKey, asked: asked},
		"14.x and its leaf":  {server: sessionServer{stream: oldStream}, leaf: &sessionServer{required: sessionwire.RequiredResponse{Required: true}}, want: "GenerateUserSingleUseCerts", err: isKey, asked: asked},
		"stream without challenge": {server: sessionServer{challenge: question, required: sessionwire.RequiredResponse{Required: true}, stream: []*sessionwire.SingleUseResponse{{}}},
			want: "CreateAuthenticateChallenge IsMFARequired GenerateUserSingleUseCerts", err: "no challenge"},
		"stream without certificate": {server: sessionServer{challenge: question, required: sessionwire.RequiredResponse{Required: true}, stream: []*sessionwire.SingleUseResponse{{Challenge: &question}, {}}},
			want: "CreateAuthenticateChallenge IsMFARequired GenerateUserSingleUseCerts", err: "no certificate", asked: asked},
		"stream that ends": {server: sessionServer{challenge: question, required: sessionwire.RequiredResponse{Required: true}, stream: []*sessionwire.SingleUseResponse{{Challenge: &question}}},
			want: "CreateAuthenticateChallenge IsMFARequired GenerateUserSingleUseCerts", err: "unexpected EOF", asked: asked},
	} {
		t.Run(name, func(t *testing.T) {
			r := SessionRequest{User: "u", Cluster: "c", Node: "n", Login: "l", Answer: tc.answer}
			if tc.leaf != nil {
				r.Leaf = startStreams(t, tc.leaf.handle).connect(t)
			}
			wasAsked := false
			r.Ask = func(context.Context, *mfa.Challenge) (mfa.Answer, error) {
				wasAsked = true
				return mfa.Answer{Code: "1"}, nil
			}
			_, err := startStreams(t, tc.server.handle).connect(t).SessionCert(testContext(t), r)
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, want %q", err, tc.err)
			}
			if got := strings.Join(tc.server.calls, " "); got != tc.want {
				t.Errorf("calls %s\nwant %s", got, tc.want)
			}
			if wasAsked != tc.asked {
				t.Errorf("the person was asked: %v, want %v", wasAsked, tc.asked)
			}
		})
	}
}

// A person who gives up while a stream waits for the answer ends it at once.
func TestSessionStreamGivenUp(t *testing.T) {
	question := mfawire.Challenge{TOTP: &wire.Empty{}}
	server := sessionServer{
		challenge: question, required: sessionwire.RequiredResponse{Required: true},
		stream: []*sessionwire.SingleUseResponse{{Challenge: &question}, {}},
	}
	ctx, cancel := context.WithCancelCause(testContext(t))
	gone := errors.New("gone")
	_, err := startStreams(t, server.handle).connect(t).SessionCert(ctx, SessionRequest{
		User: "u", Cluster: "c", Node: "n", Login: "l",
		Ask: func(ctx context.Context, _ *mfa.Challenge) (mfa.Answer, error) {
			cancel(gone)
			<-ctx.Done()
			return mfa.Answer{}, context.Cause(ctx)
		},
	})
	if !errors.Is(err, gone) {
		t.Errorf("%v, want the cause", err)
	}
}
