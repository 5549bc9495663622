package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
)

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
