// Package login turns a proxy's address and a person into an identity: it asks
// the proxy how its cluster logs people in, asks the person what that needs,
// and checks what the cluster issues. It stores nothing; that is the caller's
// last step.
package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/proxy"
)

// Request says who logs in and for how long.
type Request struct {
	// User is the cluster's name for the person. It may be empty for the ways to
	// log in that learn it from the cluster (a connector, a passwordless key).
	User string
	// Connector names the way to log in: "local" (with a password), "passwordless",
	// "headless", or a connector of the cluster for logins in the browser; empty
	// leaves the choice to the cluster.
	Connector string
	// Cluster is the one to select, the proxy's own or a leaf of it; empty for the
	// proxy's own.
	Cluster string
	// TTL is the lifetime asked for; zero takes the cluster's default.
	TTL time.Duration
	// AskFirst asks for the password while the proxy is still being reached.
	// Set it only where an earlier login has shown that the cluster takes
	// passwords: elsewhere the proxy's certificate and its answer come first.
	AskFirst bool
	// OneKey asks for certificates for one ECDSA P-256 key, which an ssh-agent can use
	// for both protocols. A cluster that needs RSA keys is refused.
	// It is asked once the proxy has answered; nil means no.
	OneKey func(*proxy.Ping) (bool, error)
	// MFAMode says which second factors may be asked for: "auto" (or empty) all,
	// "otp" one-time codes, "cross-platform" security keys; "platform", for what
	// is built into the machine, is not supported and says so.
	MFAMode string
	// KeyUser is whom a login without a password has to be for; empty is whoever
	// the security key says.
	KeyUser string
	// BindAddr is the host:port to wait for the browser's answer at; any port of
	// the loopback interface if empty. CallbackURL is where browsers reach it, for
	// one on another machine; without it BindAddr must be of this machine alone.
	BindAddr, CallbackURL string
	// Now is the clock that certificates are judged by, when they have come:
	// people take their time to answer.
	Now func() time.Time
}

// UI is what the login may ask of the person or tell them. A nil function is
// something the person cannot do or does not want to be told.
type UI struct {
	// Password asks for the password of user on the named proxy.
	Password func(ctx context.Context, user, proxyHost string) (string, error)
	// Code asks for a one-time code.
	Code func(ctx context.Context) (string, error)
	// CodeOrKey is Code while security keys are being asked as well; its context
	// ends when one has answered.
	CodeOrKey func(ctx context.Context) (string, error)
	// Key is the person's security keys.
	Key Authenticator
	// Touch tells the person to touch one.
	Touch func()
	// MOTD shows the cluster's message of the day and returns once the person
	// has acknowledged it. The text is the server's, as it came.
	MOTD func(ctx context.Context, message string) error
	// Browse shows the link that begins a login in the browser, and opens it. It
	// does not wait for the browser, which ctx's end says is of no use any more.
	Browse func(ctx context.Context, link string) error
	// Expose asks whether the browser may bring the certificates to url, which is
	// Request.CallbackURL; an error is no.
	Expose func(ctx context.Context, url string) error
	// Announce tells what the proxy says of itself, before anything is sent
	// to it that could do harm in the wrong hands.
	Announce func(ping *proxy.Ping)
	// Headless tells where a headless login can be approved: the web address,
	// host:port as the proxy announces it, and the request's id. It returns at
	// once; over is called when the wait has ended.
	Headless func(webAddr, id string) (over func())
}

// Result is what a login leaves to be stored.
type Result struct {
	Identity *keystore.Identity
	Ping     *proxy.Ping
	// ConnUpgrade reports that connections to the proxy have to be upgraded
	// from HTTP because something on the way strips ALPN.
	ConnUpgrade bool
	// SingleLogout reports that the identity provider can be told of a logout (SAML).
	SingleLogout bool
	// DefaultRelayAddr is the relay that the cluster suggests; empty if there is none.
	DefaultRelayAddr string
}

// Errors that a caller may want to explain.
var (
	// ErrUnsupported: the cluster asks for a way to log in that this program
	// does not have.
	ErrUnsupported = errors.New("this way to log in is not supported")
	// ErrCannotAsk: a question has to be asked and there is nobody to ask.
	ErrCannotAsk = errors.New("there is no terminal to ask on")
	// ErrRejected: the identity that came back must not be used.
	ErrRejected = errors.New("the cluster's answer was refused")
)

// method is one way to prove to the proxy who the person is.
type method interface {
	// issue asks the person and has the proxy certify the keys.
	issue(ctx context.Context, s *session) (*proxy.LoginResponse, error)
}

// session is one login under way.
type session struct {
	client *proxy.Client
	req    Request
	ui     UI
	ping   *proxy.Ping
	keys   func() keyPair // made once, in the background
	// anyUser: the cluster says who the person is, and the answer need not be
	// for the user that was asked for. A method sets it.
	anyUser bool
}

// Run logs in through client. The proxy is pinged and all calls go over the
// one connection that client keeps; the keys are made, and the probe for the
// connection upgrade runs, while the person types.
//
// Errors: ErrUnsupported, ErrCannotAsk, ErrRejected; ErrNoKey for security keys,
// ErrNoAnswer and ErrExposed for browsers, ErrDenied and ErrNotApproved for headless
// logins; *proxy.Error for an answer that says no, the context's error, and whatever
// the UI returned.
func Run(ctx context.Context, client *proxy.Client, req Request, ui UI) (*Result, error) {
	if req.User != "" {
		if err := keystore.CheckName("user", req.User); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &session{client: client, req: req, ui: ui}
	password := askEarly(ctx, s)
	defer func() {
		cancel()
		password.wait() // the terminal is the caller's again only then
	}()
	var err error
	if s.ping, err = client.Ping(ctx, req.Connector); err != nil {
		return nil, err
	}
	if !client.Verified() {
		s.ping = s.ping.Unproven() // anyone may have said whose name it bears
	}
	oneKey, err := req.oneKey(s.ping)
	if err != nil {
		return nil, err
	}
	m, err := choose(s.ping, password)
	if err != nil {
		return nil, err
	}
	if _, ok := m.(*passwordMethod); !ok && password != nil { // it was expected to be one
		password.giveUp()
		password = nil
	}
	if ui.Announce != nil {
		ui.Announce(s.ping)
	}
	upgrade := make(chan bool, 1)
	go func() { upgrade <- client.UpgradeRequired(ctx) }()
	s.makeKeys(oneKey)

	if err := s.showMOTD(ctx, password); err != nil {
		return nil, err
	}
	answer, err := m.issue(ctx, s)
	if err != nil {
		return nil, err
	}
	id, err := s.accept(answer)
	if err != nil {
		return nil, err
	}
	return &Result{
		Identity: id, Ping: s.ping, ConnUpgrade: <-upgrade,
		SingleLogout:     answer.SingleLogout || s.ping.Auth.SingleLogout(),
		DefaultRelayAddr: answer.DefaultRelay(),
	}, nil
}

// makeKeys makes the keys while the person types: RSA keys take long enough to be
// noticed.
func (s *session) makeKeys(oneKey bool) {
	var keys keyPair
	made := make(chan struct{})
	go func() {
		keys = generate(keystore.Suite(s.ping.Auth.SignatureSuite()), oneKey)
		close(made)
	}()
	s.keys = func() keyPair {
		<-made
		return keys
	}
}

// oneKey reports whether one key is wanted, and refuses where it cannot be had.
func (r *Request) oneKey(ping *proxy.Ping) (bool, error) {
	if r.OneKey == nil {
		return false, nil
	}
	one, err := r.OneKey(ping)
	if one && keystore.Suite(ping.Auth.SignatureSuite()) == keystore.SuiteLegacy {
		return false, fmt.Errorf("%w: %w", ErrUnsupported, keystore.ErrNeedsRSA)
	}
	return one, err
}

// choose picks the method that the cluster's answer asks for.
func choose(ping *proxy.Ping, password *question) (method, error) {
	if policy := ping.Auth.PrivateKeyPolicy; policy != "" && policy != "none" {
		return nil, fmt.Errorf("%w: the cluster requires private keys of policy %q, which live on a hardware token", ErrUnsupported, policy)
	}
	switch suite := keystore.Suite(ping.Auth.SignatureSuite()); suite {
	case keystore.SuiteLegacy, keystore.SuiteBalanced, keystore.SuiteFIPS, keystore.SuiteHSM:
	default:
		return nil, fmt.Errorf("%w: the cluster asks for keys of the unknown suite %q", ErrUnsupported, suite)
	}
	switch kind := ping.Auth.Type; kind {
	case "local":
	case "github", "oidc", "saml":
		return &ssoMethod{kind}, nil
	default:
		return nil, fmt.Errorf("%w: the cluster logs people in through its %q connector", ErrUnsupported, kind)
	}
	switch name := ping.Auth.LocalName(); name {
	case "", "local":
		return &passwordMethod{asked: password}, nil
	case "headless":
		return chooseHeadless(ping)
	case "passwordless":
		return passwordlessMethod{}, nil
	default:
		return nil, fmt.Errorf("%w: %q", ErrUnsupported, name)
	}
}

// showMOTD shows the message of the day, once the person is through with a
// question that was put before it was known that there is one.
func (s *session) showMOTD(ctx context.Context, asked *question) error {
	if !s.ping.Auth.HasMOTD {
		return nil
	}
	message, err := s.client.MOTD(ctx)
	if err != nil || message == "" || s.ui.MOTD == nil {
		return err
	}
	if asked.wait(); asked != nil && asked.err != nil {
		return asked.err
	}
	return s.ui.MOTD(ctx, message)
}

// route is the leaf cluster that the certificates are to lead to; empty for the
// proxy's own cluster.
func (s *session) route() string {
	if s.req.Cluster == s.ping.ClusterName {
		return ""
	}
	return s.req.Cluster
}

// ttl is the lifetime to ask for: the person's wish, else the cluster's
// default, else twelve hours.
func (s *session) ttl() time.Duration {
	const fallback = 12 * time.Hour
	switch {
	case s.req.TTL > 0:
		return s.req.TTL
	case s.ping.Auth.DefaultSessionTTL() > 0:
		return s.ping.Auth.DefaultSessionTTL()
	}
	return fallback
}
