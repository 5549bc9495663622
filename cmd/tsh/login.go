package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// loginOptions are the flags of login.
type loginOptions struct {
	force         bool
	passwordStdin bool
	verbose       bool
	migrateKeys   string
}

func (a *app) loginCommand() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login [flags]",
		Short: "Log in to a cluster, or select a login that is still valid",
		Long: "login authenticates with the cluster's web proxy and stores short-lived certificates.\n" +
			"Where a valid login for the same proxy and user is there already, it is selected and\n" +
			"shown; --force logs in again. Without --proxy the proxy of the last login is taken.",
		Example: "  tsh login --proxy=teleport.example.com --user=alice\n" +
			"  tsh login --force\n" +
			"  tsh login --proxy=localhost:3080 --ca-file=ca.pem\n" +
			"  tsh login --proxy=teleport.example.com --keystore=keyring\n" +
			"  tsh login --proxy=teleport.example.com --add-keys-to-agent=only\n" +
			"  tsh login --migrate-keys=keyring\n" +
			"  printf '%s\\n%s\\n' \"$PASSWORD\" \"$CODE\" | tsh login --proxy=localhost:3080 --password-stdin",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("selecting the cluster %q at login is not supported yet", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runLogin(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.force, "force", false, "authenticate even if there is a valid login")
	fs.BoolVar(&o.passwordStdin, "password-stdin", false, "read the password from line 1 of stdin, and the one-time code, if one is needed, from line 2")
	fs.StringVar(&o.migrateKeys, "migrate-keys", "", "move the private keys of a login that is there to `PLACE`, file or keyring, and do nothing else")
	a.globals.addKeystore(fs)
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "also list the variables that replace what is stored")
	addNegations(fs)
	return cmd
}

func (a *app) runLogin(ctx context.Context, o loginOptions) error {
	if a.globals.keystore == string(keysInMemory) && a.globals.addKeysToAgent != agentOnly && o.migrateKeys == "" {
		return usagef("login with --keystore=memory (or TSH_KEYSTORE) would leave nothing to log in with; --add-keys-to-agent=only keeps the key in the ssh-agent, and ssh and ls log in for themselves with --keystore=memory")
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	if o.migrateKeys != "" {
		return a.runMigrateKeys(ctx, store, o)
	}
	target, err := a.loginTarget(store)
	if err != nil {
		return err
	}
	if target.known != nil && !o.force {
		done, err := a.reuse(ctx, store, target, o)
		if done || err != nil {
			return err
		}
	}
	target.passwordStdin = o.passwordStdin
	s, err := a.authenticate(ctx, store, target)
	if err != nil {
		return err
	}
	return a.showStatus(store, statusView{active: s.profile.Name, verbose: o.verbose, format: a.loginFormat()})
}

// loginFormat is how login prints what it leaves: it has --json and no --format,
// which elsewhere names the format of an identity file.
func (a *app) loginFormat() string {
	if a.globals.json {
		return formatJSON
	}
	return formatText
}

// reuse selects and shows the stored login if it is valid and for the same
// proxy and user; done reports whether it was.
func (a *app) reuse(ctx context.Context, store *profile.Store, target *loginTarget, o loginOptions) (done bool, err error) {
	p := target.known
	if p.User != target.user || !target.sameAddress() {
		return false, nil
	}
	id, err := store.Identity(p)
	var locked *keystore.KeyringError
	if errors.As(err, &locked) && !a.globals.keystoreGiven {
		return false, err // it may be in order; a login would not help
	}
	if err != nil || id.CheckTime(a.now()) != nil {
		return false, nil // whatever is wrong with it, a login mends it
	}
	if kept, err := a.keepKeys(ctx, store, p, id); !kept || err != nil {
		return false, err
	}
	if current, err := store.Current(); err != nil || current != p.Name {
		if err := store.Select(ctx, p.Name); err != nil {
			return false, err
		}
	}
	return true, a.showStatus(store, statusView{active: p.Name, verbose: o.verbose, format: a.loginFormat()})
}

// loginTarget is whom to log in where.
type loginTarget struct {
	addr  proxy.Addr
	proxy string           // as typed, or as stored
	user  string           // the cluster's name for the person
	known *profile.Profile // what an earlier login left, or nil

	passwordStdin bool
	keepCurrent   bool
	keys          profile.Keystore // where private keys go; see keysOf
	answered      func()           // the proxy has answered: nothing is waited for any more
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

// rememberedPort is the web port that the proxy had last time, 0 if unknown.
func (t *loginTarget) rememberedPort() int {
	if t.known == nil {
		return 0
	}
	_, port, err := net.SplitHostPort(t.known.WebProxyAddr)
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

// authenticate logs in, stores what comes of it in one commit, and returns it
// ready for use.
func (a *app) authenticate(ctx context.Context, store *profile.Store, t *loginTarget) (*session, error) {
	name := t.addr.Host
	if t.known != nil {
		name = t.known.Name
	}
	if err := a.placeKeys(store, t, name); err != nil {
		return nil, err
	}
	web, err := a.webOptions()
	if err != nil {
		return nil, err
	}
	web.Addr, web.RememberedPort = t.addr, t.rememberedPort()
	client := proxy.NewClient(web)
	defer client.Close()
	t.answered = a.ui.waiting("the proxy " + t.proxy)
	defer t.answered()
	result, err := login.Run(ctx, client, login.Request{
		User:      t.user,
		Connector: a.globals.auth,
		TTL:       time.Duration(a.globals.ttl) * time.Minute,
		AskFirst:  t.known != nil && takesPassword(t.known),
		// The proxy may have another name than it was given, and another login there.
		OneKey: func(ping *proxy.Ping) (bool, error) {
			if announced := ping.ProfileName(t.addr.Web()); announced != name {
				if err := a.placeKeys(store, t, announced); err != nil {
					return false, err
				}
			}
			return t.keys == profile.KeysInAgent, nil
		},
		Now: a.now,
	}, a.loginUI(t))
	if err != nil {
		return nil, explainLogin(err, a.globals.user, t.user)
	}
	fresh := &profile.Profile{}
	if t.known != nil && t.known.Name == result.Identity.Proxy {
		fresh = t.known // keeps what others have stored there
	}
	fillProfile(fresh, result, client.WebAddr())
	fresh.Typed = t.addr.Host
	fresh.Proven = ""
	if client.Verified() {
		fresh.Proven = t.addr.Host
	}
	return a.keepLogin(ctx, store, t, fresh, result.Identity)
}

// takesPassword reports whether the last login to p was with a password.
func takesPassword(p *profile.Profile) bool {
	return p.SSOHost == "" && (p.AuthConnector == "" || p.AuthConnector == "local")
}

// explainLogin adds what a person can do about a login that failed.
func explainLogin(err error, asked, user string) error {
	var refused *proxy.Error
	if !errors.As(err, &refused) || refused.Status != 403 {
		return err
	}
	switch {
	case asked == "":
		return withHint(err, "the user name was taken to be %q; --user=NAME gives another", user)
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
		},
		MOTD: a.showMOTD,
	}
	if t.passwordStdin {
		lines := newLineReader(a.io.in)
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
	p.SSOHost = ""
	p.MissingClusterDetails = false
	if p.MFAMode == "" {
		p.MFAMode = "auto"
	}
}
