package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

func newUsersUpdate(shared *usersOptions) *cobra.Command {
	var change devcluster.UserChange
	cmd := &cobra.Command{
		Use:   "update NAME",
		Short: "Change the roles, logins or traits of a user",
		Long: `update replaces what is named and leaves the rest. Certificates that were issued
keep the roles that they name; what those roles allow is as it is now.`,
		Example: `  devcluster users update alice --dir ./dev --roles access,staging
  devcluster users update alice --dir ./dev --logins root,deploy --trait team=web`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names := []string{"roles", "logins", "trait"}
			if !slices.ContainsFunc(names, cmd.Flags().Changed) {
				return errors.New("nothing to change: name --roles, --logins or --trait")
			}
			return shared.withAdmin(func(a *devcluster.Admin) error {
				if err := a.UpdateUser(args[0], change); err != nil {
					return err
				}
				if shared.json {
					return printJSON(cmd.OutOrStdout(), map[string]string{"name": args[0]})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "user %s changed\n", args[0])
				return nil
			})
		},
	}
	cmd.Flags().StringSliceVar(&change.Roles, "roles", nil, "`ROLES` instead of those the user has")
	cmd.Flags().StringSliceVar(&change.Logins, "logins", nil, "login names instead of those the user has")
	addTraits(cmd, &change.Traits)
	return cmd
}

// traitFlag collects NAME=VALUE,VALUE, each name once or more.
type traitFlag struct{ dst *map[string][]string }

func addTraits(cmd *cobra.Command, dst *map[string][]string) {
	cmd.Flags().Var(traitFlag{dst}, "trait", "what {{external.NAME}} in roles stands for, `NAME=VALUE,VALUE`; may be repeated")
}

// String is what pflag calls.
func (traitFlag) String() string { return "" }

// Type is what pflag calls.
func (traitFlag) Type() string { return "NAME=VALUE,VALUE" }

// Set is what pflag calls.
func (f traitFlag) Set(s string) error {
	name, values, ok := strings.Cut(s, "=")
	if !ok || name == "" || values == "" {
		return fmt.Errorf("%q is not NAME=VALUE,VALUE", s)
	}
	if *f.dst == nil {
		*f.dst = make(map[string][]string)
	}
	(*f.dst)[name] = append((*f.dst)[name], strings.Split(values, ",")...)
	return nil
}
