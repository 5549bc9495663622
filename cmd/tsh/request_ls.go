package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/text"
)

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

func stateName(s *access.RequestSpec) string { return strings.ToUpper(s.State.String()) }

func orNone(s string) string {
	if s == "" {
		return "[none]"
	}
	return s
}
