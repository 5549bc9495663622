package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/clusterwire"
)

// Of an answer that is not whole nothing is taken: it is an error.
func TestAnswersThatAreNotWhole(t *testing.T) {
	leaf := &clusterwire.RemoteCluster{Metadata: wire.Metadata{Name: "leaf"}}
	garbage := []byte{0xff}
	c := startAuth(t, func(method string, _ []byte) ([]byte, error) {
		switch lastOf(method) {
		case "ListAccessRequests":
			list := &accesswire.ListAccessRequestsResponse{AccessRequests: []*accesswire.AccessRequest{stored("id", access.Approved)}}
			return append(wire.Marshal(list), garbage...), nil
		case "ListRemoteClusters":
			return append(wire.Marshal(&clusterwire.RemoteClustersResponse{Clusters: []*clusterwire.RemoteCluster{leaf}}), garbage...), nil
		}
		return nil, status.Error(codes.Unimplemented, "unknown method")
	}).connect(t)
	ctx := testContext(t)
	if ids, err := listAll(c, access.Filter{}); len(ids) != 0 || err == nil {
		t.Errorf("requests %v, %v", ids, err)
	}
	if r, err := c.AccessRequest(ctx, "id", "alice"); r != nil || err == nil {
		t.Errorf("request %+v, %v", r, err)
	}
	if clusters, err := c.Clusters(ctx); len(clusters) != 1 || !clusters[0].Root || err == nil {
		t.Errorf("clusters %+v, %v", clusters, err)
	}
}

// What a cluster of 14 says by HTTP is told apart, too.
func TestLeavesOfOldClustersDenied(t *testing.T) {
	for code, want := range map[string]rpc.Code{"403 Forbidden": rpc.PermissionDenied, "404 Not Found": rpc.Unimplemented} {
		c := &Client{addr: "h:1", root: "example.com", dial: func(context.Context, bool) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				if request, err := http.ReadRequest(bufio.NewReader(far)); err == nil && request.URL.Path == pathRemoteClusters14 {
					_, _ = io.WriteString(far, "HTTP/1.1 "+code+"\r\nContent-Length: 0\r\n\r\n")
				}
			}()
			return near, nil
		}}
		_, err := c.remoteClusters14(testContext(t))
		var status *rpc.Status
		if !errors.As(err, &status) || status.Code != want || errors.Is(err, ErrAccessDenied) != (want == rpc.PermissionDenied) {
			t.Errorf("%s: %v", code, err)
		}
	}
}
