package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// statusOptions are the flags of status.
type statusOptions struct {
	verbose bool
	format  formatFlag
}

func (a *app) statusCommand() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status [flags]",
		Short: "Show who is logged in where, and until when",
		Long: "status shows the stored logins, the selected one first, without asking anybody.\n" +
			"It exits with 1 if the selected login is missing or has expired.",
		Example: "  tsh status\n  tsh status --format=json",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return a.runStatus(o) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "also list the variables that replace what is stored")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	addNegations(fs)
	return cmd
}

func (a *app) runStatus(o statusOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	if a.globals.hasIdentity() {
		return a.statusOfIdentity(statusView{verbose: o.verbose, format: format})
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	selected, err := a.selectProfile(store)
	if err != nil && !errors.Is(err, profile.ErrNoCurrent) && !errors.Is(err, profile.ErrNotFound) {
		return err
	}
	view := statusView{verbose: o.verbose, format: format}
	if selected != nil {
		view.active = selected.Name
	}
	return a.showStatus(store, view)
}

// statusView says what to show of the store, and how.
type statusView struct {
	active  string // name of the selected profile, "" for none
	verbose bool
	format  string
}

// status is what status prints as JSON.
type status struct {
	Active      *statusProfile    `json:"active,omitempty"`
	Profiles    []*statusProfile  `json:"profiles"`
	Environment map[string]string `json:"environment,omitempty"`
}

// statusProfile is one stored login.
type statusProfile struct {
	URL              string              `json:"profile_url"`
	RelayAddr        string              `json:"relay_addr,omitempty"`
	DefaultRelayAddr string              `json:"default_relay_addr,omitempty"`
	Username         string              `json:"username"`
	ActiveRequests   []string            `json:"active_requests,omitempty"`
	Cluster          string              `json:"cluster"`
	Roles            []string            `json:"roles,omitempty"`
	Traits           map[string][]string `json:"traits,omitempty"`
	Logins           []string            `json:"logins,omitempty"`
	KubeEnabled      bool                `json:"kubernetes_enabled"`
	KubeCluster      string              `json:"kubernetes_cluster,omitempty"`
	KubeUsers        []string            `json:"kubernetes_users,omitempty"`
	KubeGroups       []string            `json:"kubernetes_groups,omitempty"`
	Databases        []string            `json:"databases,omitempty"`
	ValidUntil       time.Time           `json:"valid_until"`
	Extensions       []string            `json:"extensions,omitempty"`
	CriticalOptions  map[string]string   `json:"critical_options,omitempty"`
	AllowedResources []access.ResourceID `json:"allowed_resources,omitempty"`
	GithubIdentity   *githubIdentity     `json:"github_identity,omitempty"`

	expired bool
}

// showStatus prints the stored logins. The error says that the selected one
// cannot be used.
func (a *app) showStatus(store *profile.Store, view statusView) error {
	st, problem, err := a.collectStatus(store, view)
	if err != nil {
		return err
	}
	return a.writeStatus(st, problem, view)
}

// writeStatus prints st; problem is what is wrong with the selected login.
func (a *app) writeStatus(st *status, problem error, view statusView) (err error) {
	if st.Active == nil {
		if view.format == formatText {
			a.printProfiles(st)
		}
		return problem
	}
	switch {
	case view.format != formatText && problem != nil && a.globals.json:
		return a.writeFailedStatus(st, problem)
	case view.format != formatText:
		err = writeData(a.out, view.format, st)
	default:
		a.printProfiles(st)
		if view.verbose {
			a.printEnvironment(st.Environment)
		}
	}
	if err != nil {
		return err
	}
	return problem
}

// writeFailedStatus prints one JSON document that holds both what is stored
// and why it cannot be used.
func (a *app) writeFailedStatus(st *status, problem error) error {
	document := struct {
		*status
		Error errorBody `json:"error"`
	}{st, describe(problem)}
	if err := writeJSON(a.out, document); err != nil {
		return err
	}
	return errSilent
}

// collectStatus reads the stored logins; problem is what is wrong with the
// selected one.
func (a *app) collectStatus(store *profile.Store, view statusView) (st *status, problem, err error) {
	st = &status{Profiles: []*statusProfile{}, Environment: statusEnvironment()}
	names, err := store.List()
	if err != nil {
		return nil, nil, err
	}
	problem = problemNotLoggedIn()
	for _, name := range names {
		p, err := store.Load(name)
		if err != nil {
			a.ui.warn("profile %s: %v", name, err)
			continue
		}
		if name == view.active {
			p = a.override(p)
			if c := a.cluster(p); c != p.Cluster {
				a.ui.warn("TELEPORT_CLUSTER: commands go to cluster %s, which is not the selected one", text.Line(c))
			}
		}
		id, err := store.IdentityPublic(p)
		switch {
		case errors.Is(err, keystore.ErrNotFound):
			continue
		case err != nil:
			if name == view.active {
				problem = err
			} else {
				a.ui.warn("profile %s: %v", name, err)
			}
			continue
		}
		entry := newStatusProfile(p, id, a.now())
		if name != view.active {
			st.Profiles = append(st.Profiles, entry)
			continue
		}
		st.Active, problem = entry, nil
		if entry.expired {
			problem = problemExpired(entry.ValidUntil)
		}
	}
	return st, problem, nil
}

// statusProblem is why status fails, in the words that scripts look for.
type statusProblem struct {
	words string
	is    error
}

func (e *statusProblem) Error() string { return e.words }
func (e *statusProblem) Unwrap() error { return e.is }

func problemNotLoggedIn() error {
	return &statusProblem{"Not logged in.", keystore.ErrNotFound}
}

func problemExpired(at time.Time) error {
	return &statusProblem{"Active profile expired.", &keystore.TimeError{At: at}}
}

// statusEnvironment are the variables that replace what is stored.
func statusEnvironment() map[string]string {
	set := make(map[string]string)
	for _, name := range []string{"TELEPORT_PROXY", "TELEPORT_CLUSTER", "TELEPORT_SITE", "TELEPORT_USER", "TELEPORT_HOME", "TELEPORT_LOGIN", "TELEPORT_AUTH", "TELEPORT_IDENTITY_FILE"} {
		if value := os.Getenv(name); value != "" {
			set[name] = value
		}
	}
	return set
}

func newStatusProfile(p *profile.Profile, id *keystore.Identity, now time.Time) *statusProfile {
	c := readClaims(id.SSHCert, id.TLSCert)
	until, _ := id.Expiry()
	return &statusProfile{
		URL:              "https://" + p.WebProxyAddr,
		RelayAddr:        p.RelayAddr,
		DefaultRelayAddr: p.DefaultRelayAddr,
		Username:         p.User,
		ActiveRequests:   c.activeRequests,
		Cluster:          p.Cluster,
		Roles:            c.roles,
		Traits:           c.traits,
		Logins:           c.logins,
		KubeEnabled:      p.KubeProxyAddr != "",
		KubeCluster:      c.kubeCluster,
		KubeUsers:        c.kubeUsers,
		KubeGroups:       c.kubeGroups,
		Databases:        c.databases,
		ValidUntil:       until,
		Extensions:       c.extensions,
		CriticalOptions:  c.criticalOptions,
		AllowedResources: c.allowedResources,
		GithubIdentity:   c.github,
		expired:          !until.After(now),
	}
}

// printProfiles prints one block per login: labels from column 3, values from
// column 23.
func (a *app) printProfiles(st *status) {
	if st.Active != nil {
		a.printProfile("> ", st.Active)
	}
	for _, p := range st.Profiles {
		a.printProfile("  ", p)
	}
}

func (a *app) printProfile(mark string, p *statusProfile) {
	var b strings.Builder
	line := func(label, value string) {
		fmt.Fprintf(&b, "%s%-20s%s\n", mark, label+":", text.Line(value))
		mark = "  "
	}
	optional := func(label string, values ...string) {
		if joined := strings.Join(values, ", "); joined != "" {
			line(label, joined)
		}
	}
	line("Profile URL", p.URL)
	optional("Relay address", p.RelayAddr)
	line("Logged in as", p.Username)
	optional("Active requests", p.ActiveRequests...)
	optional("Cluster", p.Cluster)
	line("Roles", strings.Join(p.Roles, ", "))
	if a.globals.debug {
		for _, name := range slices.Sorted(maps.Keys(p.Traits)) {
			if values := strings.Join(p.Traits[name], ", "); values != "" {
				line("Traits", name+": "+values)
			}
		}
	}
	optional("Logins", p.Logins...)
	line("Kubernetes", enabled(p.KubeEnabled))
	if p.KubeCluster != "" {
		line("Kubernetes cluster", strconv.Quote(p.KubeCluster))
	}
	optional("Kubernetes users", p.KubeUsers...)
	optional("Kubernetes groups", p.KubeGroups...)
	optional("Databases", p.Databases...)
	for _, r := range p.AllowedResources {
		line("Allowed Resources", r.String())
	}
	if p.GithubIdentity != nil {
		line("GitHub username", p.GithubIdentity.Username)
	}
	line("Valid until", p.ValidUntil.Local().String()+" "+validity(p, a.now()))
	line("Extensions", strings.Join(p.Extensions, ", "))
	if a.globals.debug {
		for _, name := range slices.Sorted(maps.Keys(p.CriticalOptions)) {
			line("Critical options", name+": "+p.CriticalOptions[name])
		}
	}
	fmt.Fprintln(a.out, b.String())
}

func enabled(on bool) string {
	if on {
		return "enabled"
	}
	return "disabled"
}

func validity(p *statusProfile, now time.Time) string {
	if p.expired {
		return "[EXPIRED]"
	}
	return "[valid for " + remaining(p.ValidUntil.Sub(now)) + "]"
}

func (a *app) printEnvironment(variables map[string]string) {
	if len(variables) == 0 {
		return
	}
	fmt.Fprintln(a.out, "Active Environment:")
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		fmt.Fprintf(a.out, "\t%s=%s\n", name, text.Line(variables[name]))
	}
}
