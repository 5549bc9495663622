package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// startOptions is the command line of start.
type startOptions struct {
	dir, addr, publicAddr, name string
	authAddr                    string
	json                        bool
	secondFactor, suite, motd   string
	nodes                       int
	hostnames                   []string
	nodeLabels                  map[string]string
	leaf                        string
	requestAccess               string
	requestPrompt               string
	sso                         ssoOptions
	emulate                     int
	separatePorts               bool
	tunnelAddr                  string
	mfaRefusal                  string
	noMFAReuse                  bool
	noResumption, sshOnly       bool
	quiet                       bool
}

func newStart() *cobra.Command {
	var opts startOptions
	cmd := &cobra.Command{
		Use:   "start --dir DIR",
		Short: "Run the cluster until it is interrupted",
		Long: `start runs the cluster in the foreground until it gets SIGINT or SIGTERM. What
it is made of (authorities, users, roles, host IDs) is kept in the directory; a
directory that holds a cluster already goes on with that one.

Commands of people who log in run as the OS user that runs devcluster. The login
name they ask for is checked against their certificate and roles, and that is all
it is used for.

The nodes are reached through the proxy only; their addresses are names for it.`,
		Example: `  devcluster start --dir ./dev
  devcluster start --dir ./dev --addr 127.0.0.1:0 --second-factor off
  devcluster start --dir ./dev --nodes 3 --motd "Hello"
  devcluster start --dir ./dev --leaf leaf.example
  devcluster start --dir ./dev --auth-addr 127.0.0.1:3025 --json
  devcluster start --dir ./dev --hostnames web,web,db --node-labels env=dev
  devcluster start --dir ./dev --connector github:gh --default-connector gh`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runStart(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), opts)
		},
	}
	dirFlag(cmd, &opts.dir)
	f := cmd.Flags()
	f.StringVar(&opts.addr, "addr", "127.0.0.1:3080", "`address` to listen on; port 0 picks one")
	f.StringVar(&opts.authAddr, "auth-addr", "", "`address` of the auth server without the proxy, or none (default the host of --addr with port 3025, or a free one)")
	f.StringVar(&opts.publicAddr, "public-addr", "", "`host:port` that clients are told and the web certificate names (default localhost and the port)")
	f.StringVar(&opts.name, "name", "", "`name` of a new cluster (default dev.example)")
	f.StringVar(&opts.secondFactor, "second-factor", "", "off, otp, webauthn, or on for both (default as before, or otp)")
	f.StringVar(&opts.suite, "suite", "", "signature suite of a new cluster, balanced-v1 or legacy (default balanced-v1)")
	f.StringVar(&opts.motd, "motd", "", "message of the day, shown at login")
	f.IntVar(&opts.nodes, "nodes", 1, "how many nodes, node-1 to node-N")
	f.StringSliceVar(&opts.hostnames, "hostnames", nil, "names of the nodes instead; the same twice is allowed")
	f.StringToStringVar(&opts.nodeLabels, "node-labels", nil, "labels of all nodes (default env=dev,tier=web, of every second node env=prod,tier=db)")
	f.Lookup("node-labels").DefValue = "" // else it is shown, as []
	f.StringVar(&opts.leaf, "leaf", "", "`name` of a leaf cluster, reached through this one's proxy (default none)")
	f.StringVar(&opts.requestAccess, "request-access", "", "what the role requester says of access requests: optional, always or reason (default optional)")
	f.StringVar(&opts.requestPrompt, "request-prompt", "", "what people are told to give as the reason of a request")
	opts.sso.addFlags(f)
	f.IntVar(&opts.emulate, "emulate", 0, "behave as the major `version` 14 does (default today's)")
	f.BoolVar(&opts.noResumption, "no-resumption", false, "nodes do not offer to resume connections")
	f.BoolVar(&opts.sshOnly, "ssh-only", false, "--separate-ports, and the one for SSH serves nothing else")
	f.BoolVar(&opts.separatePorts, "separate-ports", false, "a port of its own for SSH, as proxies had before TLS routing")
	f.StringVar(&opts.tunnelAddr, "tunnel-addr", "", "`address` of a port of its own for the SSH server for reverse tunnels (default by ALPN at --addr, with --separate-ports any)")
	f.StringVar(&opts.mfaRefusal, "mfa-refusal", "", "how nodes turn away users of the roles session-mfa and session-mfa-prod: channel, request or auth (default channel)")
	f.BoolVar(&opts.noMFAReuse, "no-mfa-reuse", false, "take each answer to a challenge for one session alone")
	f.BoolVar(&opts.json, "json", false, "print where the cluster is as JSON")
	f.BoolVar(&opts.quiet, "quiet", false, "no line for each event on standard error")
	return cmd
}

func runStart(ctx context.Context, stdout, stderr io.Writer, opts startOptions) error {
	dir, err := filepath.Abs(opts.dir)
	if err != nil {
		return err
	}
	if opts.nodes < 1 {
		return fmt.Errorf("--nodes %d: a cluster has at least one node", opts.nodes)
	}
	cfg := devcluster.Config{
		Dir: dir, Addr: opts.addr, AuthAddr: opts.authAddress(), PublicAddr: opts.publicAddr, Name: opts.name,
		SecondFactor: opts.secondFactor, Suite: opts.suite, MOTD: opts.motd,
		Emulate: opts.emulate, SeparatePorts: opts.separatePorts || opts.sshOnly, SSHOnly: opts.sshOnly, TunnelAddr: opts.tunnelAddr, NoResumption: opts.noResumption,
		Nodes: opts.nodes, Hostnames: opts.hostnames, NodeLabels: opts.nodeLabels,
		MFARefusal: opts.mfaRefusal, NoMFAReuse: opts.noMFAReuse,
		Leaf: opts.leaf, RequestAccess: opts.requestAccess, RequestPrompt: opts.requestPrompt,
	}
	if err := opts.sso.fill(&cfg); err != nil {
		return err
	}
	if !opts.quiet {
		cfg.Log = stderr
	}
	// Not ctx: the cluster is to be closed here, where its error is seen.
	c, err := devcluster.Start(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return err
	}
	if err := welcome(stdout, c, dir, opts.json); err != nil {
		return errors.Join(err, c.Close())
	}
	<-ctx.Done()
	if !opts.json {
		fmt.Fprintln(stdout, "stopping")
	}
	return c.Close()
}
