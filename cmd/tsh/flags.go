package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// globals are the flags that every command takes, before or after its name.
// A value comes from the flag, else from the environment, else from the
// current profile.
type globals struct {
	_        [0]func() // never compared
	proxy    string
	user     string
	userFlag bool   // ... was given as a flag
	identity string // file that takes the place of stored logins
	fileFlag bool   // ... was given as a flag
	login    string
	auth     string
	cluster  string // set by commands that have --cluster, and by the environment

	clusterFlag bool // the cluster was given as a flag
	ttl         int  // minutes
	insecure    bool
	debug       bool
	json        bool
	escapes     bool

	addKeysToAgent string
	useAgent       bool
	agentFlag      bool   // a mode for the ssh-agent was given as a flag
	agentGiven     bool   // ... in whatever way
	keystore       string // where private keys go; "" is where they were
	keystoreGiven  bool   // ... as a flag
	mfaMode        string
	noRelogin      bool // set by commands that have --no-relogin
	browser        browserOptions
	trust          trust
	jump           string
	noResume       bool // set by commands that have --no-resume

	headless headlessFlags
	mlock    string // see keepOutOfSwap
}

func (g *globals) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&g.proxy, "proxy", "", "the cluster's proxy, `HOST[:PORT]` [TELEPORT_PROXY]")
	fs.StringVar(&g.user, "user", "", "the cluster's `NAME` for you [TELEPORT_USER]")
	fs.StringVarP(&g.identity, "identity", "i", "", "use the identity in `FILE`, not a stored login; needs --proxy [TELEPORT_IDENTITY_FILE]")
	fs.StringVarP(&g.login, "login", "l", "", "the `ACCOUNT` on the server to connect to [TELEPORT_LOGIN]")
	fs.StringVar(&g.auth, "auth", "", "the way to log in, a connector's `NAME`, local, passwordless or headless [TELEPORT_AUTH]")
	fs.IntVar(&g.ttl, "ttl", 0, "ask for certificates that last `MINUTES`")
	fs.BoolVar(&g.insecure, "insecure", false, "do not check the proxy's web certificate")
	fs.BoolVarP(&g.debug, "debug", "d", false, "say on stderr what is being done [TELEPORT_DEBUG]")
	fs.BoolVar(&g.json, "json", false, "print data and errors as JSON on stdout")
	fs.BoolVar(&g.escapes, "enable-escape-sequences", true, "act on ~. and ~~ after Enter in a session with a terminal")
	fs.StringVarP(&g.addKeysToAgent, "add-keys-to-agent", "k", agentAuto, "put the key of a login into the ssh-agent, `MODE` auto, no, yes or only [TELEPORT_ADD_KEYS_TO_AGENT]")
	fs.BoolVar(&g.useAgent, "use-local-ssh-agent", true, "--no-use-local-ssh-agent is --add-keys-to-agent=no [TELEPORT_USE_LOCAL_SSH_AGENT]")
	fs.Lookup("use-local-ssh-agent").Hidden = true // of old; the other flag says more
	fs.StringVar(&g.mfaMode, "mfa-mode", "auto", "the second factor to use, `MODE` auto, otp, cross-platform or platform [TELEPORT_MFA_MODE]")
	fs.StringVarP(&g.jump, "jumphost", "J", "", "connect through the proxy `HOST:PORT`, of the cluster or of a leaf")
	g.browser.addFlags(fs)
	g.trust.addFlags(fs)
	g.addHeadless(fs)
	g.addUnsupported(fs)
	addNegations(fs)
}

// environment pairs flags with the variables that stand in for them. Of two variables
// for one flag the first that is set counts.
func environment() [][2]string {
	return [][2]string{
		{"proxy", "TELEPORT_PROXY"},
		{"user", "TELEPORT_USER"},
		{"login", "TELEPORT_LOGIN"},
		{"identity", "TELEPORT_IDENTITY_FILE"},
		{"auth", "TELEPORT_AUTH"},
		{"debug", "TELEPORT_DEBUG"},
		{"cluster", "TELEPORT_CLUSTER"},
		{"cluster", "TELEPORT_SITE"},
		{"add-keys-to-agent", "TELEPORT_ADD_KEYS_TO_AGENT"},
		{"mfa-mode", "TELEPORT_MFA_MODE"},
		{"keystore", "TSH_KEYSTORE"},
		{"bind-addr", "TELEPORT_LOGIN_BIND_ADDR"},
		{"headless", "TELEPORT_HEADLESS"},
		{"mlock", "TELEPORT_MLOCK_MODE"},
		{"skip-confirm", "TELEPORT_HEADLESS_SKIP_CONFIRM"},
		{"ca-file", "TSH_CA_FILE"},
		{"no-resume", "TELEPORT_NO_RESUME"},
		{"use-local-ssh-agent", "TELEPORT_USE_LOCAL_SSH_AGENT"},
	}
}

// complete fills flags that were not given from the environment.
func (g *globals) complete(fs *pflag.FlagSet) error {
	g.keystoreGiven, g.clusterFlag = fs.Changed("keystore"), fs.Changed("cluster")
	g.userFlag, g.fileFlag = fs.Changed("user"), fs.Changed("identity")
	g.headless.note(fs)
	for _, pair := range environment() {
		name, variable := pair[0], pair[1]
		value := os.Getenv(variable)
		if value == "" || fs.Changed(name) || fs.Changed("no-"+name) {
			continue
		}
		// TELEPORT_DEBUG with a value that makes no sense never stopped anybody.
		if err := g.set(fs, name, value); err != nil && variable != "TELEPORT_DEBUG" {
			return fmt.Errorf("environment variable %s: %w", variable, flagError(err))
		}
	}
	if err := g.checkEnvironment(); err != nil {
		return err
	}
	if !g.useAgent {
		g.addKeysToAgent = agentNo
	}
	g.agentFlag = fs.Changed("add-keys-to-agent")
	g.agentGiven = g.agentFlag || !g.useAgent || g.addKeysToAgent != agentAuto
	if err := g.check(); err != nil {
		return err
	}
	return g.checkHeadless()
}

func (g *globals) set(fs *pflag.FlagSet, name, value string) error {
	if fs.Lookup(name) != nil {
		return fs.Set(name, value)
	}
	if name == "cluster" && g.cluster == "" { // also meant for commands without the flag
		g.cluster = value
	}
	return nil
}

// check refuses what the flags' types cannot.
func (g *globals) check() error {
	const maxTTL = 10 * 366 * 24 * 60
	if g.ttl < 0 || g.ttl > maxTTL {
		return fmt.Errorf("--ttl=%d: a lifetime in minutes is needed, %d at most", g.ttl, maxTTL)
	}
	if err := errors.Join(g.checkKeys(), g.browser.check()); err != nil {
		return err
	}
	return checkMFAMode(g.mfaMode)
}

// unsupportedFlags lists the flags of other clients that scripts may pass and this
// program does not have yet: they fail by name rather than being ignored. A
// neutral value asks for nothing and is accepted.
func unsupportedFlags() []*unsupportedFlag {
	return []*unsupportedFlag{
		{name: "relay", variable: "TELEPORT_RELAY", neutral: []string{"none"}},
		{name: "cert-format"},
		{name: "kube-cluster"},
		{name: "scope"},
		{name: "compat"},
		{name: "os-log", bool: true, variable: "TELEPORT_OS_LOG"},
		{name: "piv-slot", variable: "TELEPORT_PIV_SLOT"},
		// These are variables alone.
		{name: "request-mode", variable: "TELEPORT_REQUEST_MODE", neutral: []string{"off"}, noFlag: true},
		// It asks for what is the case anyway: no version is compared.
		{name: "skip-version-check", bool: true, neutral: []string{"true"}},
	}
}

// unsupportedFlag is a flag that cannot be set to anything that matters.
type unsupportedFlag struct {
	name     string
	short    string
	variable string
	bool     bool
	neutral  []string
	noFlag   bool // there is only the variable
}

func (f *unsupportedFlag) String() string { return "" }

func (f *unsupportedFlag) Type() string {
	if f.bool {
		return "bool"
	}
	return "string"
}

// Set implements pflag.Value.
func (f *unsupportedFlag) Set(value string) error {
	if f.bool {
		on, err := strconv.ParseBool(value)
		if err != nil {
			return err
		}
		value = strconv.FormatBool(on)
		if !on {
			return nil
		}
	}
	if value == "" || slices.Contains(f.neutral, value) {
		return nil
	}
	return fmt.Errorf("--%s is not supported yet", f.name)
}

func (g *globals) addUnsupported(fs *pflag.FlagSet) {
	for _, f := range unsupportedFlags() {
		if f.noFlag {
			continue
		}
		added := fs.VarPF(f, f.name, f.short, "")
		added.Hidden = true
		if f.bool {
			added.NoOptDefVal = "true"
		}
	}
}

// checkEnvironment refuses variables that ask for what is not supported.
func (g *globals) checkEnvironment() error {
	for _, f := range unsupportedFlags() {
		if f.variable == "" {
			continue
		}
		value := os.Getenv(f.variable)
		if err := f.Set(value); err != nil && value != "" {
			return fmt.Errorf("%s=%s is not supported yet", f.variable, value)
		}
	}
	return nil
}

// boolValue is a boolean variable as a flag's value.
type boolValue struct{ b *bool }

func (v boolValue) String() string { return "" }
func (v boolValue) Type() string   { return "bool" }

// Set implements pflag.Value.
func (v boolValue) Set(value string) (err error) {
	*v.b, err = strconv.ParseBool(value)
	return err
}

// negation is the --no-NAME twin of a boolean flag.
type negation struct{ of pflag.Value }

func (n negation) String() string { return "" }
func (n negation) Type() string   { return "bool" }

// Set implements pflag.Value.
func (n negation) Set(value string) error {
	on, err := strconv.ParseBool(value)
	if err != nil {
		return err
	}
	return n.of.Set(strconv.FormatBool(!on))
}

// addNegations gives every boolean flag its --no-NAME form.
func addNegations(fs *pflag.FlagSet) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() != "bool" || strings.HasPrefix(f.Name, "no-") || fs.Lookup("no-"+f.Name) != nil {
			return
		}
		twin := fs.VarPF(negation{f.Value}, "no-"+f.Name, "", "")
		twin.Hidden = true
		twin.NoOptDefVal = "true"
	})
}

// wantsJSON reports whether an error in the command line itself, which may not
// have been parsed to its end, has to be JSON. What stands after the host of ssh
// is not ours.
func wantsJSON(args []string) bool {
	ssh := false
	for _, arg := range args {
		switch {
		case arg == "--":
			return false
		case arg == "--json", arg == "--json=true":
			return true
		case !strings.HasPrefix(arg, "-"):
			if ssh {
				return false
			}
			ssh = arg == "ssh"
		}
	}
	return false
}
