package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

func (a *app) useCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "use NAME",
		Short: "Make another login the current one",
		Long: "use selects a login that is there already, without asking anybody anything. NAME is the\n" +
			"proxy's host as tsh profiles shows it, or as it was given to tsh login, or the beginning\n" +
			"of one of them alone. For one command there is --proxy, for one terminal tsh env.",
		Example:           "  tsh use teleport.example.com\n  tsh use tele",
		Args:              oneArg("one NAME; tsh profiles lists them"),
		ValidArgsFunction: completeProfiles,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runUse(cmd.Context(), args[0]) },
	}
}

func (a *app) runUse(ctx context.Context, typed string) error {
	if err := a.globals.refuseIdentity("use"); err != nil {
		return err
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	name, err := findProfile(store, typed)
	if err != nil {
		return err
	}
	if current, err := store.Current(); err != nil || current != name {
		if err := store.Select(ctx, name); err != nil {
			return err
		}
	}
	e := a.profileEntry(store, name)
	e.Current = true
	if pinned := os.Getenv("TELEPORT_PROXY"); pinned != "" && store.Resolve(pinned) != name {
		e.Current = false
		a.ui.warn("TELEPORT_PROXY=%s comes first in this terminal; unset it for %s", text.Line(pinned), name)
	}
	if a.globals.json {
		return writeJSON(a.out, e)
	}
	_, err = fmt.Fprintf(a.out, "Using %s: %s.\n", name, text.Line(e.describe(a.now())))
	return err
}

// findProfile returns the name of the profile that is meant: the very name, or the host
// of an address, as announced or as it was typed at a login, or the beginning of one name.
func findProfile(store *profile.Store, typed string) (string, error) {
	names, err := store.List()
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", profile.ErrNoCurrent
	}
	if slices.Contains(names, typed) {
		return typed, nil
	}
	if addr, err := proxy.ParseAddr(typed); err == nil {
		for _, host := range []string{store.Resolve(typed), store.Resolve(addr.Host)} {
			if slices.Contains(names, host) {
				return host, nil
			}
		}
	}
	var fit []string
	for _, name := range names {
		if len(name) >= len(typed) && typed != "" && strings.EqualFold(name[:len(typed)], typed) {
			fit = append(fit, name)
		}
	}
	if len(fit) == 1 {
		return fit[0], nil
	}
	if len(fit) == 0 {
		return "", withHint(fmt.Errorf("%w: %q", profile.ErrNotFound, typed), "there are: %s", someNames(names))
	}
	return "", withHint(fmt.Errorf("%w: %q is the beginning of several", profile.ErrNotFound, typed), "name one of: %s", someNames(fit))
}
