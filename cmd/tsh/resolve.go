package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
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
		Annotations: map[string]string{takesJump: ""},

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
			switch {
			case err == nil:
			case o.quiet:
				return errSilent
			case errors.Is(err, api.ErrNotFound), errors.Is(err, api.ErrAmbiguous):
				return fmt.Errorf("%s: %w", text.Line(args[0]), err)
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
	target, err := parseTargetSpec(arg)
	if err != nil {
		return err
	}
	find, err := a.template(cmd.Flags(), &target.Target)
	if o.want = (nodeQuery{host: target.Host, port: target.Port, labels: target.labels}); find != nil {
		o.want = *find
	}
	o.want.quiet = o.quiet
	return err
}

func (a *app) runResolve(ctx context.Context, o resolveOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	var node *api.Node
	err = a.withSession(ctx, func(ctx context.Context, s *session) error {
		if err := a.throughJump(ctx, s); err != nil {
			return err
		}
		node, err = a.resolveNode(ctx, s, o.want)
		if err == nil && o.want.host != "" {
			a.rememberHosts(s, []string{node.Spec.Hostname}, false)
		}
		return err
	})
	switch {
	case err != nil, o.quiet:
		return err
	case format != formatText:
		return writeData(a.out, format, node)
	}
	return a.writeNodes(a.out, []*api.Node{node}, true)
}
