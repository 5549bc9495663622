package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/sshclient"
)

// Some servers take a second factor for each session: a certificate for one minute and
// one login, which the cluster issues for the touch of a security key. Whether a server
// does is found out by going there: nearly all do not, and for those nothing is asked.

// textNeedsMFA is what such a server, or the proxy before it, says.
const textNeedsMFA = "access to resource requires MFA"

// answerLife is how long an answer serves for other sessions. Clusters keep challenges
// for five minutes.
const answerLife = 4 * time.Minute

// What the person has, or wants to answer with, does not open this session.
var (
	errNoKeyForSession  = errors.New("sessions on this server take a security key, and no such device of yours is registered")
	errNoCodeForSession = errors.New("sessions on this server take a security key, and --mfa-mode=otp (or TELEPORT_MFA_MODE) takes one-time codes")
)

// sessionMFA takes one command to servers that take a second factor for each session.
// Its connections to auth servers are made when the first one does, and once. It may be
// used from several goroutines: the person is asked one thing at a time.
type sessionMFA struct {
	app *app
	s   *session
	// names are what servers are called that are dialled by their IDs; may be nil.
	names map[string]string

	turn       chan struct{} // whoever has put something in may use what follows
	root, leaf *api.Client
	reuse      bool // one answer may do for several servers
	answer     *mfa.Answer
	answered   time.Time
	failed     error // the person was asked, in vain
}

// newSessionMFA is for a command that goes to so many servers with s. Close it.
func (a *app) newSessionMFA(s *session, servers int) *sessionMFA {
	return &sessionMFA{app: a, s: s, turn: make(chan struct{}, 1), reuse: servers > 1}
}

func (m *sessionMFA) close() {
	for _, client := range []*api.Client{m.root, m.leaf} {
		if client != nil {
			_ = client.Close()
		}
	}
}

// onNode logs in to a server and lets use work there, which must not have begun
// anything when it returns a refusal of the server. Where that was for want of a second
// factor, the person is asked for it, and use works on a new connection over the same
// dialer.
func (m *sessionMFA) onNode(ctx context.Context, over sshclient.Dialer, target sshclient.Target, use func(*sshclient.Client) error) error {
	client, err := m.enter(ctx, over, target, use)
	if client != nil {
		_ = client.Close()
	}
	return err
}

// enter is onNode for who goes on with the connection once begin has succeeded: it is
// returned, and nil otherwise.
func (m *sessionMFA) enter(ctx context.Context, over sshclient.Dialer, target sshclient.Target, begin func(*sshclient.Client) error) (*sshclient.Client, error) {
	client, refusal := m.attempt(ctx, m.s, over, target, begin)
	if m.s.id.MFAVerified() && saysMFA(refusal) {
		return nil, withHint(refusal, "this login was confirmed with a second factor already; run the command where your security key is, without --headless or --identity")
	}
	if !m.mayHelp(refusal, target.Login) {
		return client, refusal
	}
	once, required, err := m.certify(ctx, target)
	switch {
	case errors.Is(err, mfa.ErrNotRequired):
		return nil, refusal
	case err != nil && !required && !saysMFA(refusal) && ctx.Err() == nil:
		slog.Debug("whether a second factor is required cannot be found out", "error", err)
		return nil, refusal
	case err != nil:
		return nil, m.explain(err)
	}
	client, err = m.attempt(ctx, once, over, target, begin)
	if saysMFA(err) {
		err = withHint(err, "the cluster has issued a certificate for this session, and the server does not take it; tell the cluster's administrator")
	}
	return client, err
}

func (m *sessionMFA) attempt(ctx context.Context, s *session, over sshclient.Dialer, target sshclient.Target, begin func(*sshclient.Client) error) (*sshclient.Client, error) {
	client, err := m.app.dialNode(ctx, s, over, target)
	if err != nil {
		return nil, err
	}
	if err := begin(client); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

// saysMFA reports whether a server has refused something, which has not begun, for
// want of a second factor.
func saysMFA(err error) bool {
	return err != nil && !isA[*begunError](err) && strings.Contains(err.Error(), textNeedsMFA)
}

// mayHelp reports whether a second factor might change the server's mind. The refusal
// of a certificate has no words in SSH; there it might if the certificate is for the
// login, so that something else is wrong.
func (m *sessionMFA) mayHelp(refusal error, login string) bool {
	if m.s.id.MFAVerified() { // what it can do has been done, for a headless login for instance
		return false
	}
	return saysMFA(refusal) || isA[*sshclient.AuthError](refusal) && slices.Contains(m.s.id.SSHCert.ValidPrincipals, login)
}

// explain says what else there is where the second factor could not be had.
func (m *sessionMFA) explain(err error) error {
	if m.app.globals.hasIdentity() && errors.Is(err, api.ErrAccessDenied) {
		return withHint(err, "an identity file cannot always be used where a second factor is required; log in: tsh login --proxy=HOST")
	}
	return err
}

// certify is the session with a certificate for one session on the target; required
// says that the cluster insists on it.
func (m *sessionMFA) certify(ctx context.Context, target sshclient.Target) (once *session, required bool, err error) {
	key, err := m.s.id.NewSSHKey()
	if err != nil {
		return nil, false, err
	}
	public, _, err := keystore.PublicKeys(key, key)
	if err != nil {
		return nil, false, err
	}
	expires, _ := m.s.id.Expiry()
	request := api.SessionRequest{
		User: m.s.id.User, Expires: expires, Cluster: m.s.cluster, Node: target.Host, Login: target.Login, SSHKey: public,
	}
	request.Ask = func(ctx context.Context, challenge *mfa.Challenge) (mfa.Answer, error) {
		required = true
		return m.ask(ctx, cmp.Or(m.names[target.Host], target.Host), challenge)
	}
	id, err := m.issue(ctx, &request, func(client *api.Client) (*keystore.Identity, error) {
		cert, err := client.SessionCert(ctx, request)
		if err != nil {
			return nil, err
		}
		id, err := m.s.id.SingleUse(key, cert, target.Login, m.s.cluster)
		if err != nil {
			err = fmt.Errorf("%w: %w", login.ErrRejected, err)
		}
		return id, err
	})
	if err != nil {
		return nil, required, err
	}
	session := *m.s
	session.id = id
	return &session, true, nil
}

// issue lets get ask for a certificate: with the answer for another server where there
// is one, and otherwise when it is this one's turn to ask the person.
func (m *sessionMFA) issue(ctx context.Context, request *api.SessionRequest, get func(*api.Client) (*keystore.Identity, error)) (*keystore.Identity, error) {
	if err := m.take(ctx); err != nil {
		return nil, err
	}
	if request.Answer = m.kept(); request.Answer != nil {
		m.leave() // this needs nobody
		id, err := get(m.root)
		if !errors.Is(err, api.ErrAccessDenied) {
			return id, err
		}
		if err := m.take(ctx); err != nil {
			return nil, err
		}
		if m.answer == request.Answer { // and not one that another server has got meanwhile
			m.answer, m.reuse = nil, false
		}
		request.Answer = m.kept()
	}
	defer m.leave()
	if m.failed != nil {
		return nil, m.failed
	}
	if err := m.connect(ctx); err != nil {
		return nil, err
	}
	request.Leaf, request.Reuse = m.leaf, m.reuse
	id, err := get(m.root)
	if request.Reuse && errors.Is(err, api.ErrAccessDenied) {
		// Some clusters take no answer that might serve twice.
		m.answer, m.reuse = nil, false
		request.Answer, request.Reuse = nil, false
		id, err = get(m.root)
	}
	return id, err
}

func (m *sessionMFA) take(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *sessionMFA) leave() { <-m.turn }

// kept is the answer for another server that serves for the next one, too.
func (m *sessionMFA) kept() *mfa.Answer {
	if m.app.now().Sub(m.answered) > answerLife {
		m.answer = nil
	}
	return m.answer
}

// connect connects to the auth server of the root, and to that of the leaf if the
// servers are there.
func (m *sessionMFA) connect(ctx context.Context) (err error) {
	defer m.app.ui.waiting("cluster " + text.Line(m.s.id.RootCluster()))()
	if m.root == nil {
		if m.root, err = m.app.connectAPI(ctx, m.s); err != nil {
			return err
		}
	}
	if m.leaf == nil && m.s.cluster != m.s.id.RootCluster() {
		m.leaf, err = m.app.connectCluster(ctx, m.s, m.s.cluster)
	}
	return err
}

// ask has the person answer with a security key; nothing else opens sessions. It is
// called with the turn taken. Where it fails nobody is asked for another server.
func (m *sessionMFA) ask(ctx context.Context, host string, challenge *mfa.Challenge) (answer mfa.Answer, err error) {
	defer func() { m.failed = err }()
	if challenge.WebAuthn == nil {
		return answer, withHint(errNoKeyForSession, "register one: tsh mfa add --type=WEBAUTHN; a one-time code is not taken for a session on a server")
	}
	if m.app.globals.mfaMode == "otp" {
		return answer, withHint(errNoCodeForSession, "leave it out to answer with your security key; tsh mfa add --type=WEBAUTHN registers another")
	}
	if challenge.Reusable {
		m.app.ui.say("Sessions on these servers take a second factor; one answer is for all.")
	} else {
		m.app.ui.say("A session on %s takes a second factor.", text.Line(host))
	}
	challenge.TOTP, challenge.SSO = false, false
	answer, err = m.app.answerChallenge(ctx, m.s, challenge)
	if errors.Is(err, login.ErrNoKey) {
		err = explainNoKey(err, "tsh mfa add --type=WEBAUTHN registers another key; one-time codes are not taken for sessions on servers")
	}
	if err == nil && challenge.Reusable {
		m.answer, m.answered = &answer, m.app.now()
	}
	return answer, err
}
