package login

import (
	"context"
	"errors"
)

// Question is a challenge to a person who has logged in already: to prove that
// it is still them.
type Question struct {
	User    string // for messages
	MFAMode string // as in Request
	Code    bool   // a one-time code will do
	// Key is what a security key has to answer; nil if none would do. Its origin
	// is that of the proxy that the session is with.
	Key *AssertRequest
}

// AskSecondFactor asks for what q makes possible and its mode allows, as a login
// does: where a code and a key will do the person is asked once, and what comes
// first counts. Either a code or a key's answer comes back.
//
// Errors: ErrRejected for a challenge that no honest server sends, ErrNoKey,
// ErrUnsupported for a mode that cannot be met, ErrCannotAsk, the context's
// error, and whatever ui returned.
func AskSecondFactor(ctx context.Context, q Question, ui UI) (code string, key *Assertion, err error) {
	s := &session{req: Request{User: q.User, MFAMode: q.MFAMode}, ui: ui}
	factor, err := s.askFactor(ctx, q.Code, q.Key != nil, func() (*AssertRequest, error) {
		q.Key.Timeout = boundedTimeout(q.Key.Timeout.Milliseconds())
		return q.Key, q.Key.Check(false)
	})
	if err == nil && factor.code == "" && factor.key == nil {
		err = errors.New("no one-time code was entered")
	}
	return factor.code, factor.key, err
}

// RegisterKey has one of the person's security keys make a new credential, and
// waits for the touch as long as the server does.
//
// Errors: ErrRejected for a request that no honest server sends, ErrNoKey,
// the context's error, and those of keys.
func RegisterKey(ctx context.Context, keys Authenticator, req RegisterRequest) (*Registration, error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	req.Timeout = boundedTimeout(req.Timeout.Milliseconds())
	return awaitTouch(ctx, req.Timeout, func(ctx context.Context) (*Registration, error) { return keys.Register(ctx, req) })
}
