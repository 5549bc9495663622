package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

func newAuth() *cobra.Command {
	var opts usersOptions
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Sign identities for programs, and hand out authorities",
		Long: `auth does what only who has the cluster's authorities can do, whether the cluster
runs or not.`,
		Example: `  devcluster auth sign --user robot --out ./robot.identity --dir ./dev
  devcluster auth export --type tls-host --dir ./dev`,
	}
	group(cmd)
	dirFlag(cmd, &opts.dir)
	cmd.PersistentFlags().BoolVar(&opts.json, "json", false, "print JSON")
	cmd.AddCommand(newAuthSign(&opts), newAuthExport(&opts))
	return cmd
}

func newAuthSign(shared *usersOptions) *cobra.Command {
	var spec devcluster.SignSpec
	ttl := lifetime(12 * time.Hour)
	cmd := &cobra.Command{
		Use:   "sign --user NAME --out PATH",
		Short: "Make an identity for a user without a login, for years if it has to be",
		Long: `sign makes a key and has it certified for a user: the certificates say what those
of a login say. The key is made here; a running cluster gets its public half alone.

Formats, and what is written:
  file     PATH, an identity file, for tsh --identity and the SDK
  openssh  PATH-cert.pub and PATH, for ssh -i PATH
  tls      PATH.cas, PATH.crt and PATH.key: the authorities of servers, the
           certificate, the key

--ttl is up to ten years and is not cut to what the roles of the user allow for
logins. There is no way to take certificates back before they end.

Files have mode 0600 and appear complete. A file that is there is an error, or
replaced with --overwrite.`,
		Example: `  devcluster auth sign --user robot --out ./robot.identity --dir ./dev
  devcluster auth sign --user robot --out ./robot.identity --ttl 8760h --overwrite --dir ./dev
  devcluster auth sign --user robot --format openssh --out ./id_robot --ttl 24 --dir ./dev
  devcluster auth sign --user robot --format tls --out ./robot --dir ./dev --json
  tsh --identity ./robot.identity --proxy localhost:3080 ls`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec.TTL = time.Duration(ttl)
			return shared.withAdmin(func(a *devcluster.Admin) error {
				id, err := a.SignUser(spec)
				if err != nil {
					return err
				}
				return shared.showSigned(cmd.OutOrStdout(), cmd.ErrOrStderr(), id)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&spec.User, "user", "", "whose identity")
	f.StringVar(&spec.Out, "out", "", "`path` to write to")
	f.StringVar(&spec.Format, "format", "file", "file, openssh or tls")
	f.Var(&ttl, "ttl", "how long it is good: hours, or a `duration` like 90m; up to ten years")
	f.StringVar(&spec.Proxy, "proxy", "", "`host` that an identity file names beside the clusters (default none)")
	f.BoolVar(&spec.Overwrite, "overwrite", false, "replace files that are there")
	for _, name := range []string{"user", "out"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flags were defined above
		}
	}
	return cmd
}

// lifetime is a flag for how long something is good.
type lifetime time.Duration

func (l *lifetime) Set(s string) error {
	if hours, err := strconv.Atoi(s); err == nil {
		if hours > int((1<<62)/time.Hour) || hours < 0 {
			return fmt.Errorf("%d hours", hours)
		}
		*l = lifetime(time.Duration(hours) * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("not hours, nor a duration like 90m or 8760h")
	}
	*l = lifetime(d)
	return nil
}

func (l *lifetime) String() string { return time.Duration(*l).String() }
func (*lifetime) Type() string     { return "duration" }

// writtenIdentity is what sign --json prints.
type writtenIdentity struct {
	Files      []string  `json:"files"`
	Format     string    `json:"format"`
	Username   string    `json:"username"`
	Cluster    string    `json:"cluster"`
	ValidUntil time.Time `json:"valid_until"`
	Notes      []string  `json:"notes,omitempty"`
}

func (o *usersOptions) showSigned(stdout, stderr io.Writer, id *devcluster.SignedIdentity) error {
	w := writtenIdentity{
		Format: id.Format, Username: id.User, Cluster: id.Cluster, ValidUntil: id.ValidUntil, Notes: id.Notes,
	}
	for _, f := range id.Files {
		w.Files = append(w.Files, f.Path)
	}
	if o.json {
		return printJSON(stdout, w)
	}
	for _, note := range w.Notes {
		fmt.Fprintf(stderr, "note: %s\n", note)
	}
	_, err := fmt.Fprintf(stdout, "identity of %s is in %s, valid until %s\n",
		w.Username, strings.Join(w.Files, ", "), w.ValidUntil.Format(time.RFC3339))
	return err
}

func newAuthExport(shared *usersOptions) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "export --type TYPE",
		Short: "Print an authority of the cluster, its public half",
		Long: `export prints what others check the cluster's certificates with:

  user      for sshd's TrustedUserCAKeys
  host      for known_hosts
  tls-user  the certificate that users' certificates are signed by, PEM
  tls-host  the one that servers' are signed by`,
		Example: `  devcluster auth export --type host --dir ./dev >> ~/.ssh/known_hosts
  devcluster auth export --type tls-user --dir ./dev > users.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return shared.withAdmin(func(a *devcluster.Admin) error {
				text, err := a.ExportAuthority(kind)
				if err != nil {
					return err
				}
				if shared.json {
					return printJSON(cmd.OutOrStdout(), map[string]string{"type": kind, "authority": text})
				}
				_, err = io.WriteString(cmd.OutOrStdout(), text)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "user, host, tls-user or tls-host")
	if err := cmd.MarkFlagRequired("type"); err != nil {
		panic(err) // the flag was defined on the line above
	}
	return cmd
}
