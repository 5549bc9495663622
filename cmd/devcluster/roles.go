package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

func newCreate() *cobra.Command {
	var opts usersOptions
	var file string
	var force bool
	cmd := &cobra.Command{
		Use:   "create -f FILE",
		Short: "Make roles from a file",
		Long: `create makes the roles of a YAML or JSON file as other clusters have them, all or
none, whether the cluster runs or not. Fields that the dev cluster would not act on
are errors. Who has a role that is replaced has what it says now, at once.`,
		Example: `  devcluster create -f role.yaml --dir ./dev
  devcluster create -f role.yaml --dir ./dev --force
  devcluster get role/staging --dir ./dev | sed s/1h/2h/ | devcluster create -f - --dir ./dev --force`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("create has no argument %q; a file is named with -f", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := readResource(cmd.InOrStdin(), file)
			if err != nil {
				return err
			}
			return opts.withAdmin(func(a *devcluster.Admin) error {
				changes, err := a.CreateRoles(raw, force)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				return opts.showChanges(cmd.OutOrStdout(), changes)
			})
		},
	}
	dirFlag(cmd, &opts.dir)
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	cmd.Flags().StringVarP(&file, "file", "f", "", "`FILE` with the roles, - for standard input")
	cmd.Flags().BoolVar(&force, "force", false, "replace roles that are there already")
	if err := cmd.MarkFlagRequired("file"); err != nil {
		panic(err) // the flag was defined above
	}
	return cmd
}

func readResource(stdin io.Reader, file string) ([]byte, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	return io.ReadAll(io.LimitReader(stdin, devcluster.MaxRoleFile+1)) // one more, to see that there is more
}

func (o *usersOptions) showChanges(w io.Writer, changes []devcluster.RoleChange) error {
	if o.json {
		return printJSON(w, changes)
	}
	for _, c := range changes {
		verb := "created"
		if c.Replaced {
			verb = "replaced"
		}
		fmt.Fprintf(w, "role %s %s\n", c.Name, verb)
	}
	return nil
}

// roleName reads role/NAME, or roles/NAME.
func roleName(arg string) (string, error) {
	kind, name, ok := strings.Cut(arg, "/")
	if !ok || kind != "role" && kind != "roles" || name == "" {
		return "", fmt.Errorf("%q is not role/NAME", arg)
	}
	return name, nil
}

func newGet() *cobra.Command {
	var opts usersOptions
	var format string
	cmd := &cobra.Command{
		Use:   "get roles | role/NAME",
		Short: "Show the roles there are",
		Long: `get shows all roles, or one. What it prints as YAML or JSON, create accepts; text is
a table.`,
		Example: `  devcluster get roles --dir ./dev --format=text
  devcluster get role/access --dir ./dev
  devcluster get roles --dir ./dev --format=json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if args[0] != "roles" && args[0] != "role" {
				var err error
				if name, err = roleName(args[0]); err != nil {
					return fmt.Errorf("%w, nor roles", err)
				}
			}
			if opts.json {
				format = "json"
			}
			if !slices.Contains([]string{"yaml", "json", "text"}, format) {
				return fmt.Errorf("format %q is not one of yaml, json, text", format)
			}
			return opts.withAdmin(func(a *devcluster.Admin) error {
				roles, err := a.Roles(name)
				if err != nil {
					return err
				}
				return showRoles(cmd.OutOrStdout(), format, roles)
			})
		},
	}
	dirFlag(cmd, &opts.dir)
	cmd.Flags().StringVar(&format, "format", "yaml", "yaml, json or text")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON, as --format=json does")
	return cmd
}

func showRoles(w io.Writer, format string, roles []devcluster.Role) error {
	switch format {
	case "json":
		docs := make([]json.RawMessage, len(roles))
		for i, r := range roles {
			docs[i] = r.JSON
		}
		return printJSON(w, docs)
	case "yaml":
		for i, r := range roles {
			if i > 0 {
				fmt.Fprintln(w, "---")
			}
			fmt.Fprint(w, r.YAML)
		}
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tLOGINS\tNODES\tUSERS\tDESCRIPTION")
	for _, r := range roles {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(r.NodeLabels)) {
			labels = append(labels, key+"="+strings.Join(r.NodeLabels[key], "|"))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", r.Name, strings.Join(r.Logins, ","), strings.Join(labels, ","), strings.Join(r.Users, ","), r.Description)
	}
	return tw.Flush()
}

func newRemove() *cobra.Command {
	var opts usersOptions
	cmd := &cobra.Command{
		Use:   "rm role/NAME",
		Short: "Remove a role",
		Long: `rm removes a role that no user has. Those that come with every cluster stay. Who has
a certificate with the role has nothing of it any more.`,
		Example: `  devcluster rm role/staging --dir ./dev`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := roleName(args[0])
			if err != nil {
				return err
			}
			return opts.withAdmin(func(a *devcluster.Admin) error {
				if err := a.RemoveRole(name); err != nil {
					return err
				}
				if opts.json {
					return printJSON(cmd.OutOrStdout(), map[string]string{"name": name})
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "role %s removed\n", name)
				return err
			})
		},
	}
	dirFlag(cmd, &opts.dir)
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}
