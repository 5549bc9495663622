package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/sshclient"
)

// proxySSHOptions say which node's SSH server stdin and stdout are connected to.
type proxySSHOptions struct {
	target sshclient.Target
	find   *nodeQuery // of a proxy template; see found
	suffix hostSuffix
}

func (a *app) proxyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Connect other programs through the proxy",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.proxySSHCommand())
	return cmd
}

func (a *app) proxySSHCommand() *cobra.Command {
	var suffix hostSuffix
	cmd := &cobra.Command{
		Use:   "ssh [flags] [ACCOUNT@]HOST[:PORT]",
		Short: "Connect OpenSSH to a server, as its ProxyCommand",
		Long: "proxy ssh connects its input and output to the SSH server of HOST. It is meant for the\n" +
			"ProxyCommand of OpenSSH, which logs in by itself.",
		Example: "  ssh -o ProxyCommand='tsh proxy ssh %r@%h:%p' root@web-1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := parseProxySSH(args[0])
			o.suffix = suffix
			if err == nil {
				o.find, err = a.template(cmd.Flags(), &o.target)
			}
			if err != nil {
				return asTransport(err)
			}
			return asTransport(a.withSession(cmd.Context(), func(ctx context.Context, s *session) error {
				return a.proxySSH(ctx, s, o)
			}))
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` of the server [TELEPORT_CLUSTER]")
	suffix.addFlags(fs)
	a.globals.addKeystore(fs)
	return cmd
}

// parseProxySSH reads [account@]host[:port].
func parseProxySSH(arg string) (o proxySSHOptions, err error) {
	if o.target, err = sshclient.ParseTarget(arg[strings.LastIndexByte(arg, '@')+1:]); err != nil {
		return o, &usageError{err}
	}
	return o, nil
}

func (a *app) proxySSH(ctx context.Context, s *session, o proxySSHOptions) error {
	target, err := a.found(ctx, s, o.find, o.target)
	if err != nil {
		return err
	}
	transport, err := a.dialProxy(ctx, s)
	if err != nil {
		return err
	}
	defer transport.Close()
	conn, err := transport.DialNode(ctx, o.suffix.node(target, s).HostPort(), s.cluster)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go func() { _, _ = io.Copy(conn, a.io.in) }()
	if _, err = io.Copy(a.io.out, conn); errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
