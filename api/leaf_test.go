package api_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// startFamily runs a root cluster with a leaf.
func startFamily(t *testing.T, change func(*devcluster.Config)) (context.Context, *devcluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	config := devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", Name: "dev.example", Leaf: "leaf.example", SecondFactor: "off", PasswordCost: 4,
	}
	if change != nil {
		change(&config)
	}
	cluster, err := devcluster.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	return ctx, cluster
}

// The root names the host authorities of both clusters. With them the leaf's auth
// server is reached and proves to be the leaf's, over TLS routing and without; an
// identity that trusts the root alone does not take it for the leaf.
func TestLeafCluster(t *testing.T) {
	ctx, cluster := startFamily(t, nil)
	id := logIn(t, ctx, cluster)
	for name, sshAddr := range map[string]string{"TLS routing": "", "separate ports": cluster.PublicAddr()} {
		config := api.Config{Addrs: []string{cluster.PublicAddr()}, Credentials: []credentials.Credentials{id}, SSHAddr: sshAddr}
		root, err := api.Connect(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		authorities, err := root.HostAuthorities(ctx)
		if err != nil {
			t.Fatal(err)
		}
		names := func(a api.Authority) string { return a.Cluster }
		if len(authorities) != 2 || names(authorities[0]) != "dev.example" || names(authorities[1]) != "leaf.example" {
			t.Fatalf("%s: authorities %v", name, authorities)
		}
		config.Cluster = "leaf.example"
		if _, err := api.Connect(ctx, config); err == nil {
			t.Errorf("%s: a server of an unknown cluster was trusted", name)
		}
		trusting := id
		trusting.cfg = id.cfg.Clone()
		trusting.cfg.RootCAs = id.cfg.RootCAs.Clone()
		trusting.cfg.RootCAs.AddCert(authorities[1].TLSCerts[0])
		config.Credentials = []credentials.Credentials{trusting}
		leaf, err := api.Connect(ctx, config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer leaf.Close()
		var nodes []string
		for node, err := range leaf.Nodes(ctx, api.NodesRequest{}) {
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, node.Spec.Hostname)
		}
		if !slices.Equal(nodes, []string{"leaf-node-1"}) {
			t.Errorf("%s: nodes %v", name, nodes)
		}
		config.Cluster = "other.example"
		if _, err := api.Connect(ctx, config); err == nil {
			t.Errorf("%s: a cluster that is not there answered", name)
		}
	}
}

// The root lists its leaf; a cluster without leaves lists none.
func TestRemoteClusters(t *testing.T) {
	ctx, cluster := startFamily(t, nil)
	config := api.Config{Addrs: []string{cluster.PublicAddr()}, Credentials: []credentials.Credentials{logIn(t, ctx, cluster)}}
	root, err := api.Connect(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	clusters, err := root.Clusters(ctx)
	leaves := clusters[1:]
	if err != nil || len(leaves) != 1 || leaves[0].Name != "leaf.example" || leaves[0].Status != "online" ||
		leaves[0].Labels["env"] != "dev" || time.Since(leaves[0].LastHeartbeat).Abs() > time.Minute {
		t.Errorf("%+v, %v", leaves, err)
	}
}
