package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/profile"
)

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout [--proxy=HOST] [--user=NAME]",
		Short: "Remove keys and certificates from this machine",
		Long: "logout removes stored keys and certificates: all of them, or with --proxy those of one\n" +
			"proxy, or with --user those of one user. It works on damaged state and needs no network.\n" +
			"Addresses stay, so that the next login knows the proxy.",
		Example: "  tsh logout\n  tsh logout --proxy=teleport.example.com --user=alice",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runLogout(cmd.Context()) },
	}
}

// loggedOut is what --json prints: whose keys were removed.
type loggedOut struct {
	LoggedOut []loggedOutUser `json:"logged_out"`
	Left      []string        `json:"left"` // could not be removed
	Error     *errorBody      `json:"error,omitempty"`
}

type loggedOutUser struct {
	Proxy string `json:"proxy"`
	User  string `json:"user"`
}

func (a *app) runLogout(ctx context.Context) error {
	if err := a.globals.refuseIdentity("logout"); err != nil {
		return err
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	_, name, err := a.namedProxy(store)
	if err != nil {
		return err
	}
	removed, err := store.Logout(ctx, name, a.globals.user)
	if a.logoutFilter() == "" {
		forgetNames("", "")
	}
	for _, l := range removed.Logins {
		forgetNames(l.Proxy, l.User)
	}
	if err == nil && len(removed.Logins) == 0 && a.logoutFilter() != "" {
		err = fmt.Errorf("%s: %w", a.logoutFilter(), errNothingMatched)
	}
	if a.globals.json {
		return a.writeLoggedOut(removed, err)
	}
	for _, l := range removed.Logins {
		fmt.Fprintf(a.out, "Logged out %s from %s.\n", text.Line(l.User), text.Line(l.Proxy))
	}
	for _, path := range removed.Left {
		a.ui.warn("could not be removed: %s", path)
	}
	if len(removed.Logins) == 0 && err == nil {
		fmt.Fprintln(a.out, "Nobody was logged in.")
	}
	return err
}

// writeLoggedOut prints what was done and what went wrong as one document.
func (a *app) writeLoggedOut(removed profile.Removed, err error) error {
	out := loggedOut{LoggedOut: []loggedOutUser{}, Left: append([]string{}, removed.Left...)}
	for _, l := range removed.Logins {
		out.LoggedOut = append(out.LoggedOut, loggedOutUser(l))
	}
	if err == nil {
		return writeJSON(a.out, out)
	}
	failure := describe(err)
	out.Error = &failure
	if err := writeJSON(a.out, out); err != nil {
		return err
	}
	return errSilent
}

// errNothingMatched: nobody is logged in whom the flags mean.
var errNothingMatched = errors.New("nobody like that is logged in")

// logoutFilter is what the command line narrows the logout down to.
func (a *app) logoutFilter() string {
	var given []string
	if a.globals.proxy != "" {
		given = append(given, "--proxy="+a.globals.proxy)
	}
	if a.globals.user != "" {
		given = append(given, "--user="+a.globals.user)
	}
	return strings.Join(given, " ")
}
