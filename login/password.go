package login

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/proxy"
)

// passwordMethod logs in with a password and, where the cluster asks for it, a
// one-time code. The proxy is asked once, after the last key typed: "finish"
// alone carries both, and "begin" is needed only to learn whether this user
// has to give a code at all.
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
	wanted, err := m.wantsCode(ctx, s, password)
	if err != nil {
		return nil, err
	}
	var code string
	if wanted {
		if s.ui.Code == nil {
			return nil, fmt.Errorf("a one-time code is needed: %w", ErrCannotAsk)
		}
		if code, err = s.ui.Code(ctx); err != nil {
			return nil, err
		}
	}
	return m.finish(ctx, s, password, code)
}

// wantsCode reports whether a one-time code has to be given. Where the answer
// depends on the user's own devices, it takes a round trip to ask.
func (m *passwordMethod) wantsCode(ctx context.Context, s *session, password string) (bool, error) {
	switch s.ping.Auth.SecondFactor {
	case "", "off":
		return false, nil
	case "otp":
		return true, nil
	}
	challenge, err := s.client.LoginBegin(ctx, proxy.BeginRequest{User: s.req.User, Password: password})
	if err != nil {
		return false, err
	}
	if !challenge.TOTP && challenge.WebAuthn != nil {
		return false, fmt.Errorf("%w: %s has security keys and no one-time codes", ErrUnsupported, s.req.User)
	}
	return challenge.TOTP, nil
}

func (m *passwordMethod) finish(ctx context.Context, s *session, password, code string) (*proxy.LoginResponse, error) {
	keys := s.keys()
	if keys.err != nil {
		return nil, keys.err
	}
	return s.client.LoginFinish(ctx, proxy.FinishRequest{
		User:      s.req.User,
		Password:  password,
		TOTPCode:  code,
		SSHPubKey: keys.sshPub,
		TLSPubKey: keys.tlsPub,
		PubKey:    keys.onePub,
		TTL:       s.ttl(),
	})
}

// question is something the person is being asked, in the background.
type question struct {
	text string
	err  error
	done chan struct{}
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
	q := &question{done: make(chan struct{})}
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

// wait returns once the person is no longer being asked.
func (q *question) wait() {
	if q != nil {
		<-q.done
	}
}
