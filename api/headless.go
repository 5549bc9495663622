package api

import (
	"context"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
)

const (
	methodGetHeadless    = "/proto.AuthService/GetHeadlessAuthentication"
	methodUpdateHeadless = "/proto.AuthService/UpdateHeadlessAuthenticationState"
)

// States of a headless login, as they travel.
const (
	headlessPending  = 1
	headlessDenied   = 2
	headlessApproved = 3
)

// HeadlessLogin is a login that waits for the user to decide on it. Its text comes
// from the server as it is.
type HeadlessLogin struct {
	ID      string
	User    string
	From    string // address that asks for it, ip:port, as the proxy saw it
	Pending bool   // nothing has been decided yet
}

// HeadlessLogin returns the headless login of that id. It may take five seconds: the
// cluster looks for it only now. ErrNotFound if there is none of this user.
func (c *Client) HeadlessLogin(ctx context.Context, id string) (*HeadlessLogin, error) {
	var reply mfawire.HeadlessLogin
	if err := c.call(ctx, methodGetHeadless, &mfawire.HeadlessDecision{ID: id}, &reply); err != nil {
		return nil, err
	}
	return &HeadlessLogin{
		ID: reply.Header.Metadata.Name, User: reply.User, From: reply.ClientIP, Pending: reply.State == headlessPending,
	}, nil
}

// DenyHeadlessLogin refuses a headless login. ErrAccessDenied if it has been decided.
func (c *Client) DenyHeadlessLogin(ctx context.Context, id string) error {
	return c.call(ctx, methodUpdateHeadless, &mfawire.HeadlessDecision{ID: id, State: headlessDenied}, &wire.Empty{})
}

// ApproveHeadlessLogin lets a headless login go on. The answer is a security key's to
// a challenge of that scope; a one-time code is refused. ErrAccessDenied if the login
// has been decided, or the answer is wrong.
func (c *Client) ApproveHeadlessLogin(ctx context.Context, id string, answer mfa.Answer) error {
	decision := mfawire.HeadlessDecision{ID: id, State: headlessApproved, Answer: newAnswer(&answer)}
	return c.call(ctx, methodUpdateHeadless, &decision, &wire.Empty{})
}
