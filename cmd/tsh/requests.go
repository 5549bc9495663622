package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/text"
)

func (a *app) requestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "request",
		Aliases: []string{"requests"},
		Short:   "Ask for more roles for some time, and decide about what others ask for",
		Example: "  tsh request new --roles=dba --reason=\"ticket 12\"\n  tsh request ls\n  tsh request review --approve ID",
		Args:    onlyCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.requestNewCommand(), a.requestLsCommand(), a.requestShowCommand(), a.requestReviewCommand(), a.requestDropCommand())
	for _, c := range cmd.Commands() {
		a.globals.addKeystore(c.Flags())
		addNegations(c.Flags())
	}
	return cmd
}

// requestLsOptions are the flags of request ls.
type requestLsOptions struct {
	mine, reviewable, suggested bool
	format                      formatFlag
}

func (a *app) requestLsCommand() *cobra.Command {
	var o requestLsOptions
	cmd := &cobra.Command{
		Use:     "ls [flags]",
		Aliases: []string{"list"},
		Short:   "List access requests, newest first",
		Long: "ls lists the requests you made, and those of others that you may see. Flags that choose some\n" +
			"of them go together: all conditions must hold.",
		Example: "  tsh request ls\n  tsh request ls --reviewable\n  tsh request ls --my-requests --format=json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runRequestLs(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.mine, "my-requests", false, "only what you ask for")
	fs.BoolVar(&o.reviewable, "reviewable", false, "only what others ask for and you have not decided about")
	fs.BoolVar(&o.suggested, "suggested", false, "only what you are suggested for as a reviewer")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	return cmd
}

// filter is what the flags choose for user.
func (o *requestLsOptions) filter(user string) (f access.Filter) {
	if o.mine {
		f.User = user
	}
	if o.reviewable {
		f.Reviewer = user
	}
	if o.suggested {
		f.Suggested = user
	}
	return f
}

func (a *app) runRequestLs(ctx context.Context, o requestLsOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	var list []*access.Request
	err = a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) error {
		list = []*access.Request{}
		for r, err := range client.AccessRequests(ctx, o.filter(s.id.User)) {
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case format != formatText:
		return writeData(a.out, format, list)
	}
	return a.printRequests(list)
}

const timeUTC = "02 Jan 06 15:04 UTC"

func (a *app) printRequests(list []*access.Request) error {
	t := table{titles: []string{"ID", "User", "Roles", "Resources", "Created At (UTC)", "Request TTL", "Session TTL", "Assume Time (UTC)", "Status"}}
	cut := false
	short := func(words []string) string {
		s := text.Line(strings.Join(words, ","))
		if text.Width(s) > 20 {
			cut = true
			s = text.Cut(s, 20) + " [+]"
		}
		return s
	}
	for _, r := range list {
		s := &r.Spec
		if !s.Expires.After(a.now()) {
			continue // the access is over
		}
		t.add(r.ID(), s.User, short(s.Roles), short(resourceNames(s)), utc(s.Created), a.until(latest(s.Expiry, s.Expires)), a.until(latest(s.SessionTTL, s.Expires)),
			utc(s.AssumeStartTime), strings.ToUpper(s.State.String()))
	}
	if len(t.rows) == 0 {
		a.ui.say("There is no access request that you may see.")
		return nil
	}
	err := t.write(a.out)
	if cut {
		a.ui.note("[+] There is more: tsh request show ID")
	}
	a.ui.note("tsh request show ID tells all about one; tsh login --request-id=ID uses one that is approved.")
	return err
}

// latest is at, or end if that is not said.
func latest(at, end time.Time) time.Time {
	if at.IsZero() {
		return end
	}
	return at
}

// utc is a time as lists show it, nothing if there is none.
func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeUTC)
}

func (a *app) until(t time.Time) string { return remaining(t.Sub(a.now())) }

func resourceNames(s *access.RequestSpec) (names []string) {
	for _, r := range s.Resources {
		names = append(names, r.String())
	}
	return names
}

// needID makes of anything but the ID of a request a usage error.
func needID() cobra.PositionalArgs { return oneArg("the ID of one access request") }

func (a *app) requestShowCommand() *cobra.Command {
	var format formatFlag
	cmd := &cobra.Command{
		Use:     "show ID",
		Aliases: []string{"details"},
		Short:   "Show one access request, and what was said about it",
		Example: "  tsh request show 5d1f0a4e-2f0c-4c3a-9a4e-8f3f6a1f4b7c\n  tsh request show --format=json ID",
		Args:    needID(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runRequestShow(cmd.Context(), args[0], &format)
		},
	}
	format.addFlag(cmd.Flags(), formatText, formatJSON, formatYAML)
	return cmd
}

func (a *app) runRequestShow(ctx context.Context, id string, f *formatFlag) error {
	format, err := f.pick(&a.globals)
	if err != nil {
		return err
	}
	var r *access.Request
	err = a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) error {
		r, err = client.AccessRequest(ctx, id, "")
		return hintRequests(err)
	})
	switch {
	case err != nil:
		return err
	case format != formatText:
		return writeData(a.out, format, r)
	}
	a.printRequest(r)
	if r.Spec.State == access.Approved {
		a.ui.note("tsh login --request-id=%s uses it.", r.ID())
	}
	return nil
}

// hintRequests says where the IDs of requests are.
func hintRequests(err error) error {
	if errors.Is(err, api.ErrNotFound) {
		return withHint(err, "tsh request ls lists those that you may see; one that is over is gone")
	}
	return err
}

// printRequest prints all about a request: what is asked for, then what was said.
func (a *app) printRequest(r *access.Request) {
	s := &r.Spec
	var b strings.Builder
	line := func(label, value string) { fmt.Fprintf(&b, "%-19s%s\n", label+":", text.Line(value)) }
	line("Request ID", r.ID())
	line("Username", s.User)
	line("Roles", strings.Join(s.Roles, ", "))
	if len(s.Resources) > 0 {
		line("Resources", strings.Join(resourceNames(s), ", "))
	}
	line("Reason", cmp.Or(s.Reason, "[none]"))
	line("Reviewers", cmp.Or(strings.Join(s.SuggestedReviewers, ", "), "[none]")+" (suggested)")
	if !s.Expires.IsZero() { // clusters of 14.x do not say it of new ones
		line("Access Expires", s.Expires.UTC().Format(time.RFC1123))
	}
	if !s.AssumeStartTime.IsZero() {
		line("Assume Start Time", s.AssumeStartTime.UTC().Format(time.RFC1123))
	}
	line("Status", strings.ToUpper(s.State.String()))
	for _, v := range s.Reviews {
		title := "Approval"
		if v.State != access.Approved {
			title = "Denial"
		}
		b.WriteString("\n" + strings.Repeat("-", 48) + "\n")
		line(title+" by", v.Author)
		line("Reason", cmp.Or(v.Reason, "[none]"))
		if !v.Created.IsZero() {
			line("Created At", v.Created.UTC().Format(time.RFC1123))
		}
	}
	fmt.Fprint(a.out, b.String())
}
