package main

import (
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
		Long:    "ls lists the requests that you may see. Of several flags all conditions must hold.",
		Example: "  tsh request ls --reviewable\n  tsh request ls --my-requests --format=json",
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
		for r, failed := range client.AccessRequests(ctx, o.filter(s.id.User)) {
			list, err = append(list, r), failed
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case format != formatText:
		return writeData(a.out, format, list)
	}
	return a.printRequests(list)
}

func (a *app) printRequests(list []*access.Request) error {
	t := table{titles: []string{"ID", "User", "Roles", "Resources", "Created At (UTC)", "Request TTL", "Session TTL", "Assume Time (UTC)", "Status"}, shrink: 2, width: stdoutWidth(a.io)}
	more := ""
	short := func(s string) string {
		s = text.Line(s)
		if text.Width(s) > 20 {
			more = ", with what is cut at [+]"
			s = text.Cut(s, 20) + " [+]"
		}
		return s
	}
	for _, r := range list {
		s := &r.Spec
		if !s.Expires.After(a.now()) {
			continue // the access is over
		}
		t.add(r.ID(), s.User, short(strings.Join(s.Roles, ", ")), short(resourceNames(s)), utc(s.Created), a.until(latest(s.Expiry, s.Expires)), a.until(latest(s.SessionTTL, s.Expires)),
			utc(s.AssumeStartTime), stateName(s))
	}
	if len(t.rows) == 0 {
		a.ui.say("There is no access request that you may see.")
		return nil
	}
	if t.leaveOut("Assume Time (UTC)", "Session TTL", "Created At (UTC)", "Request TTL", "Resources") {
		more = ", with the columns that had no room here"
	}
	err := t.write(a.out)
	a.ui.note("tsh request show ID tells all about one%s; tsh login --request-id=ID uses one that is approved.", more)
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
	return t.UTC().Format("02 Jan 06 15:04 MST")
}

func (a *app) until(t time.Time) string { return remaining(t.Sub(a.now())) }

func resourceNames(s *access.RequestSpec) (names string) {
	for i, r := range s.Resources {
		if i > 0 {
			names += ", "
		}
		names += r.String()
	}
	return names
}

// needID makes of anything but the ID of a request a usage error.
func needID(cmd *cobra.Command, args []string) error {
	return oneArg("the ID of one access request")(cmd, args)
}

func (a *app) requestShowCommand() *cobra.Command {
	var format formatFlag
	cmd := &cobra.Command{
		Use:     "show ID",
		Aliases: []string{"details"},
		Short:   "Show one access request, and what was said about it",
		Example: "  tsh request show --format=json ID",
		Args:    needID,
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
	a.printPairs("Request ID", r.ID(), "Username", s.User, "Roles", strings.Join(s.Roles, ", "), "Resources", resourceNames(s),
		"Reason", orNone(s.Reason), "Reviewers", orNone(strings.Join(s.SuggestedReviewers, ", "))+" (suggested)",
		"Access Expires", utc(s.Expires), // clusters of 14.x do not say it of new ones
		"Assume Start Time", utc(s.AssumeStartTime), "Status", stateName(s))
	for i := range s.Reviews {
		v := &s.Reviews[i]
		title := "Denial by"
		if v.State == access.Approved {
			title = "Approval by"
		}
		fmt.Fprintln(a.out)
		a.printPairs(title, v.Author, "Reason", orNone(v.Reason), "Created At", utc(v.Created))
	}
}

// printPairs prints a line for each label that a value follows.
func (a *app) printPairs(pairs ...string) {
	for ; len(pairs) > 0; pairs = pairs[2:] {
		if pairs[1] != "" {
			fmt.Fprintf(a.out, "%-19s%s\n", pairs[0]+":", text.Line(pairs[1]))
		}
	}
}

func stateName(s *access.RequestSpec) string { return strings.ToUpper(s.State.String()) }

func orNone(s string) string {
	if s == "" {
		return "[none]"
	}
	return s
}
