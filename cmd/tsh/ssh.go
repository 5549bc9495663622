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
	port     int
	tty      bool
	noTTY    bool
	noResume bool
	target   sshclient.Target
	command  string
	many     manyOptions
}

func (a *app) sshCommand() *cobra.Command {
	var o sshOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{takesHeadless: ""},
		Use:         "ssh [flags] [ACCOUNT@]HOST[:PORT]|LABELS [COMMAND…]",
		Short:       "Run a shell or a command on a server",
		Long: "ssh connects to a server through the proxy and runs a command there, or a shell.\n" +
			"HOST is a server's name, address or ID. The exit status is the command's; 255 means that\n" +
			"the connection failed. Everything after HOST belongs to the command.\n\n" +
			"LABELS, KEY=VALUE[,KEY=VALUE…], stand for all servers that have them. The command runs on\n" +
			"all at the same time; their lines begin with [HOST], and 1 says that it failed somewhere.",
		Example: "  tsh ssh root@web-1\n  tsh ssh -l root web-1 uptime\n  tar c . | tsh ssh root@web-1 tar x\n  tsh ssh root@env=prod,role=web uptime",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return asTransport(usagef("%s needs a host", cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
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
	fs.BoolVarP(&o.tty, "tty", "t", false, "allocate a terminal for a command, too")
	fs.BoolVarP(&o.noTTY, "no-tty", "T", false, "allocate no terminal")
	relogin := fs.VarPF(negation{boolValue{&a.globals.noRelogin}}, "relogin", "", "log in if the credentials are missing or expired (default true)")
	relogin.NoOptDefVal = "true"
	fs.BoolVar(&o.noResume, "no-resume", false, "accepted for other clients' scripts: connections are never resumed")
	fs.Lookup("no-resume").Hidden = true
	o.many.addFlags(fs)
	a.globals.addKeystore(fs)
	addNegations(fs)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return asTransport(flagError(err)) })
	return cmd
}

func (o *sshOptions) parseArgs(fs *pflag.FlagSet, args []string, a *app) error {
	if o.tty && o.noTTY {
		return usagef("-t and -T exclude each other")
	}
	if o.port < 0 || o.port > 65535 {
		return usagef("-p %d: a port is a number from 1 to 65535", o.port)
	}
	target, err := parseTargetSpec(args[0])
	if err == nil {
		err = o.many.validate(fs, target)
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
	if target.Login == "" {
		if target.Login = a.globals.login; target.Login == "" {
			if target.Login, err = osUser(); err != nil {
				return err
			}
		}
	}
	o.target = target.Target
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
	client, err := a.dialNode(ctx, s, transport, o.target)
	if err != nil {
		return err
	}
	defer client.Close()
	connected()
	return a.runRemote(ctx, client, s, o)
}
