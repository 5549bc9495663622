package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/proxy"
	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/resume"
)

// proxySSHOptions say which node's SSH server stdin and stdout are connected to.
type proxySSHOptions struct {
	spec   targetSpec
	find   *nodeQuery // of a proxy template; see found
	suffix hostSuffix
}

func (a *app) proxyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Connect other programs through the proxy",
		Args:  onlyCommands,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.proxySSHCommand())
	return cmd
}

func (a *app) proxySSHCommand() *cobra.Command {
	var o proxySSHOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{takesJump: ""},
		Use:         "ssh [flags] [ACCOUNT@]HOST[:PORT]",
		Short:       "Connect OpenSSH to a server, as its ProxyCommand",
		Long: "proxy ssh connects its input and output to the SSH server of HOST. It is meant for the\n" +
			"ProxyCommand of OpenSSH, which logs in by itself; tsh config writes one.\n" +
			"HOST is a server's name, address or ID, or labels that one server has. The names of the\n" +
			"proxy and of the cluster after it are left out, and that of a leaf cluster selects it.\n" +
			"Port 22, which OpenSSH has where none is given, stands for whatever port the server has.",
		Example: "  ssh -o ProxyCommand='tsh proxy ssh %r@%h:%p' root@web-1\n" +
			"  ssh -o ProxyCommand='tsh proxy ssh --cluster=leaf.example.com %r@%h:%p' root@web-1",
		Args: oneArg("a host"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.piped = true
			var err error
			if o.spec, err = parseProxySSH(args[0]); err != nil {
				return err
			}
			if o.find, err = a.template(cmd.Flags(), &o.spec.Target); err != nil {
				return err
			}
			a.chooseLeaf(o.spec.Host)
			return a.withSession(cmd.Context(), func(ctx context.Context, s *session) error { return a.proxySSH(ctx, s, o) })
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` of the server [TELEPORT_CLUSTER]")
	o.suffix.addFlags(fs)
	a.globals.addRelogin(fs)
	a.globals.addResume(fs)
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

// parseProxySSH reads [account@]host[:port] or [account@]key=value…[:port]: OpenSSH has a
// port after everything.
func parseProxySSH(arg string) (targetSpec, error) {
	_, rest, _ := splitLogin(arg)
	if i := strings.LastIndexByte(rest, ':'); strings.Contains(rest, "=") && i >= 0 && strings.Trim(rest[i+1:], "0123456789") == "" {
		rest = rest[:i]
	}
	return parseTargetSpec(rest) // the account is OpenSSH's business
}

// chooseLeaf selects the leaf cluster whose name host ends in, if it is known from before
// and no cluster was named.
func (a *app) chooseLeaf(host string) {
	if a.globals.cluster != "" || !strings.Contains(host, ".") || a.globals.hasIdentity() || a.globals.headless.on {
		return
	}
	store, err := a.openStore()
	if err != nil {
		return
	}
	p, err := a.selectProfile(store)
	if err != nil {
		return
	}
	known, err := keystore.Dir{Home: store.Home(), AllAuthorities: true}.Authorities(p.Host(), p.Cluster)
	if err != nil {
		return
	}
	longest := ""
	for _, authority := range known {
		if strings.HasSuffix(host, "."+authority.Cluster) && len(authority.Cluster) > len(longest) {
			longest = authority.Cluster
		}
	}
	if longest != p.Cluster {
		a.globals.cluster = longest
	}
}

func (a *app) proxySSH(ctx context.Context, s *session, o proxySSHOptions) error {
	debug.SetGCPercent(50) // there may be a hundred of these, each with little to do
	transport, err := a.dialProxy(ctx, s)
	if err != nil {
		return err
	}
	defer transport.Close()
	target, err := a.oneTarget(ctx, s, o)
	if err != nil {
		return err
	}
	conn, err := a.dialPipe(ctx, s, transport, o.suffix.node(target, s), target.Port)
	if err != nil {
		return a.explainSSH(ctx, err, s, target.Host)
	}
	defer conn.Close()
	return a.pipe(ctx, conn)
}

// oneTarget is the node that is meant, as the proxy knows it.
func (a *app) oneTarget(ctx context.Context, s *session, o proxySSHOptions) (sshclient.Target, error) {
	target := o.spec.Target
	if o.spec.labels != nil {
		node, err := a.resolveNode(ctx, s, nodeQuery{labels: o.spec.labels})
		if err != nil {
			return target, fmt.Errorf("%s: %w", o.spec.text, err)
		}
		return sshclient.ParseTarget(node.Metadata.Name)
	}
	return a.found(ctx, s, o.find, target)
}

// dialPipe connects to a node for a program that speaks SSH itself and has asked for a port.
func (a *app) dialPipe(ctx context.Context, s *session, transport *proxy.Transport, target sshclient.Target, asked int) (net.Conn, error) {
	conn, err := a.openPipe(ctx, s, transport, target)
	var node *proxy.NodeError
	if asked != target.Port && errors.As(err, &node) && node.Ambiguous() {
		// One of several may be meant after all.
		target.Port = asked
		if conn, again := a.openPipe(ctx, s, transport, target); again == nil {
			return conn, nil
		}
	}
	return conn, err
}

// openPipe connects to a node and waits for its first line, which says that it is there.
func (a *app) openPipe(ctx context.Context, s *session, transport *proxy.Transport, target sshclient.Target) (net.Conn, error) {
	if !a.globals.noResume {
		return a.nodeDialer(s, transport).DialNode(ctx, target.HostPort(), s.cluster)
	}
	conn, err := transport.DialNode(ctx, target.HostPort(), s.cluster)
	if err != nil {
		return nil, err
	}
	return resume.Open(ctx, conn, resume.Config{})
}

// pipe copies between conn and the program that has started this one, until the node has
// said everything. Once the program has said everything, a node that is silent for a
// while has nothing more to say.
func (a *app) pipe(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	far := &listener{Reader: conn, heard: make(chan struct{}, 1)}
	over := make(chan struct{})
	defer close(over)
	input := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, a.io.in)
		input <- err
		far.linger(conn, over)
	}()
	_, err := io.Copy(a.io.out, far)
	if errors.Is(err, net.ErrClosed) && ctx.Err() == nil {
		select {
		case err = <-input: // nil if the program went first
		default:
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
