package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/profile"
)

// What the shell completes beside flags comes from the disk alone: the certificate for
// accounts, and what commands have seen for servers and clusters (namecache.go).

// completeNames has the shell complete arguments and flags that are names.
func (a *app) completeNames(cmd *cobra.Command) {
	switch cmd.CommandPath() {
	case "tsh ssh", "tsh proxy ssh", "tsh resolve":
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault // a command, and its arguments
			}
			return a.targets(begun, ""), cobra.ShellCompDirectiveNoFileComp
		}
	case "tsh scp":
		cmd.ValidArgsFunction = func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
			if strings.Contains(begun, ":") {
				return nil, cobra.ShellCompDirectiveNoFileComp // the server's files are not known here
			}
			return a.targets(begun, ":"), cobra.ShellCompDirectiveDefault
		}
	case "tsh login":
		cmd.ValidArgsFunction = a.completeClusters
	case "tsh request drop":
		cmd.ValidArgsFunction = a.completeRequests
	case "tsh ls", "tsh clusters", "tsh logout", "tsh request ls", "tsh request new", "tsh request show", "tsh request review":
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for name, f := range map[string]cobra.CompletionFunc{"cluster": a.completeClusters, "login": a.completeLogins} {
		if cmd.LocalFlags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, f) // it fails where there is one already
		}
	}
	for _, c := range cmd.Commands() {
		a.completeNames(c)
	}
}

// completed is the login that names are completed for; nil if there is none.
func (a *app) completed() (*profile.Store, *profile.Profile) {
	home, err := profile.Home()
	if err != nil || a.globals.hasIdentity() {
		return nil, nil
	}
	store := profile.Open(home)
	p, err := a.selectProfile(store)
	if err != nil {
		return nil, nil
	}
	return store, p
}

// targets are what may be meant by [ACCOUNT@]HOST that has been begun: hosts, with after
// behind them, and accounts as long as none is there.
func (a *app) targets(begun, after string) []string {
	store, p := a.completed()
	if p == nil {
		return nil
	}
	var fit []string
	account, host := "", begun
	if i := strings.LastIndexByte(begun, '@'); i >= 0 {
		account, host = begun[:i+1], begun[i+1:]
	}
	for _, name := range cachedNames(nameFile(p, a.cluster(p))) {
		if strings.HasPrefix(name, host) {
			fit = append(fit, account+name+after)
		}
	}
	if account == "" {
		for _, login := range a.accounts(store, p) {
			if strings.HasPrefix(login, begun) {
				fit = append(fit, login+"@")
			}
		}
	}
	return fit
}

// accounts are those that the stored certificate allows.
func (a *app) accounts(store *profile.Store, p *profile.Profile) (plain []string) {
	id, err := store.IdentityPublic(p)
	if err != nil {
		return nil
	}
	for _, login := range readClaims(id.SSHCert, nil).logins {
		if isPlain(login) {
			plain = append(plain, login)
		}
	}
	return plain
}

// completeRequests offers the requests whose roles the stored certificate has.
func (a *app) completeRequests(*cobra.Command, []string, string) (ids []string, _ cobra.ShellCompDirective) {
	if store, p := a.completed(); p != nil {
		if id, err := store.IdentityPublic(p); err == nil {
			for _, request := range readClaims(id.SSHCert, nil).activeRequests {
				if isPlain(request) {
					ids = append(ids, request)
				}
			}
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeLogins(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	store, p := a.completed()
	if p == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.accounts(store, p), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeClusters(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	_, p := a.completed()
	if p == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := cachedNames(nameFile(p, ""))
	if len(names) == 0 && isPlain(p.Cluster) {
		names = []string{p.Cluster}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
