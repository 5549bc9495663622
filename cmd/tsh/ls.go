package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/text"
)

// lsOptions are the flags of ls.
type lsOptions struct {
	verbose bool
	search  string
	query   string
	sort    string
	all     bool
	labels  map[string]string
	format  formatFlag
}

func (a *app) lsCommand() *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{takesHeadless: ""},
		Use:         "ls [flags] [KEY=VALUE[,KEY=VALUE…]] [WORD…]",
		Aliases:     []string{"list"},
		Short:       "List the servers you may connect to",
		Long: "ls lists the cluster's servers that your roles let you see: all of them, or those with the\n" +
			"labels given, or those in which every word occurs (as with --search). The list is printed\n" +
			"as it comes; with --all it is that of every cluster of every login here that is valid.",
		Example: "  tsh ls\n  tsh ls env=prod,role=web\n  tsh ls --search=db,eu\n  tsh ls --all --sort=label:env\n" +
			"  tsh ls --query='labels[\"env\"] == \"prod\"' --format=names",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parseArgs(args); err != nil {
				return err
			}
			return a.runLs(cmd.Context(), o)
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` to ask [TELEPORT_CLUSTER]")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "show node IDs and all labels, cut nothing")
	fs.StringVar(&o.search, "search", "", "show servers that match all of these comma-separated `WORDS`")
	fs.StringVar(&o.query, "query", "", "show servers that match a predicate `EXPRESSION`")
	fs.StringVar(&o.sort, "sort", "name", "sort `BY` name, address, id or label:KEY; -BY for the other way round")
	fs.BoolVarP(&o.all, "all", "R", false, "ask all clusters of all logins that are valid")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML, formatNames)
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

// parseArgs reads the labels; a word without "=" is a search.
func (o *lsOptions) parseArgs(args []string) error {
	var words []string
	for _, arg := range args {
		if !strings.Contains(arg, "=") {
			words = append(words, arg)
			continue
		}
		labels, err := parseLabels(arg)
		if err != nil {
			return err
		}
		if o.labels == nil {
			o.labels = make(map[string]string)
		}
		for key, value := range labels {
			if before, twice := o.labels[key]; twice && before != value {
				return usagef("label %s: a server has one value, not both %q and %q", key, before, value)
			}
			o.labels[key] = value
		}
	}
	if len(words) > 0 {
		o.search = strings.Trim(o.search+","+strings.Join(words, ","), ",")
	}
	return nil
}

// parseLabels reads "key=value,key2='a, b'"; separators are commas and
// semicolons outside quotes.
func parseLabels(s string) (map[string]string, error) {
	labels := make(map[string]string)
	for _, pair := range splitQuoted(s) {
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, usagef("label %q: KEY=VALUE is needed", pair)
		}
		labels[key] = strings.TrimSpace(value)
	}
	return labels, nil
}

// splitQuoted splits at commas and semicolons that are not in quotes, and
// drops the quotes.
func splitQuoted(s string) []string {
	var parts []string
	var part strings.Builder
	var quote rune
	flush := func() {
		if part.Len() > 0 {
			parts = append(parts, part.String())
		}
		part.Reset()
	}
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case quote == 0 && (r == ',' || r == ';'):
			flush()
		default:
			part.WriteRune(r)
		}
	}
	flush()
	return parts
}

func (a *app) runLs(ctx context.Context, o lsOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	order, err := parseOrder(o.sort)
	if err != nil {
		return err
	}
	if o.all {
		return a.runLsAll(ctx, &allList{opts: o, order: order, format: format})
	}
	return a.withSession(ctx, func(ctx context.Context, s *session) error {
		return a.streamNodes(ctx, s, o, order, &nodePrinter{app: a, format: format, verbose: o.verbose})
	})
}

// listNodes is the whole list, in order.
func (a *app) listNodes(ctx context.Context, s *session, o lsOptions) ([]*api.Node, error) {
	defer a.ui.waiting("cluster " + text.Line(s.cluster))()
	client, err := a.connectCluster(ctx, s, s.cluster)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	order, err := parseOrder(o.sort)
	if err != nil {
		return nil, err
	}
	return collectNodes(client.Nodes(ctx, o.request()), order)
}

// selectsAll reports whether no server is left out.
func (o *lsOptions) selectsAll() bool { return len(o.labels) == 0 && o.search == "" && o.query == "" }

func (o *lsOptions) request() api.NodesRequest {
	return api.NodesRequest{Labels: o.labels, Search: splitQuoted(o.search), Predicate: o.query}
}

// connectAPI connects to the auth server of the cluster that was logged in to, the
// root: whatever concerns the person is there.
func (a *app) connectAPI(ctx context.Context, s *session) (*api.Client, error) {
	return a.connectCluster(ctx, s, s.id.RootCluster())
}

// connectCluster connects to the auth server of the root cluster or of a leaf.
func (a *app) connectCluster(ctx context.Context, s *session, cluster string) (*api.Client, error) {
	authorities, err := a.globals.trust.authorities()
	if err != nil {
		return nil, err
	}
	config := api.Config{
		Addrs:       []string{s.profile.WebProxyAddr},
		Credentials: []credentials.Credentials{s.id},
		Cluster:     cluster,
		ConnUpgrade: s.profile.ConnUpgrade,
		Insecure:    a.globals.insecure,
		RootCAs:     authorities,
		Headers:     a.settings.Headers,
	}
	if !s.profile.TLSRouting {
		config.SSHAddr = s.profile.SSHProxyAddr
	}
	return api.Dial(ctx, config)
}

func nodeAddress(n *api.Node) string {
	switch {
	case n.Spec.UseTunnel && len(n.Spec.RelayIDs) > 0:
		return "⟵ Tunnel (relay)"
	case n.Spec.UseTunnel:
		return "⟵ Tunnel"
	}
	return n.Spec.Addr
}

// formatLabels prints labels as "k=v,k2=v2": plain keys first, then those with
// a slash; the cluster's internal ones only if all are wanted.
func formatLabels(labels map[string]string, all bool) string {
	internal := []string{"teleport.dev/", "teleport.hidden/", "teleport.internal/"}
	var plain, slashed []string
	for key, value := range labels {
		hidden := slices.ContainsFunc(internal, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
		switch {
		case hidden && !all:
		case strings.Contains(key, "/"):
			slashed = append(slashed, key+"="+value)
		default:
			plain = append(plain, key+"="+value)
		}
	}
	slices.Sort(plain)
	slices.Sort(slashed)
	return strings.Join(append(plain, slashed...), ",")
}

// stdoutWidth is the number of columns of the terminal on stdout, 0 for none:
// what goes into a pipe is not cut.
func stdoutWidth(s streams) int {
	columns, _, err := term.GetSize(int(s.out.Fd()))
	if err != nil {
		return 0
	}
	return columns
}
