package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// What a program asks first is answered alike by clusters of today and of 14.x.
func TestCallsOfBothVersions(t *testing.T) {
	for version, emulate := range map[string]int{"18.": 0, "14.": 14} {
		t.Run(version+"x", func(t *testing.T) {
			ctx, cluster := startFamily(t, func(c *devcluster.Config) { c.Emulate, c.Nodes = emulate, 3 })
			id := logIn(t, ctx, cluster)
			client := connectAs(t, ctx, cluster, id)
			if p, err := client.Ping(ctx); err != nil || p.ClusterName != "dev.example" || !strings.HasPrefix(p.ServerVersion, version) || p.ProxyPublicAddr != cluster.PublicAddr() {
				t.Errorf("%+v, %v", p, err)
			}
			clusters, err := client.Clusters(ctx)
			if err != nil || len(clusters) != 2 || clusters[0].Name != "dev.example" || clusters[1].Name != "leaf.example" || clusters[1].Status != "online" {
				t.Errorf("%+v, %v", clusters, err)
			}
			for _, tt := range []struct {
				req  api.NodesRequest
				want []string
			}{
				{api.NodesRequest{}, []string{"node-1", "node-2", "node-3"}},
				{api.NodesRequest{Labels: map[string]string{"env": "dev"}}, []string{"node-1", "node-3"}},
				{api.NodesRequest{Labels: map[string]string{"env": "dev", "tier": "db"}}, nil},
				{api.NodesRequest{Search: []string{"NODE", "prod"}}, []string{"node-2"}},
				{api.NodesRequest{Predicate: `labels["env"] == "prod" || name == "node-3"`}, []string{"node-2", "node-3"}},
				{api.NodesRequest{Labels: map[string]string{"env": "dev"}, Search: []string{"node"}, Predicate: `name != "node-1"`}, []string{"node-3"}},
			} {
				var got []string
				for _, n := range collect(t, client.Nodes(ctx, tt.req)) {
					got = append(got, n.Spec.Hostname)
				}
				if slices.Sort(got); !slices.Equal(got, tt.want) {
					t.Errorf("%+v: %q, want %q", tt.req, got, tt.want)
				}
			}
			leafOf(t, cluster, client, id)
		})
	}
}

// leafOf has certificates issued that lead to the leaf, and goes there with them.
func leafOf(t *testing.T, cluster *devcluster.Cluster, root *api.Client, id identity) {
	ctx := t.Context()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	request := api.CertsRequest{
		User: "alice", Expires: time.Now().Add(10 * time.Minute), Cluster: "leaf.example",
		SSHKey: ssh.MarshalAuthorizedKey(public), TLSKey: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	}
	overSSH, cert, err := root.GenerateCertificates(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(cert.NotAfter); overSSH.KeyId != "alice" || left > 10*time.Minute || left < 8*time.Minute {
		t.Errorf("a certificate of %s for %v", overSSH.KeyId, left)
	}
	authorities, err := root.HostAuthorities(ctx)
	if err != nil {
		t.Fatal(err)
	}
	roots := id.cfg.RootCAs.Clone()
	for _, a := range authorities {
		roots.AddCert(a.TLSCerts[0])
	}
	leaf, err := api.Connect(ctx, api.Config{
		Addrs: []string{cluster.PublicAddr()}, Cluster: "leaf.example",
		Credentials: []credentials.Credentials{identity{&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer leaf.Close()
	if p, err := leaf.Ping(ctx); err != nil || p.ClusterName != "leaf.example" {
		t.Errorf("%+v, %v", p, err)
	}
	if nodes := collect(t, leaf.Nodes(ctx, api.NodesRequest{})); len(nodes) != 1 || nodes[0].Spec.Hostname != "leaf-node-1" {
		t.Errorf("nodes of the leaf: %v", nodes)
	}
	request.Cluster = "nowhere.example"
	if _, _, err := root.GenerateCertificates(ctx, request); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("a cluster that is not there: %v", err)
	}
}
