package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
)

// textNeedsFactor is what a server says that wants an answer where none could be
// given.
const textNeedsFactor = "second factor authentication required"

// confirmDevices has the person agree to a change of their devices with one they
// have. The answer is empty for a person who has none.
func (a *app) confirmDevices(ctx context.Context, s *session, client *api.Client) (mfa.Answer, error) {
	challenge, err := client.MFAChallenge(ctx, mfa.ScopeManageDevices)
	if err != nil || challenge.Empty() {
		return mfa.Answer{}, err
	}
	a.ui.say("Confirm this with a device you have.")
	return a.answerChallenge(ctx, s, challenge)
}

// answerChallenge has the person answer a challenge of the auth server, which is
// not empty, as --mfa-mode says: with a security key, with a one-time code, or
// with whichever comes first.
func (a *app) answerChallenge(ctx context.Context, s *session, challenge *mfa.Challenge) (mfa.Answer, error) {
	if !challenge.TOTP && challenge.WebAuthn == nil {
		return mfa.Answer{}, fmt.Errorf("%w: your only second factor is the login at an identity provider", login.ErrUnsupported)
	}
	ui := a.factorUI()
	a.noteOtherWays(challenge, ui)
	question := login.Question{User: s.profile.User, MFAMode: a.globals.mfaMode, Code: challenge.TOTP}
	if c := challenge.WebAuthn; c != nil {
		question.Key = &login.AssertRequest{
			Challenge: c.Challenge, RPID: c.RPID, Origin: login.WebAuthnOrigin(s.profile.WebProxyAddr), Reached: a.reachedAs(s.profile), Allow: c.Allowed,
			UserVerification: c.UserVerification == "required", Timeout: c.Timeout,
		}
	}
	code, key, err := login.AskSecondFactor(ctx, question, ui)
	switch {
	case errors.Is(err, login.ErrNoKey):
		return mfa.Answer{}, explainNoKey(err, insteadOfKey)
	case errors.Is(err, login.ErrCannotAsk):
		return mfa.Answer{}, withHint(err, "run it in a terminal")
	case err != nil:
		return mfa.Answer{}, explainMode(err, a.globals.mfaMode)
	case key == nil:
		return mfa.Answer{Code: code}, nil
	}
	return mfa.Answer{WebAuthn: &mfa.AssertionAnswer{
		CredentialID: key.CredentialID, ClientDataJSON: key.ClientDataJSON,
		AuthenticatorData: key.AuthenticatorData, Signature: key.Signature, UserHandle: key.UserHandle,
	}}, nil
}

// reachedAs is the host that was logged in to, where the proxy then called itself
// something else; see profile.Store.ReachedAs.
func (a *app) reachedAs(p *profile.Profile) string {
	if host := p.Host(); p.Typed != "" && !strings.EqualFold(p.Typed, host) {
		return p.Typed // an identity file, or a login of a moment ago
	}
	store, err := a.openStore()
	if err != nil || p.Typed != "" {
		return ""
	}
	return store.ReachedAs(p.Host())
}

// factorUI is how the person is asked for second factors outside a login.
func (a *app) factorUI() login.UI {
	return a.securityKeyUI(login.UI{Code: a.askCode}, new(loginTarget))
}

// noteOtherWays says which ways to answer there are where one of them is chosen
// without a word: those that are asked for at the same time, and what --mfa-mode
// says, need no note.
func (a *app) noteOtherWays(challenge *mfa.Challenge, ui login.UI) {
	if a.globals.mfaMode != "" && a.globals.mfaMode != "auto" {
		return
	}
	var ways []string
	if challenge.WebAuthn != nil {
		ways = append(ways, "a security key (cross-platform)")
	}
	if challenge.TOTP {
		ways = append(ways, "a one-time code (otp)")
	}
	if challenge.SSO {
		ways = append(ways, "the identity provider (not supported here)")
	}
	if len(ways) > 1 && (challenge.SSO || ui.Key == nil) {
		a.ui.say("You could answer with %s; --mfa-mode=MODE chooses.", strings.Join(ways, " or "))
	}
}

// explainAnswer adds what a person can do about an answer that was refused.
func explainAnswer(answer mfa.Answer, err error) error {
	switch {
	case err == nil:
	case answer.Code != "" && errors.Is(err, api.ErrAccessDenied):
		return withHint(err, "a one-time code works once; if this one was used already, wait for the next")
	case answer == (mfa.Answer{}) && strings.Contains(err.Error(), textNeedsFactor):
		return withHint(err, "none of your devices can answer here, which the login at an identity provider cannot; use the cluster's web page")
	}
	return err
}
