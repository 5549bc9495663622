package api_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// One node is found by whatever describes it, on clusters of today and on those that
// do not have the call.
func TestResolveNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name, emulate := range map[string]int{"18": 0, "14": 14} {
		t.Run(name, func(t *testing.T) {
			cluster, err := devcluster.Start(ctx, devcluster.Config{
				Dir: t.TempDir(), Addr: "127.0.0.1:0", Name: "dev.example", SecondFactor: "off", PasswordCost: 4,
				Hostnames: []string{"web", "web", "db", "cache"}, Emulate: emulate,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cluster.Close() }()
			client, err := api.Dial(ctx, api.Config{
				Addrs: []string{cluster.PublicAddr()}, Credentials: []credentials.Credentials{logIn(t, ctx, cluster)},
				SSHAddr: map[int]string{14: cluster.SSHAddr()}[emulate],
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			db, err := client.ResolveNode(ctx, "db", 0, api.NodesRequest{})
			if err != nil {
				t.Fatal(err)
			}
			prod := map[string]string{"env": "prod"} // every second one: a web and the cache
			for _, c := range []struct {
				host string
				port int
				req  api.NodesRequest
				want string // host name
				err  error
			}{
				{host: "db", want: "db"},
				{host: db.Metadata.Name, want: "db"},
				{host: "db", port: 3022, want: "db"},
				{host: "db", port: 1, err: api.ErrNotFound},
				{host: "web", err: api.ErrAmbiguous},
				{host: "web", req: api.NodesRequest{Labels: prod}, want: "web"},
				{host: "web", req: api.NodesRequest{Predicate: `labels["env"] == "prod" || name == "db"`}, want: "web"},
				{host: "nowhere", err: api.ErrNotFound},
				{req: api.NodesRequest{Search: []string{"ach"}}, want: "cache"}, // no part of an ID
				{req: api.NodesRequest{Labels: prod, Predicate: `hasPrefix(name, "c")`}, want: "cache"},
				{req: api.NodesRequest{Labels: prod}, err: api.ErrAmbiguous},
				{req: api.NodesRequest{Labels: map[string]string{"env": "none"}}, err: api.ErrNotFound},
			} {
				node, err := client.ResolveNode(ctx, c.host, c.port, c.req)
				if !errors.Is(err, c.err) || c.err == nil && (err != nil || node.Spec.Hostname != c.want) {
					t.Errorf("%+v: %+v, %v", c, node, err)
				}
				if c.err != nil && errors.Is(err, api.ErrNotFound) == errors.Is(err, api.ErrAmbiguous) {
					t.Errorf("%+v: %v is both or none", c, err)
				}
			}
		})
	}
}
