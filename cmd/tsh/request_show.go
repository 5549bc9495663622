package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/text"
)

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
