package login

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/proxy"
)

// passwordMethod logs in with a password and, where the cluster asks for it, a
// one-time code or a security key. With codes alone the proxy is asked once, after
// the last key typed: "finish" carries both, and "begin" is needed only for a
// challenge, or to learn whether this user has to give a code at all.
type passwordMethod struct {
	asked *question // the password, if it was asked for early
}

func (m *passwordMethod) issue(ctx context.Context, s *session) (*proxy.LoginResponse, error) {
	if m.asked == nil {
		m.asked = askPassword(ctx, s)
	}
	password, err := m.asked.answer()
	if err != nil {
		return nil, err
	}
	challenge, err := m.begin(ctx, s, password)
	if err != nil {
		return nil, err
	}
	factor, err := s.askSecondFactor(ctx, challenge)
	switch {
	case err != nil:
		return nil, err
	case factor.key != nil:
		return s.finishWithKey(ctx, s.req.User, password, factor.key)
	}
	return s.finish(ctx, proxy.FinishRequest{User: s.req.User, Password: password, TOTPCode: factor.code})
}

// begin says what to answer with besides the password. Where that depends on
// the user's own devices, it takes a round trip to ask.
func (m *passwordMethod) begin(ctx context.Context, s *session, password string) (*proxy.Challenge, error) {
	switch s.ping.Auth.SecondFactor {
	case "", "off":
		return &proxy.Challenge{}, nil
	case "otp":
		return &proxy.Challenge{TOTP: true}, nil
	}
	return s.client.LoginBegin(ctx, proxy.BeginRequest{User: s.req.User, Password: password})
}

// question is something the person is being asked, in the background.
type question struct {
	text string
	err  error
	done chan struct{}
	stop context.CancelFunc
}

// askEarly starts to ask for the password before the proxy has answered,
// where the request allows it.
func askEarly(ctx context.Context, s *session) *question {
	if !s.req.AskFirst || s.req.Connector != "" && s.req.Connector != "local" {
		return nil
	}
	return askPassword(ctx, s)
}

func askPassword(ctx context.Context, s *session) *question {
	ctx, stop := context.WithCancel(ctx)
	q := &question{done: make(chan struct{}), stop: stop}
	if err := keystore.CheckName("user", s.req.User); err != nil {
		q.err = err
		close(q.done)
		return q
	}
	if s.ui.Password == nil {
		q.err = fmt.Errorf("the password of %s is needed: %w", s.req.User, ErrCannotAsk)
		close(q.done)
		return q
	}
	go func() {
		defer close(q.done)
		q.text, q.err = s.ui.Password(ctx, s.req.User, s.client.Host())
		if q.err == nil && q.text == "" {
			q.err = errors.New("the password is empty")
		}
	}()
	return q
}

// answer waits for the person; the one asking gives up with the context that
// the question was put under.
func (q *question) answer() (string, error) {
	<-q.done
	return q.text, q.err
}

// giveUp ends the question without an answer.
func (q *question) giveUp() {
	q.stop()
	q.wait()
}

// wait returns once the person is no longer being asked.
func (q *question) wait() {
	if q != nil {
		<-q.done
	}
}
