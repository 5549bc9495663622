package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
)

// clustersOptions are the flags of clusters.
type clustersOptions struct {
	quiet   bool
	verbose bool
	format  formatFlag
}

func (a *app) clustersCommand() *cobra.Command {
	var o clustersOptions
	cmd := &cobra.Command{
		Use:   "clusters [flags]",
		Short: "List the cluster you are logged in to, and its leaf clusters",
		Long: "clusters lists the cluster that was logged in to (root), and those that trust it (leaf). The\n" +
			"one that commands go to has a mark; --cluster goes to another one, tsh login LEAF selects it.",
		Example: "  tsh clusters\n  tsh clusters --format=json\n  tsh ls --cluster=leaf.example.com",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runClusters(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print no titles and no mark")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "show all labels, cut nothing")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

// clusterEntry is one cluster in the list.
type clusterEntry struct {
	Name     string            `json:"cluster_name"`
	Status   string            `json:"status"`
	Type     string            `json:"cluster_type"`
	Labels   map[string]string `json:"labels"`
	Selected bool              `json:"selected"`
}

func (a *app) runClusters(ctx context.Context, o clustersOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	var entries []*clusterEntry
	err = a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) error {
		clusters, err := client.Clusters(ctx)
		var names []string
		entries = nil
		for _, c := range clusters {
			e := &clusterEntry{c.Name, c.Status, "leaf", c.Labels, c.Name == s.cluster}
			if c.Root {
				e.Type = "root"
			}
			if e.Labels == nil {
				e.Labels = map[string]string{}
			}
			entries, names = append(entries, e), append(names, c.Name)
		}
		if err == nil {
			a.rememberClusters(s, names)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case format != formatText:
		return writeData(a.out, format, entries)
	}
	return a.printClusters(entries, o)
}

func (a *app) printClusters(entries []*clusterEntry, o clustersOptions) error {
	t := table{titles: []string{"Cluster Name", "Status", "Cluster Type", "Labels", "Selected"}, shrink: 3}
	if !o.verbose {
		t.width = stdoutWidth(a.io)
	}
	for _, e := range entries {
		labels := formatLabels(e.Labels, o.verbose)
		mark := ""
		if e.Selected {
			mark = "*"
		}
		t.add(e.Name, e.Status, e.Type, labels, mark)
	}
	if o.quiet {
		return t.writeBare(a.out)
	}
	return t.write(a.out)
}
