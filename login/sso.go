package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/proxy"
)

// browserPatience is how long the answer of a browser is waited for.
const browserPatience = 180 * time.Second

// testOnlyPatience replaces it where it is not zero.
var testOnlyPatience time.Duration

// ErrNoAnswer: nobody has finished the login in the browser.
var ErrNoAnswer = errors.New("no answer came from the browser")

// ssoMethod logs in through the browser: the proxy names a page of the person's
// identity provider, and has the browser bring what it issues, sealed, to a
// listener on this machine.
type ssoMethod struct{ kind string }

func (m *ssoMethod) issue(ctx context.Context, s *session) (*proxy.LoginResponse, error) {
	s.anyUser = true
	connector, _ := s.ping.Auth.Connector()
	if connector == "" {
		return nil, fmt.Errorf("%w: the cluster names no %s connector", ErrUnsupported, m.kind)
	}
	if err := s.mayBrowse(ctx); err != nil {
		return nil, err
	}
	listener, base, hosts, err := listen(ctx, s.req.BindAddr, s.req.CallbackURL)
	if err != nil {
		return nil, err
	}
	// The address that has proved to be the proxy's, not one that it announces.
	web := "https://" + s.client.WebAddr() + "/web/msg"
	c := newCallback(base, hosts, pages{success: web + "/info/login_success", failure: web + "/error/login"})
	answer := new(proxy.LoginResponse)
	c.judge = func(plaintext []byte) error {
		if err := answer.Decode(plaintext); err != nil {
			return fmt.Errorf("%w: %w", ErrRejected, err)
		}
		_, err := s.accept(answer)
		return err
	}
	server := &answerer{listener: listener, handle: c.handle}
	defer server.close()
	if err := m.begin(ctx, s, c, connector); err != nil {
		return nil, err
	}
	go server.serve()
	if err := s.ui.Browse(ctx, c.base+c.link); err != nil {
		return nil, err
	}
	if err := c.wait(ctx, s.client.WebAddr()); err != nil {
		return nil, err
	}
	return answer, nil
}

// mayBrowse asks what has to be asked before anything is sent.
func (s *session) mayBrowse(ctx context.Context) error {
	if s.ui.Browse == nil {
		return fmt.Errorf("the cluster logs people in through the browser: %w", ErrCannotAsk)
	}
	if s.req.CallbackURL == "" {
		return nil
	}
	if s.ui.Expose == nil {
		return fmt.Errorf("the browser's answer would go to %s: %w", s.req.CallbackURL, ErrCannotAsk)
	}
	return s.ui.Expose(ctx, s.req.CallbackURL)
}

// begin has the proxy say where the browser is to start.
func (m *ssoMethod) begin(ctx context.Context, s *session, c *callback, connector string) error {
	keys := s.keys()
	if keys.err != nil {
		return keys.err
	}
	req := proxy.SSORequest{
		RedirectURL:  c.address(),
		SSHPubKey:    keys.sshPub,
		TLSPubKey:    keys.tlsPub,
		TTL:          s.ttl(),
		PublicKey:    keys.onePub,
		Connector:    connector,
		Cluster:      s.route(),
		PKCEVerifier: randomText(),
	}
	target, form, err := s.client.LoginSSO(ctx, m.kind, req)
	if err != nil {
		return err
	}
	if target != "" {
		c.start = startAt(target)
		return nil
	}
	c.start, err = startWith(form)
	return err
}

// wait returns once the browser has brought an answer that is one, or the person
// or the clock has had enough.
func (c *callback) wait(ctx context.Context, host string) error {
	patience := browserPatience
	if testOnlyPatience > 0 {
		patience = testOnlyPatience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case o := <-c.outcome:
		if o.refused {
			return refusedLogin(host, o.text)
		}
		return o.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return fmt.Errorf("%w within %s", ErrNoAnswer, patience)
	}
}

// refusedLogin is the proxy's word that the login has failed.
func refusedLogin(host, message string) error {
	const policy = "private key policy not "
	if strings.Contains(message, policy) {
		return fmt.Errorf("%w: the cluster wants keys on a hardware token: %s", ErrUnsupported, text.Block(message, 4))
	}
	if strings.TrimSpace(message) == "" {
		message = "the proxy says no, and not why"
	}
	return &proxy.Error{Op: "browser login", Host: host, Message: message}
}
