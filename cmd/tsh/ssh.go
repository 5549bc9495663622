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
	port    int
	tty     bool
	noTTY   bool
	target  sshclient.Target
	command string
	find    *nodeQuery // of a proxy template; see found
}

func (a *app) sshCommand() *cobra.Command {
	var o sshOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{takesHeadless: "", takesJump: ""},
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
	a.globals.addRelogin(fs)
	a.globals.addResume(fs)
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
	target, err := sshclient.ParseTarget(args[0])
	if err != nil {
		return &usageError{err}
	}
	if o.port != 0 {
		target.Port = o.port
	}
	if target.Login == "" {
		if target.Login = a.globals.login; target.Login == "" {
			if target.Login, err = osUser(); err != nil {
				return err
			}
		}
	}
	o.target = target
	if o.find, err = a.template(fs, &o.target); err != nil {
		return err
	}
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
	connected := a.ui.waiting(o.target.Host)
	defer connected()
	var err error
	if o.target, err = a.found(ctx, s, o.find, o.target); err != nil {
		return err
	}
	transport, err := a.dialProxy(ctx, s)
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
