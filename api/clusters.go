package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire/clusterwire"
)

const (
	methodRemoteClusters = "/teleport.presence.v1.PresenceService/ListRemoteClusters"
	pathRemoteClusters14 = "/v2/remoteclusters"
)

// Cluster is a cluster that the user may see. Its text comes from the server as it is.
type Cluster struct {
	Name          string
	Root          bool              // the one that issued the credentials; others are its leaves
	Status        string            // "online", "offline"; the root is online
	LastHeartbeat time.Time         // of a leaf
	Labels        map[string]string // of a leaf
}

// Clusters lists the cluster that issued the credentials and, after it, its leaf clusters
// that the user may see, sorted by name. The client has to be connected to the root. There
// may be 1024 leaves. With an error comes the root alone.
//
// Errors: *Error; and one for a list that does not end.
func (c *Client) Clusters(ctx context.Context) ([]*Cluster, error) {
	all := []*Cluster{{Name: c.root, Root: true, Status: "online"}}
	leaves, err := c.remoteClusters(ctx)
	if err != nil {
		return all, err
	}
	slices.SortFunc(leaves, func(x, y *Cluster) int { return strings.Compare(x.Name, y.Name) })
	return append(all, leaves...), nil
}

func (c *Client) remoteClusters(ctx context.Context) ([]*Cluster, error) {
	var all []*Cluster
	p := pages{client: c, what: "leaf clusters", most: maxAuthorities}
	p.fetch = func(ctx context.Context, limit int32, key string) (int, string, error) {
		var reply clusterwire.RemoteClustersResponse
		err := p.page(ctx, methodRemoteClusters, &clusterwire.RemoteClustersRequest{PageSize: limit, PageToken: key}, &reply)
		for _, r := range reply.Clusters {
			all = append(all, &Cluster{r.Metadata.Name, false, r.Status.Connection, r.Status.LastHeartbeat.Time(), r.Metadata.Labels})
		}
		return len(reply.Clusters), reply.NextPageToken, err
	}
	err := p.each(ctx)
	if isUnimplemented(err) {
		return c.remoteClusters14(ctx)
	}
	return all, err
}

// remoteClusters14 is how servers of 14 list leaf clusters: by HTTP, on a connection
// of its own that does not negotiate HTTP/2.
func (c *Client) remoteClusters14(ctx context.Context) ([]*Cluster, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	failed := func(err error) error { return &Error{Method: pathRemoteClusters14, Addr: c.addr, err: err} }
	conn, err := c.dial(ctx, true)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://teleport.cluster.local"+pathRemoteClusters14, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	if err := request.Write(conn); err != nil {
		return nil, failed(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxBytes/16)), request)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, failed(err)
	}
	if response.StatusCode != http.StatusOK {
		code := rpc.Unimplemented
		if response.StatusCode == http.StatusForbidden {
			code = rpc.PermissionDenied
		}
		return nil, failed(&rpc.Status{Code: code, Message: "HTTP status " + response.Status})
	}
	var list []struct {
		Metadata struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Status struct {
			Connection    string    `json:"connection"`
			LastHeartbeat time.Time `json:"last_heartbeat"`
		} `json:"status"`
	}
	err = json.NewDecoder(response.Body).Decode(&list)
	if err == nil && len(list) > maxAuthorities {
		err = errors.New("it lists leaf clusters without end")
	}
	if err != nil {
		return nil, failed(err)
	}
	var all []*Cluster
	for _, r := range list {
		all = append(all, &Cluster{r.Metadata.Name, false, r.Status.Connection, r.Status.LastHeartbeat, r.Metadata.Labels})
	}
	return all, nil
}
