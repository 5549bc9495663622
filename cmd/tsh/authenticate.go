package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// authenticate logs in, stores what comes of it in one commit, and returns it
// ready for use.
func (a *app) authenticate(ctx context.Context, store *profile.Store, t *loginTarget) (*session, error) {
	if a.headlessRefused != nil {
		return nil, a.headlessRefused
	}
	s, err := a.issued(ctx, store, t)
	if err != nil {
		return nil, err
	}
	if s.cluster != s.id.RootCluster() {
		a.leafAtLogin(ctx, s)
	}
	if t.request != nil {
		if err := a.requestFresh(ctx, s, *t.request); err != nil {
			return nil, err
		}
	}
	return a.keepLogin(ctx, store, t, s.profile, s.id)
}

// issued logs in and returns what the cluster has issued, which is not stored yet.
func (a *app) issued(ctx context.Context, store *profile.Store, t *loginTarget) (*session, error) {
	name := t.name()
	if err := a.placeKeys(store, t, name); err != nil {
		return nil, err
	}
	client, err := a.webClient(t.addr, t.rememberedPort())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	t.answered = a.ui.waiting("the proxy " + t.proxy)
	defer t.answered()
	result, err := a.logIn(ctx, client, login.Request{
		User:     t.user,
		Cluster:  t.cluster,
		TTL:      time.Duration(a.globals.ttl) * time.Minute,
		AskFirst: t.known != nil && takesPassword(t.known),
		// The proxy may have another name than it was given, and another login there.
		OneKey: func(ping *proxy.Ping) (bool, error) {
			if announced := ping.ProfileName(t.addr.Web()); announced != name {
				if err := a.placeKeys(store, t, announced); err != nil {
					return false, err
				}
			}
			return t.keys == profile.KeysInAgent || t.out != nil && t.out.oneKey(ping), nil
		},
		MFAMode: a.globals.mfaMode,
		KeyUser: a.globals.user,
		Now:     a.now,
	}, t)
	if err != nil {
		return nil, a.explainLogin(err, t)
	}
	a.warnOfOther(t, result.Identity.User)
	fresh := &profile.Profile{}
	if t.known != nil && t.known.Name == result.Identity.Proxy {
		fresh = t.known // keeps what others have stored there
	}
	fillProfile(fresh, result, client, t.addr)
	return &session{fresh, result.Identity, result.Identity.Cluster}, nil
}

// logIn runs a login the way that the command line names, else the way that the
// last one went, else the cluster's own way.
func (a *app) logIn(ctx context.Context, client *proxy.Client, req login.Request, t *loginTarget) (*login.Result, error) {
	req.Connector = a.globals.auth
	req.BindAddr, req.CallbackURL = a.globals.browser.bindAddr, a.globals.browser.callback
	// A headless login is for one command; nobody means it to be for the next. Who
	// brings a password means to use it.
	remembered := req.Connector == "" && !t.passwordStdin && t.known != nil && t.known.AuthConnector != "" && t.known.AuthConnector != "headless"
	if remembered {
		req.Connector = t.known.AuthConnector
	}
	ui := a.securityKeyUI(a.loginUI(t), t)
	result, err := login.Run(ctx, client, req, ui)
	var gone *proxy.Error
	if remembered && errors.As(err, &gone) && gone.Op == "ping" && gone.Status == 400 {
		a.ui.say("The cluster does not know %s any more, through which the last login went; taking its default.", text.Line(req.Connector))
		req.Connector, req.AskFirst = "", false
		return login.Run(ctx, client, req, ui)
	}
	return result, err
}

// warnOfOther says that a command that had to log in goes on as somebody else than
// before: with a login that may be theirs.
func (a *app) warnOfOther(t *loginTarget, user string) {
	if t.keepCurrent && t.known != nil && a.globals.user == "" && t.known.User != user {
		a.ui.warn("this login is for %s; the one before was for %s", text.Line(user), text.Line(t.known.User))
	}
}

// takesPassword reports whether the last login to p was with a password.
func takesPassword(p *profile.Profile) bool {
	return p.SSOHost == "" && (p.AuthConnector == "" || p.AuthConnector == "local")
}

// explainLogin adds what a person can do about a login that failed.
func (a *app) explainLogin(err error, t *loginTarget) error {
	if errors.Is(err, login.ErrNoKey) {
		return explainNoKey(err, a.insteadOfKey(t))
	}
	var refused *proxy.Error
	if errors.As(err, &refused) && refused.Status == 404 && t.cluster != "" {
		return withHint(err, "is %s the name of a cluster there? tsh login without one, or with the name of the\nproxy's own cluster, selects that", text.Line(t.cluster))
	}
	if !errors.As(err, &refused) || refused.Status != 403 || refused.Op != "login" {
		return explainMode(err, a.globals.mfaMode)
	}
	switch {
	case refused.Message == textKeyRefused:
		return withHint(err, "the password or the security key is wrong, or the account is locked for a while")
	case a.globals.user == "":
		return withHint(err, "the user name was taken to be %q; --user=NAME gives another", t.user)
	case strings.Contains(refused.Message, "second factor"):
		return withHint(err, "a one-time code works once; if this one was used already, wait for the next")
	}
	return err
}

// loginUI is how this login talks with the person.
func (a *app) loginUI(t *loginTarget) login.UI {
	ui := login.UI{
		Announce: func(ping *proxy.Ping) {
			t.answered()
			a.announce(t, ping)
			a.warnOfUser(ping)
		},
		MOTD:   a.showMOTD,
		Browse: a.browse,
		Expose: a.expose,
	}
	if t.passwordStdin {
		lines := newLineReader(a.io.in)
		ui.Browse = func(context.Context, string) error {
			return usagef("--password-stdin: the cluster logs people in through the browser, not with a password")
		}
		ui.Password = func(ctx context.Context, _, _ string) (string, error) { return lines.next(ctx, "password") }
		ui.Code = func(ctx context.Context) (string, error) { return lines.next(ctx, "one-time code") }
		ui.MOTD = func(_ context.Context, message string) error {
			a.ui.say("%s", message)
			return nil
		}
		return ui
	}
	ui.Password = func(ctx context.Context, user, host string) (string, error) {
		return a.askSecret(ctx, fmt.Sprintf("Password for %s on %s: ", user, host))
	}
	ui.Code = a.askCode
	return ui
}

// announce says where this login goes, if that is not what it was last time.
func (a *app) announce(t *loginTarget, ping *proxy.Ping) {
	name := ping.ProfileName(t.addr.Web())
	switch {
	case t.known != nil && t.known.Name == name:
	case name == t.addr.Host:
		a.ui.say("First login to cluster %s through %s.", text.Line(ping.ClusterName), t.proxy)
	default:
		a.ui.say("First login to cluster %s through %s, which calls itself %s.", text.Line(ping.ClusterName), t.proxy, text.Line(name))
	}
}

// warnOfUser says that a name for the person is of no use where the identity
// provider has one, and forgets it.
func (a *app) warnOfUser(ping *proxy.Ping) {
	if a.globals.user != "" && ping.Auth.Type != "local" {
		a.ui.warn("--user=%s (or TELEPORT_USER) is ignored: the cluster learns the name from its %s connector", a.globals.user, ping.Auth.Type)
		a.globals.user = ""
	}
}

// showMOTD shows the message of the day and, on a terminal, waits until the
// person has seen it.
func (a *app) showMOTD(ctx context.Context, message string) error {
	a.ui.say("%s", message)
	_, err := a.askSecret(ctx, "Press Enter to go on: ")
	if errors.Is(err, login.ErrCannotAsk) {
		return nil
	}
	return err
}

// fillProfile puts into p what the proxy at addr announced, and whether its certificate
// was verified. What p holds besides stays.
func fillProfile(p *profile.Profile, result *login.Result, client *proxy.Client, addr proxy.Addr) {
	p.Typed, p.Proven = addr.Host, ""
	if client.Verified() {
		p.Proven = addr.Host
	}
	s := result.Ping.Settings(client.WebAddr())
	p.Name = result.Identity.Proxy
	p.WebProxyAddr = s.WebAddr
	p.SSHProxyAddr = s.SSHAddr
	p.KubeProxyAddr = s.KubeAddr
	p.PostgresProxyAddr = s.PostgresAddr
	p.MySQLProxyAddr = s.MySQLAddr
	p.MongoProxyAddr = s.MongoAddr
	p.User = result.Identity.User
	p.Cluster = result.Identity.Cluster
	p.TLSRouting = s.TLSRouting
	p.ConnUpgrade = result.ConnUpgrade
	p.LoadAllCAs = result.Ping.Auth.LoadAllCAs
	p.SSHDialTimeout = s.SSHDialTimeout
	p.AuthConnector, p.SSOHost = result.Ping.Auth.Connector()
	p.SAMLSLOEnabled, p.DefaultRelayAddr = result.SingleLogout, result.DefaultRelayAddr
	p.MissingClusterDetails = false
	if p.MFAMode == "" {
		p.MFAMode = "auto"
	}
}
