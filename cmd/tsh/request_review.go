package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/text"
)

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
