package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/proxy"
)

// What Request.MFAMode may be.
const (
	mfaAuto     = "auto"
	mfaOTP      = "otp"
	mfaRoaming  = "cross-platform"
	mfaPlatform = "platform"
	mfaSSO      = "sso"
)

// passwordlessMethod logs in with a security key that says itself who the user
// is: no name and no password is asked for or sent.
type passwordlessMethod struct{}

func (passwordlessMethod) issue(ctx context.Context, s *session) (*proxy.LoginResponse, error) {
	switch {
	case !s.ping.Auth.AllowPasswordless:
		return nil, fmt.Errorf("%w: the cluster does not allow logins without a password", ErrUnsupported)
	case s.req.MFAMode == mfaOTP, s.req.MFAMode == mfaSSO:
		return nil, fmt.Errorf("%w: a login without a password takes a security key, and the MFA mode %s excludes it", ErrUnsupported, s.req.MFAMode)
	}
	if err := s.canUseKeys(); err != nil {
		return nil, err
	}
	challenge, err := s.client.LoginBegin(ctx, proxy.BeginRequest{Passwordless: true})
	if err != nil {
		return nil, err
	}
	req, err := s.keyRequest(challenge, true)
	if err != nil {
		return nil, err
	}
	answer, err := s.assert(ctx, req)
	if err != nil {
		return nil, err
	}
	if len(answer.UserHandle) == 0 {
		return nil, fmt.Errorf("%w: the security key does not say who the user is", ErrNoKey)
	}
	// The key, or rather the cluster that knows it, says who it is.
	if s.anyUser = s.req.KeyUser == ""; !s.anyUser {
		s.req.User = s.req.KeyUser
	}
	return s.finishWithKey(ctx, "", "", answer)
}

// canUseKeys says why security keys are out of the question, before anything
// is sent.
func (s *session) canUseKeys() error {
	if s.req.MFAMode == mfaPlatform {
		return fmt.Errorf("%w: the authenticator built into this machine is not supported, only keys that are plugged in", ErrNoKey)
	}
	if s.ui.Key == nil {
		return fmt.Errorf("%w: this machine has nothing that speaks with one", ErrNoKey)
	}
	return nil
}

// keyRequest reads and judges the challenge for security keys. They answer to
// the host that was dialled, and whose certificate has been seen: to sign for
// another that it announces would be to sign in for whoever relays it.
func (s *session) keyRequest(challenge *proxy.Challenge, passwordless bool) (*AssertRequest, error) {
	if challenge.WebAuthn == nil {
		return nil, fmt.Errorf("%w: the proxy sent no challenge for security keys", ErrRejected)
	}
	addr, announced := s.webAuthnAddr()
	req, err := parseAssertRequest(challenge.WebAuthn, addr, passwordless)
	if err != nil && addr != announced {
		return nil, fmt.Errorf("%w; the proxy calls itself %s, so log in there", err, text.Line(announced))
	}
	if err != nil {
		return nil, err
	}
	if passwordless {
		req.User = s.req.KeyUser
	}
	return req, nil
}

// webAuthnAddr is the address of the origin that keys sign for: the announced
// one as long as its host is the one that was dialled.
func (s *session) webAuthnAddr() (addr, announced string) {
	dialled := s.client.WebAddr()
	announced = s.ping.Settings(dialled).WebAddr
	if a, _, err := net.SplitHostPort(announced); err == nil {
		if d, _, err := net.SplitHostPort(dialled); err == nil && a == d {
			return announced, announced
		}
	}
	return dialled, announced
}

// assert tells the person to touch a key and waits for it, as long as the
// server does.
func (s *session) assert(ctx context.Context, req *AssertRequest) (*Assertion, error) {
	if s.ui.Touch != nil {
		s.ui.Touch()
	}
	return s.askKey(ctx, req)
}

// errNobodyTouched: the server's patience has run out.
var errNobodyTouched = errors.New("no security key was touched in time")

func (s *session) askKey(ctx context.Context, req *AssertRequest) (*Assertion, error) {
	return awaitTouch(ctx, req.Timeout, func(ctx context.Context) (*Assertion, error) { return s.ui.Key.Assert(ctx, *req) })
}

// awaitTouch runs what needs a touch for as long as the server waits for it.
func awaitTouch[T any](ctx context.Context, patience time.Duration, ask func(context.Context) (T, error)) (answer T, err error) {
	waiting, cancel := context.WithTimeoutCause(ctx, patience, errNobodyTouched)
	defer cancel()
	got, err := ask(waiting)
	switch {
	case ctx.Err() != nil:
		return answer, context.Cause(ctx)
	case waiting.Err() != nil:
		return answer, fmt.Errorf("%w: %w (%s)", context.DeadlineExceeded, errNobodyTouched, patience)
	}
	return got, err
}

func (s *session) finishWithKey(ctx context.Context, user, password string, answer *Assertion) (*proxy.LoginResponse, error) {
	raw, err := answer.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return s.finish(ctx, proxy.FinishRequest{User: user, Password: password, WebAuthn: raw})
}

// finish has the proxy certify the keys for a person who has proved who they are.
func (s *session) finish(ctx context.Context, proof proxy.FinishRequest) (*proxy.LoginResponse, error) {
	keys := s.keys()
	if keys.err != nil {
		return nil, keys.err
	}
	proof.SSHPubKey, proof.TLSPubKey, proof.TTL, proof.Cluster = keys.sshPub, keys.tlsPub, s.ttl(), s.route()
	proof.PubKey = keys.onePub
	return s.client.LoginFinish(ctx, proof)
}

// secondFactor is what the person gives beside the password; at most one is set.
type secondFactor struct {
	_    [0]func() // never compared
	code string
	key  *Assertion
	err  error
}

// askSecondFactor asks for what a proxy's challenge makes possible.
func (s *session) askSecondFactor(ctx context.Context, challenge *proxy.Challenge) (secondFactor, error) {
	return s.askFactor(ctx, challenge.TOTP, challenge.WebAuthn != nil, func() (*AssertRequest, error) { return s.keyRequest(challenge, false) })
}

// askFactor asks for a one-time code or a touch of a security key, for whichever
// is possible and wanted. Where both are the person is asked once, and what comes
// first counts.
func (s *session) askFactor(ctx context.Context, code, key bool, request func() (*AssertRequest, error)) (secondFactor, error) {
	code, key, err := s.wanted(code, key)
	switch {
	case err != nil:
		return secondFactor{}, err
	case code && !key:
		return s.askCode(ctx)
	case !key:
		return secondFactor{}, nil
	}
	req, err := request()
	if err != nil {
		return secondFactor{}, err
	}
	if code && !req.UserVerification { // a PIN and a code cannot be typed at once
		return s.askEither(ctx, req)
	}
	answer, err := s.assert(ctx, req)
	return secondFactor{key: answer}, err
}

// wanted says which second factors to ask for, or why none will do.
func (s *session) wanted(code, key bool) (bool, bool, error) {
	user := text.Line(s.req.User)
	switch s.req.MFAMode {
	case mfaSSO:
		if code || key {
			return false, false, fmt.Errorf("%w: a second factor in the browser, which the MFA mode sso wants; otp and cross-platform are there", ErrUnsupported)
		}
	case mfaOTP:
		if !code && key {
			return false, false, fmt.Errorf("%w: %s has security keys and no device for one-time codes, so the MFA mode otp cannot be met", ErrUnsupported, user)
		}
		return code, false, nil
	case mfaRoaming, mfaPlatform:
		if !key && code {
			return false, false, fmt.Errorf("%w: %s has one-time codes and no security key, so the MFA mode %s cannot be met", ErrUnsupported, user, s.req.MFAMode)
		}
		code = false
	}
	if !key {
		return code, false, nil
	}
	if err := s.canUseKeys(); err != nil {
		if code {
			return true, false, nil // there is another way, so nothing is missing
		}
		return false, false, err
	}
	return code, true, nil
}

func (s *session) askCode(ctx context.Context) (secondFactor, error) {
	if s.ui.Code == nil {
		return secondFactor{}, fmt.Errorf("a one-time code is needed: %w", ErrCannotAsk)
	}
	code, err := s.ui.Code(ctx)
	return secondFactor{code: code}, err
}

// askEither asks for a code and a touch at once. It returns when nothing is
// being asked any more: the terminal is the caller's again.
func (s *session) askEither(ctx context.Context, req *AssertRequest) (secondFactor, error) {
	if s.ui.CodeOrKey == nil {
		answer, err := s.assert(ctx, req)
		return secondFactor{key: answer}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	typed, touched := make(chan secondFactor, 1), make(chan secondFactor, 1)
	go func() {
		code, err := s.ui.CodeOrKey(ctx)
		typed <- secondFactor{code: code, err: err}
	}()
	go func() {
		answer, err := s.askKey(ctx, req)
		touched <- secondFactor{key: answer, err: err}
	}()
	for typed != nil || touched != nil {
		var first secondFactor
		select {
		case first = <-typed:
			typed = nil
			unseen := errors.Is(first.err, ErrCannotAsk)
			if (unseen || first.err == nil && first.code == "") && touched != nil && s.ui.Touch != nil {
				s.ui.Touch() // that is what is left to do
			}
		case first = <-touched:
			touched = nil
		}
		if s.settles(first, typed != nil || touched != nil) {
			cancel()
			drain(typed)
			drain(touched)
			return first, first.err
		}
	}
	cancel()
	return secondFactor{}, ErrCannotAsk // not reached: the last answer settles it
}

// settles reports whether an answer ends the question: it is one, or it is the
// person's word that there will be none, or nothing else is being waited for.
func (s *session) settles(f secondFactor, waiting bool) bool {
	switch {
	case !waiting, f.err == nil && (f.key != nil || f.code != ""):
		return true
	case f.err == nil: // only Enter: the key is still being waited for
		return false
	case f.key == nil && errors.Is(f.err, ErrNoKey), errors.Is(f.err, ErrCannotAsk), errors.Is(f.err, errNobodyTouched):
		return false
	}
	return true
}

func drain(c <-chan secondFactor) {
	if c != nil {
		<-c
	}
}
