package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

func (a *app) profilesCommand() *cobra.Command {
	var format formatFlag
	cmd := &cobra.Command{
		Use:   "profiles [flags]",
		Short: "List the proxies you have logged in to",
		Long: "profiles lists what logins have left on this machine: proxy, user, cluster, and for how\n" +
			"long each is valid. The one that commands use here has a mark. Nobody is asked anything.",
		Example: "  tsh profiles\n  tsh profiles --format=json",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return a.runProfiles(format) },
	}
	format.addFlag(cmd.Flags(), formatText, formatJSON, formatYAML)
	addNegations(cmd.Flags())
	return cmd
}

// What has become of a login.
const (
	stateValid     = "valid"
	stateEarly     = "not_yet_valid"
	stateExpired   = "expired"
	stateLoggedOut = "logged_out"
	stateDamaged   = "damaged"
)

// profileEntry is one profile in the list.
type profileEntry struct {
	_          [0]func()  // never compared
	Name       string     `json:"name"`
	Current    bool       `json:"current"` // what commands use here
	Proxy      string     `json:"proxy,omitempty"`
	User       string     `json:"user,omitempty"`
	Cluster    string     `json:"cluster,omitempty"`
	State      string     `json:"state"`
	ValidUntil *time.Time `json:"valid_until,omitempty"`
	Error      string     `json:"error,omitempty"` // what is damaged
}

func (a *app) runProfiles(format formatFlag) error {
	how, err := format.pick(&a.globals)
	if err != nil {
		return err
	}
	if err := a.globals.refuseIdentity("profiles"); err != nil {
		return err
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	names, err := store.List()
	if err != nil {
		return err
	}
	selected, err := a.selectedProfile(store)
	if err != nil {
		return err
	}
	entries := make([]profileEntry, 0, len(names))
	for _, name := range names {
		e := a.profileEntry(store, name)
		e.Current = name == selected
		entries = append(entries, e)
	}
	if how != formatText {
		return writeData(a.out, how, entries)
	}
	if len(entries) == 0 {
		a.ui.say("There is no profile yet; a login makes one: tsh login --proxy=HOST")
		return nil
	}
	return a.printEntries(entries)
}

// selectedProfile is the name of the profile that commands use here, whether it can be
// read or not; empty if there is none.
func (a *app) selectedProfile(store *profile.Store) (string, error) {
	if _, name, err := a.namedProxy(store); name != "" || err != nil {
		return name, err
	}
	name, err := store.Current()
	if err != nil {
		return "", nil // none, or one that a login replaces
	}
	return name, nil
}

// profileEntry reads what there is to say of a profile.
func (a *app) profileEntry(store *profile.Store, name string) profileEntry {
	e := profileEntry{Name: name, State: stateDamaged}
	p, err := store.Load(name)
	if err != nil {
		e.Error = err.Error()
		return e
	}
	e.Proxy, e.User, e.Cluster = p.WebProxyAddr, p.User, p.Cluster
	id, err := store.IdentityPublic(p)
	switch {
	case errors.Is(err, keystore.ErrNotFound):
		e.State = stateLoggedOut
		return e
	case err != nil:
		e.Error = err.Error()
		return e
	}
	if until, ok := id.Expiry(); ok {
		e.ValidUntil = &until
	}
	err = id.CheckTime(a.now())
	switch {
	case err == nil:
		e.State = stateValid
	case isNotYetValid(err):
		e.State = stateEarly
	default:
		e.State = stateExpired
	}
	return e
}

func (a *app) printEntries(entries []profileEntry) error {
	t := table{titles: []string{"  Profile", "Proxy", "User", "Cluster", "Valid for"}}
	for i := range entries {
		e := &entries[i]
		mark := "  "
		if e.Current {
			mark = "> "
		}
		t.add(mark+e.Name, e.Proxy, e.User, e.Cluster, e.validity(a.now()))
	}
	return t.write(a.out)
}

// validity is for how long the login is valid, or why it is not.
func (e *profileEntry) validity(now time.Time) string {
	if e.State == stateValid && e.ValidUntil != nil {
		return remaining(e.ValidUntil.Sub(now))
	}
	return strings.ReplaceAll(e.State, "_", " ")
}

// describe is a profile in half a line, with what to do where it is of no use.
func (e *profileEntry) describe(now time.Time) string {
	switch e.State {
	case stateValid:
		return fmt.Sprintf("%s at cluster %s, valid for %s", e.User, e.Cluster, e.validity(now))
	case stateExpired:
		return fmt.Sprintf("%s at cluster %s; the login has expired: tsh login", e.User, e.Cluster)
	case stateLoggedOut:
		return "nobody is logged in there: tsh login"
	case stateEarly:
		return fmt.Sprintf("%s at cluster %s; the login is not valid yet: compare the clocks", e.User, e.Cluster)
	}
	return "the login is damaged: tsh login"
}

// completeProfiles offers the names of profiles, from the disk alone.
func completeProfiles(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var fit []string
	if home, err := profile.Home(); err == nil && len(args) == 0 {
		names, _ := profile.Open(home).List()
		for _, name := range names {
			if strings.HasPrefix(name, begun) && text.Line(name) == name {
				fit = append(fit, name)
			}
		}
	}
	return fit, cobra.ShellCompDirectiveNoFileComp
}

// completeProxy is completeProfiles for --proxy, whatever stands beside it.
func completeProxy(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return completeProfiles(cmd, nil, begun)
}
