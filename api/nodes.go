package api

import (
	"context"
	"errors"
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
}

// Nodes lists the nodes that the user may see, in no particular order. Pages
// are fetched while the caller goes on; the first error ends the list. It may
// take 5 minutes if ctx has no deadline, and have 200,000 nodes and 64 MiB.
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
		seen := 0
		for range maxPages {
			page, err := l.next(ctx)
			if l.patience > 0 && ctx.Err() == context.DeadlineExceeded {
				err = fmt.Errorf("%s has not come to the end of its nodes after %v: %w", c.addr, listTimeout, ctx.Err())
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, resource := range page {
				if resource.Node == nil {
					continue
				}
				if seen++; seen > maxNodes {
					yield(nil, fmt.Errorf("%s lists more than %d nodes", c.addr, maxNodes))
					return
				}
				if !yield(newNode(resource.Node), nil) {
					return
				}
			}
			if l.key == "" {
				return
			}
		}
		yield(nil, fmt.Errorf("%s has not come to the end of its nodes after %d pages", c.addr, maxPages))
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
		var status *rpc.Status
		if err != nil && errors.As(err, &status) {
			switch {
			case status.Code == rpc.Unimplemented && !l.old:
				l.old = true
				continue
			case status.Code == rpc.ResourceExhausted && l.limit > 1:
				l.limit /= 2
				continue
			}
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
	if l.old {
		return methodListResources, &wire.ListResourcesRequest{
			ResourceType:   "node",
			Namespace:      "default",
			Limit:          l.limit,
			StartKey:       l.key,
			Labels:         l.request.Labels,
			Predicate:      l.request.Predicate,
			SearchKeywords: l.request.Search,
		}
	}
	return methodListUnified, &wire.ListUnifiedResourcesRequest{
		Kinds:          []string{"node"},
		Limit:          l.limit,
		StartKey:       l.key,
		Labels:         l.request.Labels,
		Predicate:      l.request.Predicate,
		SearchKeywords: l.request.Search,
		SortBy:         wire.SortBy{Field: "kind"},
	}
}
