package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// session is a login, ready for use: one that is stored or has just been made, or what
// an identity file or a headless login stands in with.
type session struct {
	profile *profile.Profile
	id      *keystore.Identity
	cluster string // the cluster to go to: the selected one or another one, root or leaf
}

// openStore opens the profile directory, once for a run of the program: what the
// keyring said is then asked for once, too. A login that was killed while it was
// being stored is put in place.
func (a *app) openStore() (*profile.Store, error) {
	if a.store != nil {
		return a.store, nil
	}
	home, err := profile.Home()
	if err != nil && (a.storeless || a.globals.keystore == string(keysInMemory)) {
		// Nothing will be stored; what is not there says that nobody is logged in.
		home, err = filepath.Join(os.TempDir(), "tsh-nothing-"+rand.Text()), nil
	}
	if err != nil {
		return nil, err
	}
	a.store = profile.Open(home)
	a.store.Notice = func(message string) { a.ui.warn("%s", message) }
	if a.storeless {
		return a.store, nil
	}
	if err := a.store.Settle(context.Background()); err != nil {
		slog.Debug("interrupted change is not finished", "error", err)
	}
	return a.store, nil
}

// selectProfile loads the profile that --proxy (or its variable) names, else
// the current one, with what the command line says about user and cluster.
func (a *app) selectProfile(store *profile.Store) (*profile.Profile, error) {
	_, name, err := a.namedProxy(store)
	if err != nil {
		return nil, err
	}
	p, err := store.Load(name)
	if errors.Is(err, profile.ErrNoCurrent) {
		return nil, fmt.Errorf("not logged in: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return a.override(p), nil
}

// namedProxy is the proxy that --proxy (or its variable) names, and the name of
// its profile; both are empty if none is named.
func (a *app) namedProxy(store *profile.Store) (addr proxy.Addr, name string, err error) {
	if a.globals.proxy == "" {
		return addr, "", nil
	}
	if addr, err = proxy.ParseAddr(a.globals.proxy); err != nil {
		return addr, "", &usageError{err}
	}
	return addr, store.Resolve(addr.Host), nil
}

// override puts what the command line says in place of what is stored: the user, and
// ports of the proxy, which beat the stored ones if they were typed.
func (a *app) override(p *profile.Profile) *profile.Profile {
	addr, err := proxy.ParseAddr(a.globals.proxy)
	if err == nil && addr.WebPortGiven && addr.Host == p.Name {
		p.WebProxyAddr = addr.Web()
		if strings.Contains(a.globals.proxy, ",") {
			p.SSHProxyAddr = addr.SSH()
		}
	}
	if a.globals.user != "" {
		p.User = a.globals.user
	}
	return p
}

// openSession loads the stored login that the command line selects.
func (a *app) openSession() (*session, error) {
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	p, err := a.selectProfile(store)
	if err == nil {
		err = a.checkCluster()
	}
	if err != nil {
		return nil, err
	}
	return a.useSession(store, p)
}

// useSession loads the login of a profile from where it is stored, just after it was
// made, too: what is stored beside it, revoked keys say, counts as well.
func (a *app) useSession(store *profile.Store, p *profile.Profile) (*session, error) {
	id, err := store.IdentityFor(p, a.cluster(p))
	if err != nil {
		return nil, err
	}
	if err := id.CheckTime(a.now()); err != nil {
		return nil, err
	}
	return a.readySession(store, p, id), nil
}

// readySession is a session with what the person should know of it.
func (a *app) readySession(store *profile.Store, p *profile.Profile, id *keystore.Identity) *session {
	id.Now = a.now
	repaired, err := store.Protect(id.Exposed)
	for _, what := range repaired {
		a.ui.warn("%s", what)
	}
	if err != nil {
		a.ui.warn("%s", err)
	}
	for _, warning := range id.Warnings {
		a.ui.warn("%s", warning)
	}
	return a.narrow(&session{p, id, a.cluster(p)})
}

// withSession runs use with the stored login, or what the command line names in its
// place. Where the credentials that are stored are missing or expired, and only then,
// the person logs in and use runs once more: once, whatever the cluster says then. It
// is the one place for this.
func (a *app) withSession(ctx context.Context, use func(context.Context, *session) error) error {
	if a.globals.hasIdentity() {
		return a.withIdentity(ctx, use)
	}
	if a.globals.headless.on {
		return a.withHeadless(ctx, use)
	}
	use = a.onCluster(use)
	s, err := a.openSession()
	if err == nil {
		a.warnExpiry(s.profile, s.id)
		err = use(ctx, s)
	}
	if !needsLogin(err) || a.globals.noRelogin {
		return err
	}
	if s, err = a.relogin(ctx, err, s); err != nil {
		return err
	}
	err = use(ctx, s)
	if needsLogin(err) { // case L20: once is enough
		return withHint(err, "the login was made just now, so another one would not help; tell the cluster's administrator")
	}
	return err
}

// needsLogin reports whether err says that there are no usable credentials,
// rather than that something else is wrong.
func needsLogin(err error) bool {
	if isA[*begunError](err) {
		return false
	}
	return isExpired(err) || errors.Is(err, keystore.ErrNotFound) || errors.Is(err, keystore.ErrDamaged) ||
		errors.Is(err, profile.ErrNoCurrent) || errors.Is(err, profile.ErrNotFound) || errors.Is(err, api.ErrExpired)
}

// relogin logs in because of cause, or waits for a process that is at it already; before
// is the session that was not good enough, nil if there was none. It returns cause where
// there is nobody to ask, or no proxy to ask. The current profile stays the current one.
func (a *app) relogin(ctx context.Context, cause error, before *session) (*session, error) {
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	target, err := a.loginTarget(store)
	if err != nil {
		return nil, cause
	}
	target.keepCurrent = true
	var old *keystore.Identity
	if before != nil {
		old = before.id
	}
	s, _, err := a.oneLogin(ctx, store, &wish{
		target:   target,
		mayAsk:   a.canAsk(target),
		patience: turnPatience,
		made:     func() *session { return a.madeSince(store, old) },
		ask: func() (*session, error) {
			a.ui.say("%s: %s; logging in", target.proxy, cause)
			return a.authenticate(ctx, store, target)
		},
	})
	if errors.Is(err, login.ErrCannotAsk) {
		return nil, withHint(cause, "log in first: %s", loginHint(target.proxy, target.user, target.known))
	}
	return s, err
}

// madeSince returns the stored login if it is valid, and another one than before.
func (a *app) madeSince(store *profile.Store, before *keystore.Identity) *session {
	p, err := a.selectProfile(store)
	if err != nil {
		return nil
	}
	id, err := store.IdentityPublic(p) // without keys it is cheap to look
	if err != nil || id.CheckTime(a.now()) != nil || before != nil && id.TLSCert.Equal(before.TLSCert) {
		return nil
	}
	s, err := a.useSession(store, p)
	if err != nil {
		slog.Debug("the stored login is not used", "error", err)
		return nil
	}
	return s
}

// osUser is the person's account name on this machine.
func osUser() (string, error) {
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("the name of this account is unknown (%w); give --user", err)
	}
	name := u.Username
	if i := strings.LastIndexByte(name, '\\'); i >= 0 { // DOMAIN\name
		name = name[i+1:]
	}
	return name, nil
}
