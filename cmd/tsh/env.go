package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// envOptions are the flags of env.
type envOptions struct {
	unset  bool
	format formatFlag
}

func (a *app) envCommand() *cobra.Command {
	var o envOptions
	cmd := &cobra.Command{
		Use:     "env [flags]",
		Short:   "Print the variables that pin a shell to the current login",
		Example: "  eval \"$(tsh env)\"\n  eval \"$(tsh env --unset)\"",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return a.runEnv(o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.unset, "unset", false, "print how to remove the variables")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	addNegations(fs)
	return cmd
}

// shellEnv are the variables of one login.
type shellEnv struct {
	_       [0]func() // never compared
	Cluster string    `json:"TELEPORT_CLUSTER"`
	Proxy   string    `json:"TELEPORT_PROXY"`
	File    string    `json:"TELEPORT_IDENTITY_FILE,omitempty"`
}

func (a *app) runEnv(o envOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	if o.unset && format != formatText {
		return usagef("--unset prints commands for a shell, no data")
	}
	if o.unset {
		for _, name := range []string{"TELEPORT_PROXY", "TELEPORT_CLUSTER", "TELEPORT_KUBE_CLUSTER", "KUBECONFIG", "TELEPORT_IDENTITY_FILE"} {
			fmt.Fprintln(a.out, "unset", name)
		}
		return nil
	}
	env, err := a.shellEnv()
	if err != nil {
		return err
	}
	if format != formatText {
		return writeData(a.out, format, env)
	}
	fmt.Fprintf(a.out, "export TELEPORT_PROXY=%s\nexport TELEPORT_CLUSTER=%s\n", shellQuote(env.Proxy), shellQuote(env.Cluster))
	if env.File != "" {
		fmt.Fprintf(a.out, "export TELEPORT_IDENTITY_FILE=%s\n", shellQuote(env.File))
	}
	return nil
}

func (a *app) shellEnv() (shellEnv, error) {
	if a.globals.hasIdentity() {
		v, err := a.openIdentity()
		if err != nil {
			return shellEnv{}, err
		}
		file, err := filepath.Abs(a.globals.identity) // the shell may go elsewhere
		return shellEnv{Proxy: v.profile.WebProxyAddr, Cluster: v.profile.Cluster, File: file}, err
	}
	store, err := a.openStore()
	if err != nil {
		return shellEnv{}, err
	}
	p, err := a.selectProfile(store)
	if err != nil {
		return shellEnv{}, err
	}
	return shellEnv{Proxy: p.WebProxyAddr, Cluster: p.Cluster}, nil
}

// shellQuote makes s one word for a POSIX shell. Names of hosts and clusters
// need no quotes and get none.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
