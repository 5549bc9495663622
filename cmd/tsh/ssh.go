package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/sshclient"
)

// sshOptions are the flags of ssh.
type sshOptions struct {
	sessionOptions
	port    int
	target  sshclient.Target
	command string
	find    *nodeQuery // of a proxy template; see found
	many    manyOptions

	forward forwardOptions
	before  func() error // see sshclient.Command
}

func (a *app) sshCommand() *cobra.Command {
	var o sshOptions
	var words []string // the host and the command
	cmd := &cobra.Command{
		Annotations: map[string]string{takesHeadless: "", takesJump: ""},
		Use:         "ssh [flags] [ACCOUNT@]HOST[:PORT]|LABELS [COMMAND…]",
		Short:       "Run a shell or a command on a server",
		Long: "ssh connects to a server through the proxy and runs a command there, or a shell.\n" +
			"HOST is a server's name, address or ID. The exit status is the command's; 255 means that\n" +
			"the connection failed. Flags may stand before or after HOST; what follows the first other\n" +
			"word belongs to the command, and so does everything after -- .\n\n" +
			"LABELS, KEY=VALUE[,KEY=VALUE…], stand for all servers that have them. The command runs on\n" +
			"all at the same time; their lines begin with [HOST], and 1 says that it failed somewhere.",
		Example: "  tsh ssh root@web-1\n  tsh ssh -l root web-1 uptime\n  tar c . | tsh ssh root@web-1 tar x\n  tsh ssh root@env=prod,role=web uptime\n" +
			"  tsh ssh -N -L 5432:db.internal:5432 root@web-1\n  tsh ssh -N -D 1080 root@web-1\n  tsh ssh --local -L 8080:localhost:80 root@web-1 curl localhost:8080",
		Args: func(cmd *cobra.Command, args []string) error {
			var err error
			if words, err = sshWords(cmd, args); err == nil {
				err = o.settle(a, cmd.Flags())
			}
			if err == nil && len(words) == 0 && !o.version {
				err = usagef("%s needs a host", cmd.CommandPath())
			}
			return asTransport(err)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.version {
				return a.runVersion(cmd.Context(), clientVersion())
			}
			args := words
			if err := o.parseArgs(cmd.Flags(), args, a); err != nil {
				return asTransport(err)
			}
			return asTransport(a.runSSH(cmd.Context(), o))
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` of the server [TELEPORT_CLUSTER]")
	fs.IntVarP(&o.port, "port", "p", 0, "the server's `PORT`; any if not given")
	o.sessionOptions.addFlags(fs)
	o.forward.addFlags(fs)
	a.globals.addRelogin(fs)
	a.globals.addResume(fs)
	o.many.addFlags(fs)
	a.globals.addKeystore(fs)
	addNegations(fs)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return asTransport(opensshFlagError(cmd, err)) })
	return cmd
}

func (o *sshOptions) parseArgs(fs *pflag.FlagSet, args []string, a *app) error {
	if o.port < 0 || o.port > 65535 {
		return usagef("-p %d: a port is a number from 1 to 65535", o.port)
	}
	target, err := parseTargetSpec(args[0])
	if err == nil {
		err = o.many.validate(target)
	}
	if err != nil {
		return err
	}
	if o.port != 0 {
		if target.Port != 0 && target.Port != o.port {
			return usagef("-p %d and %s do not name the same port", o.port, args[0])
		}
		target.Port = o.port
	}
	if o.target = target.Target; o.target.Login == "" {
		if o.target.Login, err = a.defaultLogin(); err != nil {
			return err
		}
	}
	if target.labels == nil {
		if o.find, err = a.template(fs, &o.target); err != nil {
			return err
		}
	}
	return o.parseCommand(args[1:])
}

// defaultLogin is the account on servers where none is typed before the name.
func (a *app) defaultLogin() (string, error) {
	if a.globals.login != "" {
		return a.globals.login, nil
	}
	return osUser()
}

// parseCommand reads what follows the target.
func (o *sshOptions) parseCommand(words []string) error {
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	o.command = strings.Join(words, " ")
	if o.command == "" {
		o.command = o.remoteCommand
	}
	if o.subsystem && o.command == "" {
		return usagef("-s needs the name of a subsystem")
	}
	if o.clearForwards {
		o.forward.specs = nil
	}
	return o.forward.validate(words)
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
	if done, err := a.toBackground(ctx, &o.forward); done {
		return err
	}
	use := a.sshWith
	if o.many.labels != nil {
		use = a.sshByLabels
	}
	return a.withSession(ctx, func(ctx context.Context, s *session) error { return use(ctx, s, o) })
}

// sshWith runs the command with the credentials of s.
func (a *app) sshWith(ctx context.Context, s *session, o sshOptions) error {
	connected := a.ui.waiting(o.target.Host)
	defer connected()
	transport, err := o.many.proxy(ctx, a, s)
	if err != nil {
		return err
	}
	defer transport.Close()
	if o.target, err = a.found(ctx, s, o.find, o.target); err != nil {
		return err
	}
	proofs := a.newSessionMFA(s, 1)
	defer proofs.close()
	return proofs.onNode(ctx, transport, o.target, func(client *sshclient.Client) error {
		connected()
		if o.find == nil && o.many.labels == nil {
			a.rememberHosts(s, []string{o.target.Host}, false)
		}
		return a.runConnected(ctx, client, s, o)
	})
}
