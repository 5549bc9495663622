package api

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
)

// Limits of a list.
const (
	pageSize    = 1000
	maxPages    = 5000
	maxNodes    = 200000
	maxBytes    = 64 << 20        // of messages
	maxMemory   = 256 << 20       // of messages unpacked
	listTimeout = 5 * time.Minute // if the context has no deadline
)

// NodesRequest selects nodes: all conditions must hold.
type NodesRequest struct {
	// Labels are pairs that a node must have, as static or command labels.
	Labels map[string]string
	// Search has words each of which must occur, in any case, in a label, the
	// name, the host name or an address.
	Search []string
	// Predicate is an expression in the cluster's language, for instance
	// labels["env"] == "prod" && hasPrefix(name, "web").
	Predicate string
	// Sort is "name" for the order of host names, whatever their case, then IDs, and
	// "-name" for the reverse; "" leaves the order to the cluster.
	Sort string
}

// Nodes lists the nodes that the user may see, in the order of req.Sort. A page is
// fetched while the caller is busy with the one before; the first error ends the list. It
// may take 5 minutes if ctx has no deadline, and have 200,000 nodes and 64 MiB; two
// pages of it are in memory at once.
//
// Errors: *Error; one in the predicate is the server's.
func (c *Client) Nodes(ctx context.Context, req NodesRequest) iter.Seq2[*Node, error] {
	return c.list(ctx, req, pageSize)
}

// list is Nodes with this many to a page.
func (c *Client) list(ctx context.Context, req NodesRequest, limit int32) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		l := nodeList{client: c, request: req, limit: limit, memory: maxMemory}
		if _, limited := ctx.Deadline(); !limited {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, listTimeout)
			defer cancel()
			l.patience = callTimeout
		}
		ctx, cancel := context.WithCancel(ctx)
		pages := make(chan fetchedPage)
		go l.fetchAll(ctx, pages)
		defer func() { // whoever fetches is gone afterwards
			cancel()
			for range pages {
			}
		}()
		seen := 0
		for page := range pages {
			if page.err != nil {
				yield(nil, page.err)
				return
			}
			for i := range page.nodes {
				server := page.nodes[i].Node
				if server == nil {
					continue
				}
				if seen++; seen > maxNodes {
					yield(nil, fmt.Errorf("%s lists more than %d nodes", c.addr, maxNodes))
					return
				}
				if !yield(newNode(server), nil) {
					return
				}
			}
		}
	}
}

// fetchedPage is a page, or why there is none.
type fetchedPage struct {
	nodes []wire.PaginatedResource
	err   error
}

// fetchAll fetches page after page, one ahead of the caller, who takes all that come,
// and closes pages.
func (l *nodeList) fetchAll(ctx context.Context, pages chan<- fetchedPage) {
	defer close(pages)
	for n := 0; ; n++ {
		var page fetchedPage
		if n == maxPages {
			page.err = fmt.Errorf("%s has not come to the end of its nodes after %d pages", l.client.addr, maxPages)
		} else {
			page.nodes, page.err = l.next(ctx)
		}
		if l.patience > 0 && ctx.Err() == context.DeadlineExceeded {
			page.err = fmt.Errorf("%s has not come to the end of its nodes after %v: %w", l.client.addr, listTimeout, ctx.Err())
		}
		pages <- page
		if page.err != nil || l.key == "" {
			return
		}
	}
}

// nodeList is a list under way.
type nodeList struct {
	client  *Client
	request NodesRequest
	limit   int32  // nodes to a page
	key     string // where the next page starts
	old     bool   // the cluster has only the older call

	patience time.Duration // with each page; 0 leaves it to the caller's deadline
	bytes    int           // of all pages
	memory   int           // what is left for them unpacked
}

// next fetches a page. Pages that would be too large are asked for again, half
// as long.
func (l *nodeList) next(ctx context.Context) ([]wire.PaginatedResource, error) {
	for {
		page, key, err := l.fetch(ctx)
		switch code := codeOf(err); {
		case code == rpc.Unimplemented && !l.old:
			l.old = true
			continue
		case code == rpc.ResourceExhausted && l.limit > 1:
			l.limit /= 2
			continue
		}
		if err == nil && key != "" && key == l.key {
			err = fmt.Errorf("%s repeats a page of its nodes", l.client.addr)
		}
		l.key = key
		return page, err
	}
}

// fetch makes the call for a page.
func (l *nodeList) fetch(ctx context.Context) ([]wire.PaginatedResource, string, error) {
	if l.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.patience)
		defer cancel()
	}
	method, request := l.call()
	data, err := l.client.exchange(ctx, method, request)
	if err != nil {
		return nil, "", err
	}
	if l.bytes += len(data); l.bytes > maxBytes {
		return nil, "", fmt.Errorf("%s lists nodes in more than %d MiB; ask for fewer with labels or a search", l.client.addr, maxBytes>>20)
	}
	var page wire.ListUnifiedResourcesResponse
	if l.old {
		var old wire.ListResourcesResponse
		err = wire.UnmarshalWithin(data, &old, &l.memory)
		page.Resources, page.NextKey = old.Resources, old.NextKey
	} else {
		err = wire.UnmarshalWithin(data, &page, &l.memory)
	}
	if err != nil {
		return nil, "", &Error{Method: method, Addr: l.client.addr, err: err}
	}
	return page.Resources, page.NextKey, nil
}

// call is the call for the next page.
func (l *nodeList) call() (method string, request any) {
	sort := wire.SortBy{Field: "kind"} // as other clients ask
	if l.request.Sort != "" {
		sort = wire.SortBy{Field: "name", Descending: l.request.Sort == "-name"}
	}
	if l.old {
		if sort.Field = ""; l.request.Sort != "" {
			sort.Field = "hostname"
		}
		return methodListResources, &wire.ListResourcesRequest{
			ResourceType:   "node",
			Namespace:      "default",
			Limit:          l.limit,
			StartKey:       l.key,
			Labels:         l.request.Labels,
			Predicate:      l.request.Predicate,
			SearchKeywords: l.request.Search,
			SortBy:         sort,
		}
	}
	return methodListUnified, &wire.ListUnifiedResourcesRequest{
		Kinds:          []string{"node"},
		Limit:          l.limit,
		StartKey:       l.key,
		Labels:         l.request.Labels,
		Predicate:      l.request.Predicate,
		SearchKeywords: l.request.Search,
		SortBy:         sort,
	}
}
