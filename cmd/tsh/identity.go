package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// identityError is an identity file that cannot be used, or not with this proxy.
type identityError struct{ err error }

func (e *identityError) Error() string { return e.err.Error() }
func (e *identityError) Unwrap() error { return e.err }

// hasIdentity reports whether an identity file takes the place of stored logins.
func (g *globals) hasIdentity() bool { return g.identity != "" }

// refuseIdentity is for commands that are about what is stored and nothing else.
func (g *globals) refuseIdentity(command string) error {
	if !g.hasIdentity() {
		return nil
	}
	return usagef("%s is about stored logins, and --identity (or TELEPORT_IDENTITY_FILE) names a file instead of them", command)
}

// virtual is an identity file with the proxy that it is used with.
type virtual struct {
	id   *keystore.Identity
	addr proxy.Addr
	// profile is what a stored login would say, as far as that is known without asking
	// the proxy.
	profile *profile.Profile
}

// openIdentity reads the file that --identity names, and says what is wrong with one that
// can be used all the same.
func (a *app) openIdentity() (*virtual, error) {
	id, err := keystore.ReadIdentityFile(a.globals.identity)
	if err != nil {
		return nil, &identityError{err}
	}
	for _, warning := range id.Warnings {
		a.ui.warn("%s", warning)
	}
	return a.pairIdentity(id)
}

// pairIdentity puts an identity together with the proxy that the command line names.
func (a *app) pairIdentity(id *keystore.Identity) (*virtual, error) {
	id.Now = a.now
	if user := a.globals.user; a.globals.userFlag && user != id.User {
		return nil, usagef("identity file %s is of %s, not of %s (--user)", a.globals.identity, text.Line(id.User), user)
	}
	if a.globals.proxy == "" {
		example := "HOST"
		if id.Proxy != "" {
			example = id.Proxy
		}
		return nil, usagef("an identity file needs its proxy beside it: --proxy=%s (or TELEPORT_PROXY)", example)
	}
	addr, err := proxy.ParseAddr(a.globals.proxy)
	if err != nil {
		return nil, &usageError{err}
	}
	p := &profile.Profile{Name: addr.Host, WebProxyAddr: addr.Web(), User: id.User, Cluster: id.Cluster}
	if !addr.WebPortGiven { // it is found out anew each time
		p.WebProxyAddr = addr.Host
	}
	return &virtual{id, addr, p}, a.checkCluster()
}

// withIdentity runs use with an identity file in the place of a stored login. Nothing is
// stored and nobody is asked to log in.
func (a *app) withIdentity(ctx context.Context, use func(context.Context, *session) error) error {
	v, err := a.openIdentity()
	if err != nil {
		return err
	}
	a.storeless = true
	s, err := a.identitySession(ctx, v)
	if err == nil {
		err = a.onCluster(use)(ctx, s)
	}
	return a.explainIdentity(err)
}

// explainIdentity says how to get on with a file that has expired.
func (a *app) explainIdentity(err error) error {
	if isExpired(err) || errors.Is(err, api.ErrExpired) {
		return withHint(err, "with --identity nobody is asked to log in; renew the file with what made it, for example:\ntsh login --out=%s --overwrite --proxy=%s", a.globals.identity, cmp.Or(a.globals.proxy, "HOST"))
	}
	return err
}

// identitySession makes an identity file ready for use. What a profile would say of the
// proxy comes from its answer to one ping.
func (a *app) identitySession(ctx context.Context, v *virtual) (*session, error) {
	client, err := a.webClient(v.addr, 0)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	result, err := a.introduce(ctx, client, v)
	if err != nil {
		return nil, err
	}
	p, id := v.profile, v.id
	fillProfile(p, result, client.WebAddr())
	p.Typed = v.addr.Host
	if v.addr.WebPortGiven && p.Name == v.addr.Host {
		p.WebProxyAddr = v.addr.Web() // what was typed has answered
	}
	return a.narrow(&session{p, id, a.cluster(p)}), nil
}

// introduce asks the proxy what it is, and judges whether the identity can be used
// there. It tells the identity the proxy's name.
func (a *app) introduce(ctx context.Context, client *proxy.Client, v *virtual) (*login.Result, error) {
	id, file := v.id, a.globals.identity
	if err := id.CheckTime(a.now()); err != nil {
		return nil, fmt.Errorf("identity file %s: %w", file, err)
	}
	if id.TLSCert == nil {
		return nil, &identityError{fmt.Errorf("identity file %s has no TLS certificate, without which no proxy lets it in", file)}
	}
	defer a.ui.waiting("the proxy " + a.globals.proxy)()
	ping, upgrade, err := pingAndProbe(ctx, client, v.addr)
	if err != nil {
		return nil, err
	}
	if root := id.RootCluster(); ping.ClusterName != root {
		return nil, &identityError{fmt.Errorf("identity file %s is for cluster %s, and the proxy %s is one of cluster %s",
			file, text.Line(root), client.WebAddr(), text.Line(ping.ClusterName))}
	}
	if !client.Verified() {
		ping = ping.Unproven()
	}
	id.Proxy = ping.ProfileName(client.WebAddr())
	if err := id.Check(); err != nil {
		return nil, &identityError{fmt.Errorf("identity file %s: %w", file, err)}
	}
	return &login.Result{Identity: id, Ping: ping, ConnUpgrade: upgrade}, nil
}

// pingAndProbe asks the proxy what it is and, at the same time if it is known where,
// whether connections have to be upgraded.
func pingAndProbe(ctx context.Context, client *proxy.Client, addr proxy.Addr) (*proxy.Ping, bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	upgrade := make(chan bool, 1)
	probe := func() { upgrade <- client.UpgradeRequired(ctx) }
	if addr.WebPortGiven {
		go probe()
	}
	ping, err := client.Ping(ctx, "")
	if err != nil {
		return nil, false, err
	}
	if !addr.WebPortGiven {
		probe()
	}
	return ping, <-upgrade, nil
}

// statusOfIdentity shows what an identity file says, without asking anybody.
func (a *app) statusOfIdentity(view statusView) error {
	v, err := a.openIdentity()
	if err != nil {
		return err
	}
	entry := newStatusProfile(v.profile, v.id, a.now())
	var problem error
	if entry.expired {
		problem = a.explainIdentity(problemExpired(entry.ValidUntil))
	}
	return a.writeStatus(&status{Active: entry, Profiles: []*statusProfile{}, Environment: statusEnvironment()}, problem, view)
}

// loginWithIdentity makes a stored login of an identity file.
func (a *app) loginWithIdentity(ctx context.Context, o *loginOptions) error {
	if o.passwordStdin {
		return usagef("an identity file needs no password; leave --password-stdin out")
	}
	if a.globals.keystore == string(keysInMemory) {
		return usagef("login with --keystore=memory (or TSH_KEYSTORE) would store nothing; ls and ssh take --identity themselves")
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	v, err := a.openIdentity()
	if err != nil {
		return err
	}
	client, err := a.webClient(v.addr, 0)
	if err != nil {
		return err
	}
	defer client.Close()
	result, err := a.introduce(ctx, client, v)
	if err != nil {
		return a.explainIdentity(err)
	}
	p, err := store.Load(v.id.Proxy)
	if err != nil {
		p = &profile.Profile{} // whatever is wrong with the one that is there, this replaces it
	}
	t := &loginTarget{proxy: a.globals.proxy, addr: v.addr, user: v.id.User}
	if err := a.placeKeys(store, t, v.id.Proxy); err != nil {
		return err
	}
	fillProfile(p, result, client.WebAddr())
	p.Typed, p.Proven = v.addr.Host, ""
	if client.Verified() {
		p.Proven = v.addr.Host
	}
	if _, err = a.keepLogin(ctx, store, t, p, v.id); err != nil {
		return err
	}
	stored, err := store.IdentityFor(p, a.cluster(p))
	if err != nil {
		return err
	}
	return a.change(ctx, store, p, stored, *o) // the command line may want more of it
}
