package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

func newRequests() *cobra.Command {
	var opts usersOptions
	cmd := &cobra.Command{
		Use:   "requests",
		Short: "List, approve and deny requests for access",
		Long: `requests decides what people with the role requester have asked for, whether the
cluster runs or not. Who waits for it is told at once.`,
		Example: `  devcluster requests ls --dir ./dev
  devcluster requests approve 5d1f… --dir ./dev --reason "fine for today"
  devcluster requests deny 5d1f… --dir ./dev`,
	}
	group(cmd)
	dirFlag(cmd, &opts.dir)
	cmd.PersistentFlags().BoolVar(&opts.json, "json", false, "print JSON")
	cmd.AddCommand(newRequestsList(&opts), newResolve(&opts, "approve", true), newResolve(&opts, "deny", false))
	return cmd
}

func newRequestsList(shared *usersOptions) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the requests, the oldest first",
		Example: "  devcluster requests ls --dir ./dev --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return shared.withAdmin(func(a *devcluster.Admin) error {
				list, err := a.AccessRequests()
				if err != nil {
					return err
				}
				return shared.showRequests(cmd.OutOrStdout(), list)
			})
		},
	}
}

func newResolve(shared *usersOptions, verb string, approve bool) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     verb + " ID",
		Short:   strings.ToUpper(verb[:1]) + verb[1:] + " a request that is pending",
		Example: "  devcluster requests " + verb + " 5d1f… --dir ./dev",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return shared.withAdmin(func(a *devcluster.Admin) error {
				r, err := a.ResolveRequest(args[0], approve, reason)
				if err != nil {
					return err
				}
				return shared.showRequests(cmd.OutOrStdout(), []devcluster.AccessRequest{r})
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}

func (o *usersOptions) showRequests(w io.Writer, list []devcluster.AccessRequest) error {
	if o.json {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tUSER\tROLES\tSTATE\tREASON")
	for _, r := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%q\n", r.ID, r.User, strings.Join(r.Roles, ","), r.State, r.Reason)
	}
	return tw.Flush()
}
