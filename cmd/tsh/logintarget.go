package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// loginTarget is whom to log in where.
type loginTarget struct {
	addr  proxy.Addr
	proxy string           // as typed, or as stored
	user  string           // the cluster's name for the person
	known *profile.Profile // what an earlier login left, or nil

	passwordStdin bool
	keepCurrent   bool             // what is the current profile stays it
	out           *outOptions      // not nil: nothing is stored
	cluster       string           // to select; empty for the proxy's own
	request       *requestOptions  // nil for a login that nobody asked for by name
	keys          profile.Keystore // where private keys go; see keysOf
	answered      func()           // the proxy has answered: nothing is waited for any more
}

// wantedTarget is loginTarget for a login that somebody has typed, with what they want
// of it.
func (a *app) wantedTarget(store *profile.Store, o *loginOptions) (*loginTarget, error) {
	t, err := a.loginTarget(store)
	if err != nil {
		return nil, err
	}
	t.passwordStdin, t.request = o.passwordStdin, &o.request
	if a.globals.cluster != "" {
		t.cluster = a.globals.cluster
	}
	return t, nil
}

// loginTarget works out whom to log in where: from flags and environment, else
// from the profile that an earlier login left.
func (a *app) loginTarget(store *profile.Store) (*loginTarget, error) {
	addr, name, err := a.namedProxy(store)
	if err != nil {
		return nil, err
	}
	t := &loginTarget{proxy: a.globals.proxy, addr: addr}
	known, err := store.Load(name)
	switch {
	case err == nil:
		t.known = known
	case t.proxy == "" && errors.Is(err, profile.ErrNoCurrent):
		return nil, usagef("there is no earlier login, so the proxy has to be named: tsh login --proxy=HOST")
	case t.proxy == "":
		return nil, err
	}
	if t.proxy == "" {
		t.proxy = known.WebProxyAddr
		if t.addr, err = proxy.ParseAddr(t.proxy); err != nil {
			return nil, fmt.Errorf("profile %s: %w", known.Name, err)
		}
	}
	t.cluster = selectedLeaf(store, t.known)
	t.user, err = a.loginUser(known)
	return t, err
}

func (a *app) loginUser(known *profile.Profile) (string, error) {
	if a.globals.user != "" {
		return a.globals.user, nil
	}
	if known != nil && known.User != "" {
		return known.User, nil
	}
	return osUser()
}

// name is that of the profile that an earlier login left or, as far as that is known
// before the proxy has answered, this one will leave.
func (t *loginTarget) name() string {
	if t.known != nil {
		return t.known.Name
	}
	return t.addr.Host
}

// rememberedPort is the web port that the proxy had last time, 0 if unknown.
func (t *loginTarget) rememberedPort() int {
	if t.known == nil {
		return 0
	}
	return webPort(t.known)
}

// webPort is the web port in a profile, 0 if it is not known.
func webPort(p *profile.Profile) int {
	_, port, err := net.SplitHostPort(p.WebProxyAddr)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	return n
}

// sameAddress reports whether the proxy that was typed is the one the profile
// stands for: a port, if one was typed, is the stored one.
func (t *loginTarget) sameAddress() bool {
	if !t.addr.WebPortGiven || t.addr.Host != t.known.Name {
		return true
	}
	return t.rememberedPort() == t.addr.WebPort
}

// loginHint is the command that logs user in to proxy, of which known is what an earlier
// login left, or nil. Where a connector says who the person is, no name is needed.
func loginHint(proxy, user string, known *profile.Profile) string {
	command := "tsh login --proxy=" + text.Line(proxy)
	if known == nil || takesPassword(known) {
		command += " --user=" + text.Line(user)
	}
	return command
}
