package main

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
)

// nodeQuery says which nodes are wanted: all that is set must hold.
type nodeQuery struct {
	host   string // host name, address or ID as the proxy matches them
	port   int    // of host; 0 is any
	labels map[string]string
	search []string // words
	query  string   // an expression in the cluster's language
	quiet  bool     // several that match are not listed
}

func (q nodeQuery) request() api.NodesRequest {
	return api.NodesRequest{Labels: q.labels, Search: q.search, Predicate: q.query}
}

// resolveNode asks the session's cluster for the one node that want describes. The error
// matches api.ErrNotFound where there is none, and api.ErrAmbiguous where there are
// several, which are listed on stderr.
func (a *app) resolveNode(ctx context.Context, s *session, want nodeQuery) (*api.Node, error) {
	defer a.ui.waiting("cluster " + text.Line(s.cluster))()
	client, err := a.connectCluster(ctx, s, s.cluster)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	node, err := client.ResolveNode(ctx, want.host, want.port, want.request())
	switch {
	case errors.Is(err, api.ErrAmbiguous):
		err = api.ErrAmbiguous // the cluster's words are a code on a second line
		if !want.quiet {
			a.showMatches(ctx, s, want)
		}
	case errors.Is(err, api.ErrNotFound):
		err = withHint(err, hintMissing)
	}
	return node, err
}

// showMatches lists on stderr the servers that want describes. That they cannot be
// listed is no further error: there is one to report already.
func (a *app) showMatches(ctx context.Context, s *session, want nodeQuery) {
	query := want.query
	if want.host != "" {
		query = "name == " + strconv.Quote(want.host)
		if want.query != "" {
			query = "(" + want.query + ") && " + query
		}
	}
	nodes, err := a.listNodes(ctx, s, lsOptions{labels: want.labels, query: query, search: strings.Join(want.search, ",")})
	if err == nil && len(nodes) > 0 {
		_ = a.writeNodes(a.io.err, nodes, true)
	}
}
