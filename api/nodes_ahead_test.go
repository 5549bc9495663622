package api

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/internal/wire"
)

// The next page is asked for while the caller is busy with the one before.
func TestNodesAreFetchedAhead(t *testing.T) {
	ctx := testContext(t)
	asked := make(chan string, 3)
	server := startAuth(t, func(_ string, request []byte) ([]byte, error) {
		var req wire.ListUnifiedResourcesRequest
		_ = wire.Unmarshal(request, &req)
		asked <- req.StartKey
		return nodePage(0, 1, map[string]string{"": "k1"}[req.StartKey]), nil
	})
	var keys []string
	for _, err := range server.connect(t).Nodes(ctx, NodesRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		for len(keys) < 2 {
			select {
			case key := <-asked:
				keys = append(keys, key)
			case <-ctx.Done():
				t.Fatalf("only %q was asked for while a node is in hand", keys)
			}
		}
	}
	if !slices.Equal(keys, []string{"", "k1"}) {
		t.Errorf("asked for %q", keys)
	}
}

// What is asked for in an order is asked for in the words of each call.
func TestNodesInOrder(t *testing.T) {
	for sort, want := range map[string]wire.SortBy{"": {}, "name": {Field: "name"}, "-name": {Field: "name", Descending: true}} {
		server := startAuth(t, func(method string, request []byte) ([]byte, error) {
			if strings.HasSuffix(method, "/ListResources") {
				var req wire.ListResourcesRequest
				if want.Field == "name" {
					want.Field = "hostname"
				}
				if err := wire.Unmarshal(request, &req); err != nil || req.SortBy != want {
					t.Errorf("%q on old servers: %+v, %v", sort, req.SortBy, err)
				}
				return wire.Marshal(&wire.ListResourcesResponse{}), nil
			}
			var req wire.ListUnifiedResourcesRequest
			if err := wire.Unmarshal(request, &req); err != nil || sort != "" && req.SortBy != want || sort == "" && req.SortBy.Field != "kind" {
				t.Errorf("%q: %+v, %v", sort, req.SortBy, err)
			}
			return nil, status.Error(codes.Unimplemented, "unknown method")
		})
		if _, err := collect(t, server.connect(t), NodesRequest{Sort: sort}); err != nil {
			t.Error(err)
		}
	}
}
