package main

import (
	"context"
	"errors"
	"slices"
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

// onlyOnce is err of a command that must not be done a second time.
func onlyOnce(err error) error {
	if err != nil {
		return &begunError{err}
	}
	return nil
}

// needStore refuses to go on where new certificates cannot be stored.
func (a *app) needStore(instead string) error {
	if a.globals.hasIdentity() || a.globals.headless.on {
		return usagef("the certificates of this command are not stored, so they cannot be changed; %s", instead)
	}
	return nil
}

// storeRights stores certificates of other rights than before and shows the status.
func (a *app) storeRights(ctx context.Context, s *session) error {
	store, err := a.openStore()
	if err != nil {
		return err
	}
	if s, err = a.storeReissued(ctx, store, s.profile, s.id, store.SaveAlone); err != nil {
		return err
	}
	return a.showStatus(store, statusView{active: s.profile.Name, format: a.loginFormat()})
}

// requestReviewOptions are the flags of request review.
type requestReviewOptions struct {
	approve, deny bool
	reason, start string
}

func (a *app) requestReviewCommand() *cobra.Command {
	var o requestReviewOptions
	cmd := &cobra.Command{
		Use:     "review ID",
		Short:   "Approve or deny what somebody else asks for",
		Example: "  tsh request review --approve ID\n  tsh request review --deny --reason=\"ask first\" ID",
		Args:    needID,
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runRequestReview(cmd.Context(), args[0], o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.approve, "approve", false, "approve it")
	fs.BoolVar(&o.deny, "deny", false, "deny it")
	fs.StringVar(&o.reason, "reason", "", "`WHY`, shown to whoever asks")
	fs.StringVar(&o.start, "assume-start-time", "", "when the access begins, a `TIME` as 2026-11-21T09:00:00Z")
	return cmd
}

func (a *app) runRequestReview(ctx context.Context, id string, o requestReviewOptions) error {
	if o.approve == o.deny {
		return usagef("one of --approve and --deny is needed")
	}
	start, err := startTime(o.start)
	if err != nil {
		return err
	}
	review := access.Review{State: access.Denied, Reason: o.reason, AssumeStartTime: start}
	if o.approve {
		review.State = access.Approved
	}
	return a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) error {
		review.Author = s.id.User
		r, err := client.ReviewAccessRequest(ctx, id, review)
		if err != nil {
			return hintRequests(err)
		}
		if a.globals.json {
			return writeJSON(a.out, r)
		}
		a.ui.say("Your review of access request %s for %s of %s is in; it is %s.", id, whatOf(r), text.Line(r.Spec.User), r.Spec.State)
		return nil
	})
}

func (a *app) requestDropCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drop [ID...]",
		Short: "Give up what access requests gave you, or take requests back",
		Long: "drop has certificates issued without the access requests, all of them if none is named. A\n" +
			"request that is not in the certificates is taken back.",
		Example: "  tsh request drop",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runRequestDrop(cmd.Context(), args) },
	}
}

func (a *app) runRequestDrop(ctx context.Context, ids []string) error {
	if err := a.needStore("leave --identity and --headless out"); err != nil {
		return err
	}
	return a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) error {
		active := readClaims(s.id.SSHCert, nil).activeRequests
		drop := active
		if slices.Equal(ids, []string{"*"}) {
			ids = nil
		} else if len(ids) > 0 {
			drop = nil
		}
		begun := false
		for _, id := range ids {
			if slices.Contains(active, id) {
				drop = append(drop, id)
				continue
			}
			if err := hintRequests(client.DeleteAccessRequest(ctx, id)); err != nil {
				if begun { // what was taken back is not there another time
					err = onlyOnce(err)
				}
				return err
			}
			begun = true
			a.ui.say("Access request %s was taken back.", text.Line(id))
		}
		if len(drop) == 0 {
			if len(ids) == 0 {
				a.ui.say("Your certificates have no access request to drop.")
			}
			return nil
		}
		s.cluster = s.profile.Cluster
		fresh, err := a.reissue(ctx, client, s, rights{drop: drop})
		if err != nil {
			return err
		}
		s.id = fresh
		return onlyOnce(a.storeRights(ctx, s))
	})
}
