package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// checkIfExpires refuses --if-expires-within where no stored login can make up for another.
func (o *loginOptions) checkIfExpires(g *globals) error {
	for _, other := range []struct {
		given bool
		name  string
	}{{o.force, "force"}, {o.out.path != "", "out"}, {g.hasIdentity(), "identity"}, {o.migrateKeys != "", "migrate-keys"}} {
		if other.given && o.ifExpires > 0 {
			return usagef("--if-expires-within and --%s exclude each other", other.name)
		}
	}
	return nil
}

// loginOnce logs in, unless another process is doing so and its login will do. The login
// judged is there and was not good enough.
func (a *app) loginOnce(ctx context.Context, store *profile.Store, target *loginTarget, judged *keystore.Identity, o loginOptions) error {
	w := &wish{
		target:   target,
		mayAsk:   target.known == nil || a.canAsk(target) || a.wantsLink(target),
		atOnce:   o.force || o.passwordStdin,
		hint:     ", tsh login --force asks here",
		patience: turnPatience,
		made:     func() *session { return a.madeSince(store, judged) },
		ask:      func() (*session, error) { return a.authenticate(ctx, store, target) },
	}
	if target.known != nil && !needsTerminal(a.globals.auth, target.known) {
		w.nobody = a.mayBrowse()
	}
	if o.force {
		w.made = func() *session { return nil }
	}
	s, ours, err := a.oneLogin(ctx, store, w)
	if err != nil {
		return err
	}
	if !ours {
		o.ifExpires = 0 // it does not get younger than this
		if target, err = a.wantedTarget(store, &o); err != nil {
			return err
		}
		if done, _, err := a.reuse(ctx, store, target, o); done || err != nil {
			return err
		}
		if s, err = a.authenticate(ctx, store, target); err != nil {
			return err
		}
	}
	if !a.lasts(s.id, o.ifExpires) {
		a.ui.warn("the cluster's logins last for less than --if-expires-within=%v", &o.ifExpires)
	}
	return a.showStatus(store, statusView{active: s.profile.Name, verbose: o.verbose, format: a.loginFormat()})
}

// reuse selects the stored login, and says so, if it is valid, lasts long enough, and is
// for the same proxy and user. Done reports whether it was; judged is a login that is
// valid and was not.
func (a *app) reuse(ctx context.Context, store *profile.Store, target *loginTarget, o loginOptions) (done bool, judged *keystore.Identity, err error) {
	p := target.known
	if p.User != target.user {
		return false, nil, nil
	}
	id, err := store.IdentityFor(p, a.cluster(p))
	var locked *keystore.KeyringError
	if errors.As(err, &locked) && !a.globals.keystoreGiven {
		return false, nil, err // it may be in order; a login would not help
	}
	if err != nil || id.CheckTime(a.now()) != nil {
		return false, nil, nil // whatever is wrong with it, a login mends it
	}
	if !target.sameAddress() || !a.lasts(id, o.ifExpires) {
		return false, id, nil
	}
	if kept, err := a.keepKeys(ctx, store, p, id); !kept || err != nil {
		return false, id, err
	}
	if o.request.wanted() || a.cluster(p) != p.Cluster {
		return true, id, a.change(ctx, store, p, id, o)
	}
	return true, id, a.selectReused(ctx, store, p, id, o)
}

// selectReused makes a login that is there the current one, and says in one line that
// there was nothing else to do.
func (a *app) selectReused(ctx context.Context, store *profile.Store, p *profile.Profile, id *keystore.Identity, o loginOptions) error {
	now := ""
	if current, err := store.Current(); err != nil || current != p.Name {
		if err := store.Select(ctx, p.Name); err != nil {
			return err
		}
		now = "; it is the current login now"
	}
	if o.verbose || a.globals.json {
		return a.showStatus(store, statusView{active: p.Name, verbose: o.verbose, format: a.loginFormat()})
	}
	_, err := fmt.Fprintf(a.out, "Logged in already as %s%s.\n", a.describeLogin(p, id), now)
	a.warnExpiry(p, id)
	return err
}
