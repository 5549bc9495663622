package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/sshclient"
)

// resolveOptions are the flags of resolve.
type resolveOptions struct {
	quiet  bool
	format formatFlag
	want   nodeQuery
}

func (a *app) resolveCommand() *cobra.Command {
	var o resolveOptions
	cmd := &cobra.Command{
		Use:   "resolve [flags] HOST[:PORT]|KEY=VALUE[,KEY=VALUE…]",
		Short: "Show the one server that a name stands for",
		Long: "resolve asks the cluster which server a host name, address, ID or labels stand for, after\n" +
			"proxy templates have been applied, and fails unless it is exactly one. With --quiet nothing\n" +
			"is printed or asked, whatever happens: only the exit status tells, for Match exec in ssh_config.",
		Example: "  tsh resolve web-1\n  tsh resolve env=prod,role=db --format=json\n" +
			"  Match host *.corp exec \"tsh resolve -q %h\"",
		Args: func(cmd *cobra.Command, args []string) error {
			if o.quiet { // before anything is said
				a.ui.err, a.out.w = io.Discard, io.Discard
			}
			return oneArg("one HOST")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.parseResolve(cmd, &o, args[0])
			if err == nil {
				err = a.runResolve(cmd.Context(), o)
			}
			if err != nil && o.quiet {
				return errSilent
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` to ask [TELEPORT_CLUSTER]")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing and log in nowhere; exit with 1 if it is not one server")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

// parseResolve reads what is looked for.
func (a *app) parseResolve(cmd *cobra.Command, o *resolveOptions, arg string) (err error) {
	if o.quiet {
		a.globals.noRelogin = true
	}
	if strings.Contains(arg, "=") {
		o.want.labels, err = parseLabels(arg)
		return err
	}
	target, err := sshclient.ParseTarget(arg)
	if err != nil {
		return &usageError{err}
	}
	find, err := a.template(cmd.Flags(), &target)
	if o.want = (nodeQuery{host: target.Host, port: target.Port}); find != nil {
		o.want = *find
	}
	return err
}

func (a *app) runResolve(ctx context.Context, o resolveOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	var node api.Node
	err = a.withSession(ctx, func(ctx context.Context, s *session) error {
		node, err = a.resolveNode(ctx, s, o.want)
		if errors.Is(err, api.ErrAmbiguous) && !o.quiet {
			a.showMatches(ctx, s, o.want)
			err = withHint(err, "name one of them by its ID: tsh resolve ID")
		}
		if err == nil && o.want.host != "" {
			a.rememberHosts(s, []string{node.Spec.Hostname}, false)
		}
		return err
	})
	switch {
	case err != nil, o.quiet:
		return err
	case format != formatText:
		return writeData(a.out, format, &node)
	}
	return a.writeNodes(a.out, []*api.Node{&node}, true)
}
