package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// authHeadless is the value of --auth that --headless stands for.
const authHeadless = "headless"

// takesHeadless marks, among the annotations of a command, those that can run with
// a headless login.
const takesHeadless = "headless"

// Variables that nodes set in the sessions of a Teleport client; headless logins
// alone go by them.
const (
	envSessionProxy   = "SSH_SESSION_WEBPROXY_ADDR"
	envSessionUser    = "SSH_TELEPORT_USER"
	envSessionCluster = "SSH_TELEPORT_CLUSTER_NAME"
)

// headlessFlags say whether to log in headless, and who says so: a flag, which beats a
// variable.
type headlessFlags struct {
	on                    bool
	flag, auth, keyPlaced bool // --headless, --auth, --add-keys-to-agent were given
}

// note looks at what was given as a flag, before variables fill in the rest.
func (h *headlessFlags) note(fs *pflag.FlagSet) {
	h.flag = fs.Changed("headless") || fs.Changed("no-headless")
	h.auth = fs.Changed("auth")
	h.keyPlaced = fs.Changed("add-keys-to-agent")
}

// addHeadless adds the flags of headless logins.
func (g *globals) addHeadless(fs *pflag.FlagSet) {
	fs.BoolVar(&g.headless.on, "headless", false, "log in for this command alone, approved on another device; for ssh, scp and ls [TELEPORT_HEADLESS]")
	fs.StringVar(&g.mlock, "mlock", mlockAuto, "keep the program's memory out of swap, `MODE` off, auto, best_effort or strict [TELEPORT_MLOCK_MODE]")
}

// checkHeadless settles between --headless and --auth, and what goes with them.
func (g *globals) checkHeadless() error {
	if err := checkMlock(g.mlock); err != nil {
		return err
	}
	if err := g.chooseHeadless(); err != nil || !g.headless.on {
		return err
	}
	g.auth = authHeadless
	if g.hasIdentity() {
		return errors.New("--headless and --identity (or TELEPORT_IDENTITY_FILE) exclude each other")
	}
	if g.keystoreGiven && g.keystore != string(keysInMemory) {
		return errors.New("the keys of a headless login are in memory alone; leave --keystore out")
	}
	if g.headless.keyPlaced && g.addKeysToAgent != agentNo && g.addKeysToAgent != agentAuto {
		return errors.New("the keys of a headless login are in memory alone; leave --add-keys-to-agent out")
	}
	return nil
}

// chooseHeadless lets a flag beat the variable of the other one; two of a kind that say
// different things are an error.
func (g *globals) chooseHeadless() error {
	h := &g.headless
	said := g.auth == authHeadless
	switch {
	case g.auth == "" || said == h.on:
		return nil
	case h.flag && !h.auth && !h.on:
		g.auth = "" // of the variable
		return nil
	case h.flag && !h.auth, !h.flag && !h.auth && said, h.auth && !h.flag:
		h.on = h.flag || said
		return nil
	}
	return fmt.Errorf("--headless=%t and --auth=%s exclude each other", h.on, text.Line(g.auth))
}

// admitHeadless refuses --headless with a command that cannot use it. A variable is
// refused when the command comes to log in: it is meant for those that can.
func (a *app) admitHeadless(cmd *cobra.Command) error {
	if _, takes := cmd.Annotations[takesHeadless]; a.globals.headless.on && !takes {
		a.headlessRefused = usagef("%s cannot log in headless; ssh, scp and ls can", cmd.CommandPath())
		if h := a.globals.headless; h.flag || h.auth {
			return a.headlessRefused
		}
	}
	return nil
}

// withHeadless logs in for this one command, with the approval of another device, and
// runs use. Nothing is stored and nothing that is stored is read, but for the
// authorities that vouch for the proxy already. There is one login and no second one,
// whatever happens.
func (a *app) withHeadless(ctx context.Context, use func(context.Context, *session) error) error {
	if a.headlessRefused != nil {
		return a.headlessRefused
	}
	a.storeless = true
	s, err := a.loginHeadless(ctx)
	if err != nil {
		return err
	}
	err = a.onCluster(use)(ctx, s)
	if needsLogin(err) {
		return withHint(err, "a headless login is good for a minute, and this command took longer to connect; run it again")
	}
	return err
}

// loginHeadless logs in and returns a session that only this process has.
func (a *app) loginHeadless(ctx context.Context) (*session, error) {
	addr, err := a.headlessTarget()
	if err == nil {
		err = a.checkCluster()
	}
	if err != nil {
		return nil, err
	}
	client, err := a.webClient(addr, 0)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	answered := a.ui.waiting("the proxy " + addr.Host)
	defer answered()
	result, err := login.Run(ctx, client, login.Request{
		User:      a.globals.user,
		Connector: authHeadless,
		TTL:       time.Duration(a.globals.ttl) * time.Minute,
		Now:       a.now,
	}, login.UI{
		Announce: func(*proxy.Ping) { answered() },
		MOTD:     a.showMOTD,
		Headless: a.askElsewhere,
	})
	if err != nil {
		return nil, err
	}
	p := &profile.Profile{}
	fillProfile(p, result, client, addr)
	if err := vetHeadless(p, result.Identity); err != nil {
		return nil, err
	}
	result.Identity.Now = a.now
	return a.narrow(&session{p, result.Identity, a.cluster(p)}), nil
}

// headlessTarget is the proxy to log in to, and completes user and cluster: from flags
// and their variables, else from the session that the program runs in. The profile of
// this machine says nothing: whose it is is not known.
func (a *app) headlessTarget() (proxy.Addr, error) {
	g := &a.globals
	for _, from := range []struct {
		value    *string
		variable string
	}{{&g.proxy, envSessionProxy}, {&g.user, envSessionUser}, {&g.cluster, envSessionCluster}} {
		if *from.value == "" {
			*from.value = os.Getenv(from.variable)
		}
	}
	if g.proxy == "" {
		return proxy.Addr{}, usagef("a headless login needs the proxy's name: --proxy=HOST")
	}
	if g.user == "" {
		return proxy.Addr{}, usagef("a headless login needs the cluster's name for you: --user=NAME")
	}
	if err := keystore.CheckName("user", g.user); err != nil {
		return proxy.Addr{}, &usageError{err}
	}
	addr, err := proxy.ParseAddr(g.proxy)
	if err != nil {
		return addr, &usageError{err}
	}
	return addr, nil
}

// vetHeadless refuses a login that contradicts what is stored of that proxy.
func vetHeadless(p *profile.Profile, id *keystore.Identity) error {
	home, err := profile.Home()
	if err != nil {
		return nil // nothing is stored
	}
	return profile.Open(home).Vet(p, id)
}

// askElsewhere tells where this login is approved, and from time to time that it is
// still waited for.
func (a *app) askElsewhere(webAddr, id string) (over func()) {
	minutes := int(login.HeadlessPatience / time.Minute)
	a.ui.say("Approve this login in a browser, where you have your security key:\n\n"+
		"  https://%s/web/headless/%s\n\n"+
		"or in a terminal where you are logged in:\n\n"+
		"  tsh headless approve --user=%s --proxy=%s %s\n\n"+
		"Waiting for it, %d minutes at most (^C gives up)",
		text.Line(webAddr), id, shellQuote(text.Line(a.globals.user)), shellQuote(text.Line(webAddr)), id, minutes)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		each := time.NewTicker(time.Minute)
		defer each.Stop()
		for left := minutes - 1; left > 0; left-- {
			select {
			case <-each.C:
				a.ui.say("Still waiting for the approval, %d min left", left)
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
