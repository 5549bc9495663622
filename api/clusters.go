package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/clusterwire"
)

const (
	methodRemoteClusters = "/teleport.presence.v1.PresenceService/ListRemoteClusters"
	pathRemoteClusters14 = "/v2/remoteclusters"
	clustersPage         = 200
)

// RemoteCluster is a leaf cluster as its root knows it. Its text comes from the
// server as it is.
type RemoteCluster struct {
	Name          string
	Status        string // "online", "offline"
	LastHeartbeat time.Time
	Labels        map[string]string
}

// RemoteClusters lists the leaf clusters that the user may see, sorted by name. The
// client has to be connected to the root. There may be 1024 of them.
//
// Errors: *Error; and one for a list that does not end.
func (c *Client) RemoteClusters(ctx context.Context) ([]*RemoteCluster, error) {
	all, err := c.remoteClusters(ctx)
	slices.SortFunc(all, func(x, y *RemoteCluster) int { return strings.Compare(x.Name, y.Name) })
	return all, err
}

func (c *Client) remoteClusters(ctx context.Context) ([]*RemoteCluster, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var all []*RemoteCluster
	request := clusterwire.RemoteClustersRequest{PageSize: clustersPage}
	for pages := 0; ; pages++ {
		data, err := c.exchange(ctx, methodRemoteClusters, &request)
		if isUnimplemented(err) {
			return c.remoteClusters14(ctx)
		}
		var page clusterwire.RemoteClustersResponse
		if err == nil {
			if err = wire.Unmarshal(data, &page); err != nil {
				err = &Error{Method: methodRemoteClusters, Addr: c.addr, err: err}
			}
		}
		if err != nil {
			return nil, err
		}
		for _, r := range page.Clusters {
			all = append(all, &RemoteCluster{r.Metadata.Name, r.Status.Connection, r.Status.LastHeartbeat.Time(), r.Metadata.Labels})
		}
		request.PageToken = page.NextPageToken
		if request.PageToken == "" && len(all) <= maxAuthorities {
			return all, nil
		}
		if len(all) > maxAuthorities || pages > maxAuthorities/2 {
			return nil, fmt.Errorf("%s lists leaf clusters without end", c.addr)
		}
	}
}

// remoteClusters14 is how servers of 14 list leaf clusters: by HTTP, on a connection
// of its own that does not negotiate HTTP/2.
func (c *Client) remoteClusters14(ctx context.Context) ([]*RemoteCluster, error) {
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
		return nil, failed(&rpc.Status{Code: rpc.Unimplemented, Message: "HTTP status " + response.Status})
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
	var all []*RemoteCluster
	for _, r := range list {
		all = append(all, &RemoteCluster{r.Metadata.Name, r.Status.Connection, r.Status.LastHeartbeat, r.Metadata.Labels})
	}
	return all, nil
}
