package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// sessionOptions are the flags of ssh that OpenSSH's has, too, as far as they are about
// the session, and what -o says.
type sessionOptions struct {
	tty        tally
	noTTY      bool
	noStdin    bool
	subsystem  bool
	quiet      bool
	verbose    tally
	ipv4, ipv6 bool
	compress   bool // takes no effect: SSH over TLS is not compressed
	sshConfig  string
	logFile    string
	escape     string
	version    bool
	options    []string

	systemAgent   bool
	noAgent       bool
	agent         string // "", "no", "local", "yes" or where an agent listens
	x11           x11Options
	batch         bool
	remoteCommand string
	sendEnv       []string
	setEnv        map[string]string
	logLevel      hush
	link          linkOptions

	clearForwards        bool
	exitOnForwardFailure bool // a port that the server does not forward is an error
}

// addFlags adds the flags, most of which have the letters that OpenSSH gives them.
func (o *sessionOptions) addFlags(fs *pflag.FlagSet) {
	fs.VarPF(&o.tty, "tty", "t", "allocate a terminal for a command, too; -tt even if there is none here").NoOptDefVal = "true"
	fs.BoolVarP(&o.noTTY, "no-tty", "T", false, "allocate no terminal")
	fs.BoolVarP(&o.noStdin, "no-stdin", "n", false, "give the command no input")
	fs.BoolVarP(&o.subsystem, "subsystem", "s", false, "COMMAND is the name of a subsystem")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print no warnings, and no reason when connecting fails")
	fs.VarPF(&o.verbose, "verbose", "v", "say on stderr what is being done").NoOptDefVal = "true"
	fs.BoolVarP(&o.ipv4, "ipv4", "4", false, "reach the proxy by IPv4 only")
	fs.BoolVarP(&o.ipv6, "ipv6", "6", false, "reach the proxy by IPv6 only")
	fs.BoolVarP(&o.compress, "compress", "C", false, "without effect: nothing is compressed")
	fs.StringVarP(&o.sshConfig, "ssh-config", "F", "", "takes only `none`: no file of OpenSSH is read")
	fs.StringVarP(&o.logFile, "log-file", "E", "", "append messages to `FILE` instead of printing them")
	fs.StringVarP(&o.escape, "escape-char", "e", "~", "the `CHAR` that escape sequences begin with, ^X or none")
	fs.VarP((*optionList)(&o.options), "option", "o", "an `OPTION` in the words of OpenSSH, as -o ConnectTimeout=15")
	fs.BoolVarP(&o.version, "print-version", "V", false, "print the version of tsh")
	fs.BoolVarP(&o.systemAgent, "forward-agent", "A", false, "forward the ssh-agent; -o ForwardAgent=local only the key of this login")
	fs.BoolVarP(&o.noAgent, "no-forward-agent", "a", false, "forward no ssh-agent")
	o.x11.addFlags(fs)
	for _, name := range []string{"no-forward-agent", "compress", "print-version"} {
		fs.Lookup(name).Hidden = true
	}
}

// settle works out what the flags and -o say together: flags count first, then the
// first -o of a name. Everything that is printed from here on goes where they say.
func (o *sessionOptions) settle(a *app, fs *pflag.FlagSet) error {
	warnings, err := o.readOptions(fs)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return err
	}
	o.settleLink(a)
	if err := o.settleLog(a); err != nil {
		return err
	}
	if detached() {
		return nil // it has been said before
	}
	for _, warning := range warnings {
		a.ui.warn("%s", warning)
	}
	return nil
}

// check refuses what makes no sense.
func (o *sessionOptions) check() error {
	switch {
	case o.tty > 0 && o.noTTY:
		return usagef("-t and -T exclude each other")
	case o.ipv4 && o.ipv6:
		return usagef("-4 and -6 exclude each other")
	case o.sshConfig != "" && o.sshConfig != "none":
		return usagef("-F %s: configuration files of OpenSSH are not read; only -F none is accepted", o.sshConfig)
	}
	_, err := escapeChar(o.escape)
	return err
}

// settleLink says whom to ask, what to forward and how to connect.
func (o *sessionOptions) settleLink(a *app) {
	switch {
	case o.systemAgent:
		o.agent = "yes"
	case o.noAgent:
		o.agent = "no"
	}
	a.link = o.link
	switch {
	case o.ipv4:
		a.link.network = "tcp4"
	case o.ipv6:
		a.link.network = "tcp6"
	}
	if o.batch {
		a.batch, a.globals.noRelogin = true, true
	}
}

// settleLog sends messages where -q, -v and -E say.
func (o *sessionOptions) settleLog(a *app) error {
	a.ui.hush = o.logLevel
	if o.quiet {
		a.ui.hush = hushAll
	}
	if o.verbose > 0 {
		a.ui.hush, a.globals.debug = hushNothing, true
	}
	if o.logFile == "" {
		return nil
	}
	f, err := os.OpenFile(o.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return usagef("-E: %w", err)
	}
	a.ui.err, a.ui.colour = f, false // closed with the process
	return nil
}

// escapeChar reads -e and EscapeChar; 0 stands for none.
func escapeChar(s string) (byte, error) {
	switch {
	case s == "none":
		return 0, nil
	case len(s) == 1:
		return s[0], nil
	case len(s) == 2 && s[0] == '^' && s[1] >= '@' && s[1] < 0x7f:
		return s[1] & 0x1f, nil
	}
	return 0, usagef("-e %s: one character, ^ and a letter, or none is needed", s)
}

// env are the variables that SendEnv and SetEnv name, the latter above the former.
func (o *sessionOptions) addEnv(env map[string]string) {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		for _, pattern := range o.sendEnv {
			if name != "" && wildcard(pattern, name) {
				env[name] = value
			}
		}
	}
	for name, value := range o.setEnv {
		env[name] = value
	}
}

// term is the type of terminal for the other side.
func (o *sessionOptions) term() string {
	if term := o.setEnv["TERM"]; term != "" {
		return term
	}
	return os.Getenv("TERM")
}

// linkOptions say how the proxy is dialled, and how long a node may be silent.
type linkOptions struct {
	_        [0]func()     // never compared
	network  string        // "tcp4", "tcp6"; "" for both
	timeout  time.Duration // to the proxy, and again from there to the end of the login; 0 for the usual
	set      bool          // what follows says something
	interval time.Duration // see sshclient.Client.SetKeepalive
	misses   int
}

// optionList is a flag that gathers what it is given.
type optionList []string

// String implements pflag.Value.
func (l *optionList) String() string { return "" }

// Type implements pflag.Value.
func (l *optionList) Type() string { return "option" }

// Set implements pflag.Value.
func (l *optionList) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// tally is a flag that counts how often it is given.
type tally int

// String implements pflag.Value.
func (t *tally) String() string { return "" }

// Type implements pflag.Value.
func (t *tally) Type() string { return "bool" }

// Set implements pflag.Value.
func (t *tally) Set(value string) error {
	on, err := strconv.ParseBool(value)
	if err != nil {
		return err
	}
	if *t++; !on {
		*t = 0
	}
	return nil
}

// limit ends the dialling of the proxy in time.
func (l linkOptions) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, l.timeout, fmt.Errorf("no connection within %v: %w", l.timeout, context.DeadlineExceeded))
}

// apply ends the login on a node in time.
func (l linkOptions) apply(config *ssh.ClientConfig) {
	if l.timeout > 0 {
		config.Timeout = l.timeout
	}
}

// dial is how connections to the proxy are made; nil for the usual way.
func (l linkOptions) dial() func(ctx context.Context, network, addr string) (net.Conn, error) {
	if l.network == "" {
		return nil
	}
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, l.network, addr)
	}
}

// watch has the client notice a node that does not answer.
func (l linkOptions) watch(client *sshclient.Client) {
	if l.set {
		client.SetKeepalive(l.interval, l.misses)
	}
}

// sshWords splits what follows the flags into host and words of the command. Flags
// may stand behind the host as well, as with OpenSSH, unless -- came before it.
func sshWords(cmd *cobra.Command, args []string) ([]string, error) {
	fs := cmd.Flags()
	if len(args) < 2 || fs.ArgsLenAtDash() >= 0 {
		return args, nil
	}
	if err := fs.Parse(args[1:]); err != nil {
		return nil, cmd.FlagErrorFunc()(cmd, err)
	}
	if help, _ := fs.GetBool("help"); help {
		return nil, pflag.ErrHelp
	}
	return append([]string{args[0]}, fs.Args()...), nil
}

// opensshFlagError names the flags of OpenSSH's ssh or scp that are not there.
func opensshFlagError(cmd *cobra.Command, err error) error {
	known := sshFlags
	if cmd.Name() == "scp" {
		known = scpFlags
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if name := unknown.GetSpecifiedName(); len(name) == 1 && strings.Contains(known, name) {
			return usagef("-%s of OpenSSH is not supported; %s itself has it, with 'tsh proxy ssh' as its ProxyCommand", name, cmd.Name())
		}
	}
	return flagError(err)
}

// All flags of OpenSSH's ssh and scp.
const (
	sshFlags = "1246AaBbCcDEeFfGgIiJKkLlMmNnOoPpQqRSsTtVvWwXxYy"
	scpFlags = "346ABCcDFiJlOopPqRrSsTvX"
)
