package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// usersOptions is what the users commands share.
type usersOptions struct {
	dir  string
	json bool
}

func newUsers() *cobra.Command {
	var opts usersOptions
	cmd := &cobra.Command{
		Use:   "users",
		Short: "Add, list, change, reset and remove users",
		Long: `users changes who may log in, whether the cluster runs or not: a running one is
reached through the socket in its directory, otherwise the state is opened.`,
		Example: `  devcluster users add alice --dir ./dev --roles access --logins root,alice
  devcluster users ls --dir ./dev
  devcluster users update alice --dir ./dev --roles access,staging
  devcluster users reset alice --dir ./dev
  devcluster users rm alice --dir ./dev`,
	}
	group(cmd)
	dirFlag(cmd, &opts.dir)
	cmd.PersistentFlags().BoolVar(&opts.json, "json", false, "print JSON")
	cmd.AddCommand(newUsersAdd(&opts), newUsersList(&opts), newUsersUpdate(&opts), newUsersRemove(&opts), newUsersReset(&opts))
	return cmd
}

// withAdmin opens the cluster for one change.
func (o *usersOptions) withAdmin(f func(a *devcluster.Admin) error) error {
	a, err := devcluster.OpenAdmin(o.dir)
	if err != nil {
		return withDir(o.dir, err)
	}
	return errors.Join(f(a), a.Close())
}

func newUsersAdd(shared *usersOptions) *cobra.Command {
	var spec devcluster.UserSpec
	var pw passwordOptions
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user with a password and, with second factor otp, a device for codes",
		Example: `  devcluster users add alice --dir ./dev --roles access,auditor --logins root,alice
  devcluster users add alice --dir ./dev --roles access --logins alice --generate --json
  pass show dev/alice | devcluster users add alice --dir ./dev --roles access --logins alice --password-stdin`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Name = args[0]
			password, err := pw.get(cmd)
			if err != nil {
				return err
			}
			spec.Password = password
			return shared.withAdmin(func(a *devcluster.Admin) error {
				en, err := a.AddUser(spec)
				if err != nil {
					return err
				}
				return shared.show(cmd.OutOrStdout(), "added", en)
			})
		},
	}
	cmd.Flags().StringSliceVar(&spec.Roles, "roles", []string{"access"}, "`ROLES` that there are; see devcluster get roles --format=text")
	cmd.Flags().StringSliceVar(&spec.Logins, "logins", nil, "login names on the nodes")
	addTraits(cmd, &spec.Traits)
	pw.addFlags(cmd)
	return cmd
}

func newUsersReset(shared *usersOptions) *cobra.Command {
	var pw passwordOptions
	cmd := &cobra.Command{
		Use:     "reset NAME",
		Short:   "Give a user a new password and device, and lift a lock",
		Example: `  devcluster users reset alice --dir ./dev`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := pw.get(cmd)
			if err != nil {
				return err
			}
			return shared.withAdmin(func(a *devcluster.Admin) error {
				en, err := a.ResetUser(args[0], password)
				if err != nil {
					return err
				}
				return shared.show(cmd.OutOrStdout(), "reset", en)
			})
		},
	}
	pw.addFlags(cmd)
	return cmd
}

func newUsersRemove(shared *usersOptions) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME",
		Short:   "Remove a user; certificates that were issued stay valid on the nodes",
		Example: `  devcluster users rm alice --dir ./dev`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return shared.withAdmin(func(a *devcluster.Admin) error {
				if err := a.RemoveUser(args[0]); err != nil {
					return err
				}
				if shared.json {
					return printJSON(cmd.OutOrStdout(), map[string]string{"name": args[0]})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "user %s removed\n", args[0])
				return nil
			})
		},
	}
}

func newUsersList(shared *usersOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the users",
		Example: `  devcluster users ls --dir ./dev
  devcluster users ls --dir ./dev --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return shared.withAdmin(func(a *devcluster.Admin) error {
				users, err := a.Users()
				if err != nil {
					return err
				}
				if shared.json {
					return printJSON(cmd.OutOrStdout(), users)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tROLES\tLOGINS\tDEVICES\tLOCKED UNTIL")
				for _, u := range users {
					locked := ""
					if !u.LockedUntil.IsZero() {
						locked = u.LockedUntil.Local().Format(time.DateTime)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.Name, strings.Join(u.Roles, ","), strings.Join(u.Logins, ","),
						strings.Join(u.Devices, ","), locked)
				}
				return w.Flush()
			})
		},
	}
}

// show prints what the user needs to log in, once.
func (o *usersOptions) show(w io.Writer, verb string, en devcluster.Enrolment) error {
	if o.json {
		return printJSON(w, en)
	}
	fmt.Fprintf(w, "user %s %s\n", en.Name, verb)
	if en.Password != "" {
		fmt.Fprintf(w, "password  %s\n", en.Password)
	}
	if en.TOTPURL == "" {
		return nil
	}
	qr, err := qrcode.New(en.TOTPURL, qrcode.Low)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nscan this with an authenticator app:\n%s\nsecret    %s\nURL       %s\n", qr.ToSmallString(false), en.TOTPSecret, en.TOTPURL)
	return nil
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
