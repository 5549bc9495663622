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
	fresh := &profile.Profile{}
	if t.known != nil && t.known.Name == result.Identity.Proxy {
		fresh = t.known // keeps what others have stored there
	}
	fillProfile(fresh, result, client.WebAddr())
	fresh.Typed, fresh.Proven = t.addr.Host, ""
	if client.Verified() {
		fresh.Proven = t.addr.Host
	}
	return &session{fresh, result.Identity, result.Identity.Cluster}, nil
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
		return explainMode(err)
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
	ui.Code = func(ctx context.Context) (string, error) {
		code, err := a.askSecret(ctx, "One-time code: ")
		return strings.TrimSpace(code), err
	}
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

// fillProfile puts what the proxy announced into p. What p holds besides stays.
func fillProfile(p *profile.Profile, result *login.Result, webAddr string) {
	s := result.Ping.Settings(webAddr)
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
	p.MissingClusterDetails = false
	if p.MFAMode == "" {
		p.MFAMode = "auto"
	}
}
