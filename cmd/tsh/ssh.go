package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/proxy"
	"github.com/seed-087d674e/tsh/sshclient"
)

// sshOptions are the flags of ssh.
type sshOptions struct {
	port     int
	tty      bool
	noTTY    bool
	noResume bool
	target   sshclient.Target
	command  string
}

func (a *app) sshCommand() *cobra.Command {
	var o sshOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{takesHeadless: ""},
		Use:         "ssh [flags] [ACCOUNT@]HOST [COMMAND…]",
		Short:       "Run a shell or a command on a server",
		Long: "ssh connects to a server through the proxy and runs a command there, or a shell.\n" +
			"HOST is a server's name, address or ID. The exit status is the command's; 255 means that\n" +
			"the connection failed. Everything after HOST belongs to the command.",
		Example: "  tsh ssh root@web-1\n  tsh ssh -l root web-1 uptime\n  tar c . | tsh ssh root@web-1 tar x",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return asTransport(usagef("%s needs a host", cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parseArgs(args, a); err != nil {
				return asTransport(err)
			}
			return asTransport(a.runSSH(cmd.Context(), o))
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` of the server [TELEPORT_CLUSTER]")
	fs.IntVarP(&o.port, "port", "p", 0, "the server's `PORT`; any if not given")
	fs.BoolVarP(&o.tty, "tty", "t", false, "allocate a terminal for a command, too")
	fs.BoolVarP(&o.noTTY, "no-tty", "T", false, "allocate no terminal")
	relogin := fs.VarPF(negation{boolValue{&a.globals.noRelogin}}, "relogin", "", "log in if the credentials are missing or expired (default true)")
	relogin.NoOptDefVal = "true"
	fs.BoolVar(&o.noResume, "no-resume", false, "accepted for other clients' scripts: connections are never resumed")
	fs.Lookup("no-resume").Hidden = true
	a.globals.addKeystore(fs)
	addNegations(fs)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return asTransport(flagError(err)) })
	return cmd
}

func (o *sshOptions) parseArgs(args []string, a *app) error {
	if o.tty && o.noTTY {
		return usagef("-t and -T exclude each other")
	}
	if o.port < 0 || o.port > 65535 {
		return usagef("-p %d: a port is a number from 1 to 65535", o.port)
	}
	target, err := sshclient.ParseTarget(args[0])
	if err != nil {
		return &usageError{err}
	}
	target.Port = o.port
	if target.Login == "" {
		if target.Login = a.globals.login; target.Login == "" {
			if target.Login, err = osUser(); err != nil {
				return err
			}
		}
	}
	o.target = target
	words := args[1:]
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	o.command = strings.Join(words, " ")
	return nil
}

// asTransport gives err the exit code that OpenSSH has for it; the remote
// command's own status stays.
func asTransport(err error) error {
	var remote *sshclient.ExitError
	var signal *interrupted
	if err == nil || errors.As(err, &remote) || errors.As(err, &signal) {
		return err
	}
	return &transportError{err}
}

func (a *app) runSSH(ctx context.Context, o sshOptions) error {
	return a.withSession(ctx, func(ctx context.Context, s *session) error { return a.sshWith(ctx, s, o) })
}

// sshWith runs the command with the credentials of s.
func (a *app) sshWith(ctx context.Context, s *session, o sshOptions) error {
	tlsConfig, err := s.id.TLSConfig()
	if err != nil {
		return err
	}
	sshConfig, err := s.id.SSHClientConfig()
	if err != nil {
		return err
	}
	sshConfig.BannerCallback = func(message string) error {
		a.ui.say("%s", strings.TrimSuffix(message, "\n"))
		return nil
	}
	connected := a.ui.waiting(o.target.Host)
	defer connected()
	authorities, err := a.globals.trust.authorities()
	if err != nil {
		return err
	}
	transport, err := proxy.Dial(ctx, proxy.Config{
		WebAddr:     s.profile.WebProxyAddr,
		SSHAddr:     s.profile.SSHProxyAddr,
		TLSRouting:  s.profile.TLSRouting,
		ConnUpgrade: s.profile.ConnUpgrade,
		Insecure:    a.globals.insecure,
		RootCAs:     authorities,
		TLS:         tlsConfig,
		Cluster:     s.id.RootCluster(),
	})
	if err != nil {
		return err
	}
	defer transport.Close()
	o.target.Cluster = s.cluster
	client, err := sshclient.Dial(ctx, transport, o.target, sshConfig)
	if err != nil {
		return a.explainSSH(ctx, err, s, o.target.Host)
	}
	defer client.Close()
	connected()
	return a.runRemote(ctx, client, s, o)
}

// runRemote runs the command or the shell on a node that has let us in.
func (a *app) runRemote(ctx context.Context, client *sshclient.Client, s *session, o sshOptions) error {
	command := sshclient.Command{
		Args:   o.command,
		Stdin:  a.io.in,
		Stdout: a.io.out,
		Stderr: a.io.err,
		Env:    sessionEnv(s.profile.WebProxyAddr),
	}
	begun := false
	command.Started = func() { begun = true }
	var terminal *rawTerminal
	if a.wantsPTY(o) {
		terminal = newRawTerminal(a.io)
		defer terminal.leave()
		command.PTY = &sshclient.PTY{Term: os.Getenv("TERM"), Size: terminal.size(), Resize: terminal.resizes()}
		if a.globals.escapes {
			command.EscapeChar = '~'
		}
		command.Started = func() {
			begun = true
			terminal.enter(a.guard)
		}
	}
	err := client.Run(ctx, command)
	if terminal != nil && begun {
		terminal.leave()
		if ctx.Err() == nil {
			fmt.Fprintf(a.io.err, "Connection to %s closed.\n", text.Line(o.target.Host))
		}
	}
	if err != nil && begun {
		return &begunError{err}
	}
	return err
}

// wantsPTY decides as OpenSSH does: a terminal for a shell, and for a command
// if asked; but only where stdin is one.
func (a *app) wantsPTY(o sshOptions) bool {
	if o.noTTY || !o.tty && o.command != "" {
		return false
	}
	if term.IsTerminal(int(a.io.in.Fd())) {
		return true
	}
	if o.tty {
		a.ui.say("No terminal is allocated, because stdin is not one.")
	}
	return false
}

// sessionEnv are the variables a session gets from here.
func sessionEnv(webAddr string) map[string]string {
	env := map[string]string{"SSH_SESSION_WEBPROXY_ADDR": webAddr}
	for _, name := range []string{"LANG", "LANGUAGE"} {
		if value := os.Getenv(name); value != "" {
			env[name] = value
		}
	}
	return env
}

// explainSSH adds what a person can do about a connection that failed.
func (a *app) explainSSH(ctx context.Context, err error, s *session, host string) error {
	var auth *sshclient.AuthError
	if errors.As(err, &auth) {
		logins := readClaims(s.id.SSHCert, nil).logins
		if len(logins) == 0 {
			return withHint(err, "your certificate allows no account on any server; ask the cluster's administrator")
		}
		return withHint(err, "your certificate allows these accounts: %s", strings.Join(logins, ", "))
	}
	var node *proxy.NodeError
	if errors.As(err, &node) && node.Ambiguous() {
		a.showCandidates(ctx, s, host)
		return withHint(err, "name one of them by its ID: tsh ssh ACCOUNT@ID")
	}
	return err
}

// showCandidates lists the servers that host may stand for. That they cannot
// be listed is no further error: there is one to report already.
func (a *app) showCandidates(ctx context.Context, s *session, host string) {
	nodes, err := a.listNodes(ctx, s, lsOptions{query: "name == " + strconv.Quote(host)})
	if err != nil || len(nodes) == 0 {
		return
	}
	_ = a.writeNodes(a.io.err, nodes, true)
}
