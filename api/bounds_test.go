package api

import (
	"context"
	"encoding/json"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
)

// case N08: a list that never ends is not kept in memory without end.
func TestNodesBudget(t *testing.T) {
	big := wire.ListUnifiedResourcesResponse{NextKey: "x"}
	big.Resources = append(big.Resources, wire.PaginatedResource{Node: &wire.Server{Version: strings.Repeat("v", 3<<20)}})
	many := wire.ListUnifiedResourcesResponse{}
	for range 40000 {
		many.Resources = append(many.Resources, wire.PaginatedResource{Node: &wire.Server{}})
	}
	dense := wire.ListUnifiedResourcesResponse{}
	for range 1000 {
		dense.Resources = append(dense.Resources, wire.PaginatedResource{Node: &wire.Server{Spec: wire.ServerSpec{ProxyIDs: make([]string, 1000)}}})
	}
	for want, page := range map[string]*wire.ListUnifiedResourcesResponse{
		"more than 64 MiB;": &big, "more than 200000 nodes": &many, "than is left for it": &dense,
	} {
		key, whole := 0, wire.Marshal(page)
		server := startAuth(t, func(string, []byte) ([]byte, error) {
			key++
			// Two messages one after the other are one: the last key counts.
			next := wire.ListUnifiedResourcesResponse{NextKey: strings.Repeat("k", key)}
			return append(slices.Clone(whole), wire.Marshal(&next)...), nil
		})
		seen := 0
		var err error
		for _, err = range server.connect(t).Nodes(testContext(t), NodesRequest{}) {
			seen++
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), server.addr) || seen > maxNodes+1 {
			t.Errorf("%d nodes, %v", seen, err)
		}
	}
}

// silent is a connection that never comes about.
func silent(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// case N08: a cluster that answers each page just in time.
func TestNodesDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{conn: rpc.NewConn(silent), addr: "h:1"}
		start := time.Now()
		for _, err := range c.Nodes(context.Background(), NodesRequest{}) {
			if err == nil || time.Since(start) != callTimeout {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
		// A deadline of the caller is the only one then.
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		start = time.Now()
		for _, err := range c.Nodes(ctx, NodesRequest{}) {
			if err == nil || time.Since(start) != time.Hour {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
	})
}

// case T02: times that are none do not break the JSON form.
func TestNodeTimesOutOfRange(t *testing.T) {
	const last = 253402300799 // 9999-12-31T23:59:59Z
	for _, at := range []wire.Timestamp{
		{Seconds: last, Nanos: math.MaxInt32}, {Seconds: last + 1}, {Seconds: last, Nanos: 1e9}, {Seconds: 1, Nanos: -1},
		{Seconds: math.MinInt64}, {Seconds: math.MaxInt64}, {Seconds: -62135596801},
	} {
		n := newNode(&wire.Server{Metadata: wire.Metadata{Expires: &at}, Spec: wire.ServerSpec{Rotation: wire.Rotation{Started: &at}}})
		if _, err := json.Marshal(n); err != nil || n.Metadata.Expires != nil || !n.Spec.Rotation.Started.IsZero() {
			t.Errorf("%+v: %v, %v", at, n.Metadata.Expires, err)
		}
	}
	at := wire.Timestamp{Seconds: last, Nanos: 999999999}
	n := newNode(&wire.Server{Metadata: wire.Metadata{Expires: &at}})
	if data, err := json.Marshal(n); err != nil || !strings.Contains(string(data), "9999-12-31T23:59:59.999999999Z") {
		t.Errorf("%s, %v", data, err)
	}
}
