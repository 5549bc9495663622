package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api/resource"
	"github.com/seed-087d674e/tsh/internal/text"
)

func (a *app) sessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "sessions",
		Short:   "List sessions under way",
		Example: "  tsh sessions ls",
		Args:    onlyCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.sessionsLsCommand())
	return cmd
}

// words is a flag that may be repeated, with a comma-separated list each time.
type words []string

func (w *words) String() string { return "" }
func (w *words) Type() string   { return "string" }

// Set implements pflag.Value.
func (w *words) Set(s string) error {
	*w = append(*w, strings.Split(s, ",")...)
	return nil
}

// sessionsOptions are the flags of sessions ls.
type sessionsOptions struct {
	kinds  words
	format formatFlag
}

func (a *app) sessionsLsCommand() *cobra.Command {
	var o sessionsOptions
	cmd := &cobra.Command{
		Use:     "ls [flags]",
		Aliases: []string{"list"},
		Short:   "List the interactive sessions under way, oldest first",
		Long:    "ls lists the sessions that go on, or wait to begin, as far as your roles let you see them.",
		Example: "  tsh sessions ls\n  tsh sessions ls --kind=ssh --format=json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runSessions(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` to ask [TELEPORT_CLUSTER]")
	fs.Var(&o.kinds, "kind", "only sessions of `KIND` ssh, kube, db, app or desktop; may be repeated")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

func (a *app) runSessions(ctx context.Context, o sessionsOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	for i, kind := range o.kinds {
		if o.kinds[i] = cmp.Or(map[string]string{"kube": "k8s"}[kind], kind); !slices.Contains([]string{"ssh", "k8s", "db", "app", "desktop"}, o.kinds[i]) {
			return usagef("--kind=%s: choose ssh, kube, db, app or desktop", kind)
		}
	}
	sessions := []*resource.Session{}
	err = a.withSession(ctx, func(ctx context.Context, s *session) error {
		defer a.ui.waiting("cluster " + text.Line(s.cluster))()
		client, err := a.connectCluster(ctx, s, s.cluster)
		if err != nil {
			return err
		}
		defer client.Close()
		all, err := client.Sessions(ctx)
		for _, t := range all {
			if len(o.kinds) == 0 || slices.Contains(o.kinds, t.Spec.Kind) {
				sessions = append(sessions, t)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case format != formatText:
		return writeData(a.out, format, sessions)
	}
	if err = a.printSessions(sessions); err == nil && len(sessions) == 0 {
		a.ui.say("No session is under way, or your roles show you none.")
	}
	return err
}

func (a *app) printSessions(sessions []*resource.Session) error {
	t := table{titles: []string{"ID", "Kind", "Created", "User", "Target", "Address"}}
	for _, tracker := range sessions {
		s := &tracker.Spec
		var users []string
		for _, p := range s.Participants {
			users = append(users, p.User)
		}
		t.add(s.ID, s.Kind, ago(a.now().Sub(s.Created)), cmp.Or(s.HostUser, strings.Join(users, ",")), cmp.Or(s.KubernetesCluster, s.Hostname), s.Address)
	}
	return t.write(a.out)
}

// ago is how long ago something was, as people say it.
func ago(d time.Duration) string { return remaining(d) + " ago" }
