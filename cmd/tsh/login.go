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
	ifExpires     span // with --if-expires-within
	passwordStdin bool
	verbose       bool
	migrateKeys   string
	out           outOptions
	request       requestOptions
}

func (a *app) loginCommand() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login [flags] [CLUSTER]",
		Short: "Log in to a cluster, or select a login that is still valid",
		Long: "login authenticates with the cluster's web proxy and stores short-lived certificates,\n" +
			"with a password or, where the cluster has a connector for it, through the browser.\n" +
			"Where a valid login for the same proxy and user is there already, it is selected, and a\n" +
			"line says so; --force logs in again, --if-expires-within if it does not last long enough.\n" +
			"Without --proxy the proxy of the last login is taken. Where another process is logging in\n" +
			"to the same proxy, it is waited for.\n" +
			"With --out the login goes into a file for a program, and nothing is stored; with\n" +
			"--identity such a file becomes a stored login.\n" +
			"CLUSTER selects the proxy's own cluster or a leaf of it, without a new login if one is valid.",
		Example: "  tsh login --proxy=teleport.example.com --user=alice\n" +
			"  tsh login --proxy=teleport.example.com --auth=corp-sso\n" +
			"  tsh login --proxy=teleport.example.com --browser=none\n" +
			"  tsh login --force\n" +
			"  tsh login --if-expires-within=30m && ansible-playbook site.yml\n" +
			"  tsh login leaf.example.com\n" +
			"  tsh login --request-roles=dba --request-reason='ticket 12'\n" +
			"  tsh login --proxy=teleport.example.com --auth=passwordless\n" +
			"  SSL_CERT_FILE=ca.pem tsh login --proxy=localhost:3080\n" +
			"  tsh login --proxy=teleport.example.com --keystore=keyring\n" +
			"  tsh login --proxy=teleport.example.com --add-keys-to-agent=only\n" +
			"  tsh login --migrate-keys=keyring\n" +
			"  tsh login --proxy=teleport.example.com --ttl=60 --out=robot.identity\n" +
			"  tsh login --proxy=teleport.example.com --out=id --format=openssh --overwrite\n" +
			"  tsh login --proxy=teleport.example.com --identity=robot.identity\n" +
			"  printf '%s\\n%s\\n' \"$PASSWORD\" \"$CODE\" | tsh login --proxy=localhost:3080 --password-stdin",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one cluster, not %q as well", cmd.CommandPath(), args[1])
			}
			return o.request.check()
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.globals.cluster = args[0]
			}
			if err := o.checkIfExpires(&a.globals); err != nil {
				return err
			}
			if done, err := a.loginWithFile(cmd.Context(), &o); done || err != nil {
				return err
			}
			return a.runLogin(cmd.Context(), o)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.force, "force", false, "authenticate even if there is a valid login")
	fs.Var(&o.ifExpires, "if-expires-within", "authenticate only if the login ends within this `TIME`, 30m or 1h30m")
	fs.BoolVar(&o.passwordStdin, "password-stdin", false, "read the password from line 1 of stdin, and the one-time code, if one is needed, from line 2")
	fs.StringVar(&o.migrateKeys, "migrate-keys", "", "move the private keys of a login that is there to `PLACE`, file or keyring, and do nothing else")
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` to select, as the argument [TELEPORT_CLUSTER]")
	o.request.addFlags(fs)
	a.globals.addKeystore(fs)
	o.out.addFlags(fs)
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "also list the variables that replace what is stored")
	addNegations(fs)
	return cmd
}

func (a *app) runLogin(ctx context.Context, o loginOptions) error {
	if a.globals.keystore == string(keysInMemory) && a.globals.addKeysToAgent != agentOnly && o.migrateKeys == "" {
		return usagef("login with --keystore=memory (or TSH_KEYSTORE) would leave nothing to log in with; --add-keys-to-agent=only keeps the key in the ssh-agent, and ssh and ls log in for themselves with --keystore=memory")
	}
	if err := a.checkCluster(); err != nil {
		return err
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	if o.migrateKeys != "" {
		return a.runMigrateKeys(ctx, store, o)
	}
	target, err := a.wantedTarget(store, &o)
	if err != nil {
		return err
	}
	var judged *keystore.Identity
	if target.known != nil && !o.force {
		var done bool
		if done, judged, err = a.reuse(ctx, store, target, o); done || err != nil {
			return err
		}
	}
	return a.loginOnce(ctx, store, target, judged, o)
}

// loginFormat is how login prints what it leaves: it has --json and no --format,
// which elsewhere names the format of an identity file.
func (a *app) loginFormat() string {
	if a.globals.json {
		return formatJSON
	}
	return formatText
}

// loginTarget is whom to log in where.
type loginTarget struct {
	addr  proxy.Addr
	proxy string           // as typed, or as stored
	user  string           // the cluster's name for the person
	known *profile.Profile // what an earlier login left, or nil

	passwordStdin bool
	keepCurrent   bool
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
	if a.headlessRefused != nil {
		return nil, a.headlessRefused
	}
	name := t.addr.Host
	if t.known != nil {
		name = t.known.Name
	}
	if err := a.placeKeys(store, t, name); err != nil {
		return nil, err
	}
	client := proxy.NewClient(proxy.Options{Addr: t.addr, Insecure: a.globals.insecure, RememberedPort: t.rememberedPort()})
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
		return nil, explainLogin(err, a.globals.user, t)
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
	s := &session{fresh, result.Identity, result.Identity.Cluster}
	if s.cluster != s.id.RootCluster() {
		a.leafAtLogin(ctx, s)
	}
	if t.request != nil {
		if err := a.requestFresh(ctx, s, *t.request); err != nil {
			return nil, err
		}
	}
	return a.keepLogin(ctx, store, t, fresh, s.id)
}

// takesPassword reports whether the last login to p was with a password.
func takesPassword(p *profile.Profile) bool {
	return p.SSOHost == "" && (p.AuthConnector == "" || p.AuthConnector == "local")
}

// explainLogin adds what a person can do about a login that failed.
func explainLogin(err error, asked string, t *loginTarget) error {
	if errors.Is(err, login.ErrNoKey) {
		return explainNoKey(err)
	}
	var refused *proxy.Error
	if errors.As(err, &refused) && refused.Status == 404 && t.cluster != "" {
		return withHint(err, "is %s the name of a cluster there? tsh login without one, or with the name of the\nproxy's own cluster, selects that", text.Line(t.cluster))
	}
	if !errors.As(err, &refused) || refused.Status != 403 || refused.Op != "login" {
		return err
	}
	switch {
	case refused.Message == textKeyRefused:
		return withHint(err, "the password or the security key is wrong, or the account is locked for a while")
	case asked == "":
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
