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

// session is a stored login, ready for use.
type session struct {
	profile *profile.Profile
	id      *keystore.Identity
}

// openStore opens the profile directory, once for a run of the program: what the
// keyring said is then asked for once, too. A login that was killed while it was
// being stored is put in place.
func (a *app) openStore() (*profile.Store, error) {
	if a.store != nil {
		return a.store, nil
	}
	home, err := profile.Home()
	if err != nil && a.globals.keystore == string(keysInMemory) {
		// Nothing will be stored; what is not there says that nobody is logged in.
		home, err = filepath.Join(os.TempDir(), "tsh-nothing-"+rand.Text()), nil
	}
	if err != nil {
		return nil, err
	}
	a.store = profile.Open(home)
	a.store.Notice = func(message string) { a.ui.warn("%s", message) }
	if err := a.store.Settle(context.Background()); err != nil {
		slog.Debug("interrupted change is not finished", "error", err)
	}
	return a.store, nil
}

// selectProfile loads the profile that --proxy (or its variable) names, else
// the current one, with what the command line says about user and cluster.
func (a *app) selectProfile(store *profile.Store) (*profile.Profile, error) {
	addr, name, err := a.namedProxy(store)
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
	if addr.WebPortGiven && name == addr.Host {
		p.WebProxyAddr = addr.Web() // a port that was typed beats the stored one
	}
	return a.override(p), nil
}

// selectedName is the name of the profile that the command line selects.
func (a *app) selectedName(store *profile.Store) string {
	p, err := a.selectProfile(store)
	if err != nil {
		return ""
	}
	return p.Name
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

func (a *app) override(p *profile.Profile) *profile.Profile {
	if a.globals.user != "" {
		p.User = a.globals.user
	}
	return p
}

// checkCluster refuses a cluster, from the flag or the environment, that is not
// the one that was logged in to.
func (a *app) checkCluster(p *profile.Profile) error {
	if c := a.globals.cluster; c != "" && c != p.Cluster {
		return usagef("cluster %s (--cluster or TELEPORT_CLUSTER): only %s, the cluster that was logged in to, is supported yet", c, p.Cluster)
	}
	return nil
}

// openSession loads the stored login that the command line selects.
func (a *app) openSession() (*session, error) {
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	p, err := a.selectProfile(store)
	if err == nil {
		err = a.checkCluster(p)
	}
	if err != nil {
		return nil, err
	}
	return a.useSession(store, p)
}

// useSession loads the login of a profile from where it is stored, after a login,
// too: what is stored beside it, revoked keys say, counts as well.
func (a *app) useSession(store *profile.Store, p *profile.Profile) (*session, error) {
	id, err := store.Identity(p)
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
	return &session{p, id}
}

// withSession runs use with the stored login. Where the credentials are
// missing or expired, and only then, the person logs in and use runs once more.
func (a *app) withSession(ctx context.Context, use func(context.Context, *session) error) error {
	if a.globals.headless.on {
		return a.withHeadless(ctx, use)
	}
	s, err := a.openSession()
	if err == nil {
		err = use(ctx, s)
	}
	if !needsLogin(err) {
		return err
	}
	if s, err = a.relogin(ctx, err); err != nil {
		return err
	}
	return use(ctx, s)
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

// relogin logs in because of cause. It returns cause where there is nobody to
// ask, or no proxy to ask. The current profile stays the current one.
func (a *app) relogin(ctx context.Context, cause error) (*session, error) {
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	target, err := a.loginTarget(store)
	if err != nil {
		return nil, cause
	}
	if !haveTTY() {
		return nil, withHint(cause, "log in first: tsh login --proxy=%s --user=%s", target.proxy, target.user)
	}
	a.ui.say("%s: %s; logging in", target.proxy, cause)
	target.keepCurrent = true
	s, err := a.authenticate(ctx, store, target)
	if errors.Is(err, login.ErrCannotAsk) {
		return nil, cause
	}
	return s, err
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
