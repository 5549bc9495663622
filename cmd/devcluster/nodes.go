package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// maxKeyFile bounds the file with a public key.
const maxKeyFile = 64 << 10

func newNodes() *cobra.Command {
	var opts usersOptions
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "Add, list and remove nodes that are OpenSSH servers",
		Long: `nodes registers servers on which OpenSSH's sshd runs, and nothing of the cluster.
The proxy connects to their address; sshd trusts the cluster's user authority.`,
		Example: `  devcluster nodes add web-1 --dir ./dev --addr 127.0.0.1:2222 --host-key ./host_key.pub --out ./sshd
  devcluster nodes ls --dir ./dev
  devcluster nodes rm web-1 --dir ./dev`,
	}
	group(cmd)
	dirFlag(cmd, &opts.dir)
	cmd.PersistentFlags().BoolVar(&opts.json, "json", false, "print JSON")
	cmd.AddCommand(newNodesAdd(&opts), newNodesList(&opts), newNodesRemove(&opts))
	return cmd
}

// nodeOptions describe the server that is to be added.
type nodeOptions struct {
	spec    devcluster.SSHDSpec
	hostKey string
	out     string
}

func newNodesAdd(shared *usersOptions) *cobra.Command {
	var o nodeOptions
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Register an OpenSSH server and certify its host key",
		Long: `add signs the server's host key and registers its address. Into the directory --out go
the host certificate and the authority that sshd has to trust; the lines for
sshd_config are printed. Adding a name again replaces what was there.`,
		Example: "  devcluster nodes add web-1 --dir ./dev --addr 127.0.0.1:2222 --host-key ./host_key.pub --out ./sshd --labels env=dev",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.spec.Hostname = args[0]
			return shared.addNode(cmd.OutOrStdout(), o)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.spec.Addr, "addr", "", "`HOST:PORT` where the server listens")
	fs.StringVar(&o.hostKey, "host-key", "", "`FILE` with the server's public host key")
	fs.StringVar(&o.out, "out", "", "`DIRECTORY` for the certificate and the authority")
	fs.StringToStringVar(&o.spec.Labels, "labels", nil, "labels of the node")
	for _, name := range []string{"addr", "host-key", "out"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was defined above
		}
	}
	return cmd
}

func (o *usersOptions) addNode(w io.Writer, n nodeOptions) error {
	f, err := os.Open(n.hostKey)
	if err != nil {
		return err
	}
	if n.hostKey, err = filepath.Abs(n.hostKey); err != nil { // for sshd_config
		return err
	}
	defer f.Close()
	key, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return err
	}
	n.spec.HostKey = string(key)
	return o.withAdmin(func(a *devcluster.Admin) error {
		files, err := a.AddSSHD(n.spec)
		if err != nil {
			return err
		}
		cert, authority, err := n.store(files)
		if err != nil {
			return err
		}
		if o.json {
			return printJSON(w, map[string]any{"node": files.Node, "host_certificate": cert, "user_authority": authority})
		}
		fmt.Fprintf(w, "node %s added; its sshd_config needs\n\nHostKey %s\nHostCertificate %s\nTrustedUserCAKeys %s\n",
			files.Node.Hostname, strings.TrimSuffix(n.hostKey, ".pub"), cert, authority)
		return nil
	})
}

// store writes the files for sshd and returns their paths.
func (n *nodeOptions) store(files devcluster.SSHDFiles) (cert, authority string, err error) {
	dir, err := filepath.Abs(n.out)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return "", "", err
	}
	base := strings.TrimSuffix(filepath.Base(n.hostKey), ".pub")
	cert, authority = filepath.Join(dir, base+"-cert.pub"), filepath.Join(dir, "user_ca.pub")
	if err := os.WriteFile(cert, []byte(files.HostCertificate), 0o644); err != nil {
		return "", "", err
	}
	return cert, authority, os.WriteFile(authority, []byte(files.UserAuthority), 0o644)
}

func newNodesList(shared *usersOptions) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the OpenSSH servers that are registered",
		Example: "  devcluster nodes ls --dir ./dev --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return shared.withAdmin(func(a *devcluster.Admin) error {
				nodes, err := a.SSHDNodes()
				if err != nil {
					return err
				}
				if shared.json {
					return printJSON(cmd.OutOrStdout(), nodes)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tADDRESS\tLABELS\tID")
				for _, n := range nodes {
					labels := []string{}
					for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
						labels = append(labels, key+"="+n.Labels[key])
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.Hostname, n.Addr, strings.Join(labels, ","), n.ID)
				}
				return w.Flush()
			})
		},
	}
}

func newNodesRemove(shared *usersOptions) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME",
		Short:   "Remove an OpenSSH server; its sshd is not touched",
		Example: "  devcluster nodes rm web-1 --dir ./dev",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return shared.withAdmin(func(a *devcluster.Admin) error {
				if err := a.RemoveSSHD(args[0]); err != nil {
					return err
				}
				if shared.json {
					return printJSON(cmd.OutOrStdout(), map[string]string{"hostname": args[0]})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "node %s removed\n", args[0])
				return nil
			})
		},
	}
}
