package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/text"
)

// requestNewOptions are the flags of request new.
type requestNewOptions struct {
	draft     access.Draft
	resources []string
	start     string
	nowait    bool
}

func (o *requestNewOptions) addFlags(fs *pflag.FlagSet) {
	fs.Var(list{&o.draft.Roles}, "roles", "the `ROLES` to ask for, or \"*\" for all you can ask for")
	fs.Var(list{&o.resources}, "resource", "a resource to ask for, `/cluster/kind/name`; may be repeated")
	fs.StringVar(&o.draft.Reason, "reason", "", "`WHY` they are needed")
	fs.Var(list{&o.draft.Reviewers}, "reviewers", "suggest who shall decide, `NAMES`")
	fs.BoolVar(&o.nowait, "nowait", false, "ask, and do not wait for the decision")
	fs.DurationVar(&o.draft.Expiry, "request-ttl", 0, "how long the request waits for a decision, as `8h`")
	fs.DurationVar(&o.draft.SessionTTL, "session-ttl", 0, "how long certificates with it last, as `1h`")
	fs.DurationVar(&o.draft.MaxDuration, "max-duration", 0, "how long the access lasts, as `24h`")
	fs.StringVar(&o.start, "assume-start-time", "", "when the access begins, a `TIME` as 2026-11-21T09:00:00Z")
}

// check completes the request that the flags describe.
func (o *requestNewOptions) check() (err error) {
	d := &o.draft
	switch {
	case len(d.Roles)+len(o.resources) == 0:
		return usagef("nothing is asked for: --roles=NAMES or --resource=ID is needed")
	case min(d.Expiry, d.SessionTTL, d.MaxDuration) < 0:
		return usagef("the durations of a request cannot be negative")
	}
	for _, s := range o.resources {
		id, err := access.ParseResourceID(s)
		if err != nil {
			return usagef("--resource=%s: %v", s, err)
		}
		d.Resources = append(d.Resources, id)
	}
	d.AssumeStartTime, err = startTime(o.start)
	return err
}

// startTime reads the time from which access may be used.
func startTime(s string) (t time.Time, err error) {
	if s == "" {
		return t, nil
	}
	if t, err = time.Parse(time.RFC3339, s); err != nil {
		return t, usagef("--assume-start-time=%s: a time like 2026-11-21T09:00:00Z is needed", s)
	}
	return t, nil
}

func (a *app) requestNewCommand() *cobra.Command {
	var o requestNewOptions
	cmd := &cobra.Command{
		Use:     "new [flags]",
		Aliases: []string{"create"},
		Short:   "Ask for roles or resources, and wait for the decision",
		Long: "new asks for more access and waits until somebody has decided. Once it is approved, new\n" +
			"certificates have it. ^C ends the wait, not the request: tsh login --request-id=ID goes on.",
		Example: "  tsh request new --roles=dba --reason=\"ticket 12\"\n  tsh request new --roles=dba,auditor --max-duration=2h --nowait",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runRequestNew(cmd.Context(), o) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (a *app) runRequestNew(ctx context.Context, o requestNewOptions) error {
	err := o.check()
	if err == nil && !o.nowait {
		err = a.needStore("--nowait asks without waiting")
	}
	if err != nil {
		return err
	}
	return a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) error {
		o.draft.User = s.id.User
		r, err := client.CreateAccessRequest(ctx, o.draft)
		switch {
		case errors.Is(err, api.ErrInvalid) && o.draft.Reason == "" && strings.Contains(err.Error(), "reason"):
			return withHint(err, "--reason says why it is needed")
		case errors.Is(err, api.ErrAccessDenied):
			return hintRequestable(ctx, client, s.id.User, err)
		case err != nil:
			return err
		case a.globals.json && o.nowait:
			return writeJSON(a.out, r)
		case !a.globals.json:
			a.printRequest(r)
		}
		if err := a.follow(ctx, client, s, r, o.nowait); err != nil || o.nowait {
			return onlyOnce(err)
		}
		return onlyOnce(a.storeRights(ctx, s))
	})
}

// hintRequestable says, of a request that was refused, what can be asked for.
func hintRequestable(ctx context.Context, client *api.Client, user string, err error) error {
	can, failed := client.AccessCapabilities(ctx, user, true)
	switch {
	case failed != nil:
		return err
	case len(can.RequestableRoles) == 0:
		return withHint(err, "there is no role that you can ask for and do not have")
	}
	return withHint(err, "roles that you can ask for and do not have: %s", text.Line(strings.Join(can.RequestableRoles, ", ")))
}
