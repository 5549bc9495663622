package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/proxy"
)

// identity is what a login has brought.
type identity struct{ cfg *tls.Config }

func (id identity) TLSConfig() (*tls.Config, error)          { return id.cfg, nil }
func (identity) SSHClientConfig() (*ssh.ClientConfig, error) { return &ssh.ClientConfig{}, nil }
func (identity) Expiry() (time.Time, bool)                   { return time.Time{}, false }

// Ping and Nodes against a real server, with TLS routing and without, over one
// connection each.
func TestAgainstCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster, err := devcluster.Start(ctx, devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", Name: "dev.example", SecondFactor: "off", PasswordCost: 4, Nodes: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cluster.Close() }()
	id := logIn(t, ctx, cluster)
	for name, sshAddr := range map[string]string{"TLS routing": "", "separate ports": cluster.PublicAddr()} {
		var conns atomic.Int32
		client, err := api.Dial(ctx, api.Config{
			Addrs: []string{cluster.PublicAddr()}, Credentials: []credentials.Credentials{id}, SSHAddr: sshAddr,
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conns.Add(1)
				return new(net.Dialer).DialContext(ctx, network, addr)
			},
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if ping, err := client.Ping(ctx); err != nil || ping.ClusterName != "dev.example" {
			t.Errorf("%s: %+v, %v", name, ping, err)
		}
		for label, want := range map[string]int{"": 3, "dev": 2, "prod": 1, "other": 0} {
			req := api.NodesRequest{}
			if label != "" {
				req.Labels = map[string]string{"env": label}
			}
			got := 0
			for n, err := range client.Nodes(ctx, req) {
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if n.Kind != "node" || n.Spec.Hostname == "" || n.Metadata.Expires == nil {
					t.Errorf("%s: %+v", name, n)
				}
				got++
			}
			if got != want {
				t.Errorf("%s: %d nodes with env=%s, want %d", name, got, label, want)
			}
		}
		for _, err := range client.Nodes(ctx, api.NodesRequest{Predicate: "(("}) {
			if err == nil {
				t.Errorf("%s: a broken predicate was accepted", name)
			}
		}
		_ = client.Close()
		if n := conns.Load(); n != 1 {
			t.Errorf("%s: %d connections, want one", name, n)
		}
	}
}

func logIn(t *testing.T, ctx context.Context, cluster *devcluster.Cluster) identity {
	t.Helper()
	return logInWith(t, ctx, cluster, func(devcluster.Enrolment) string { return "" })
}

// logInWith adds alice and logs her in with the one-time code that code makes.
func logInWith(t *testing.T, ctx context.Context, cluster *devcluster.Cluster, code func(devcluster.Enrolment) string, roles ...string) identity {
	t.Helper()
	return logInAs(t, ctx, cluster, "alice", code, roles...)
}

// logInAs is logInWith for somebody else.
func logInAs(t testing.TB, ctx context.Context, cluster *devcluster.Cluster, name string, code func(devcluster.Enrolment) string, roles ...string) identity {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if roles == nil {
		roles = []string{"access"}
	}
	enrolment, err := cluster.AddUser(devcluster.UserSpec{Name: name, Password: name + "'s password", Roles: roles, Logins: []string{"root"}})
	check(err)
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(cluster.CAFile())
	check(err)
	pool.AppendCertsFromPEM(ca)
	public, _, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	sshKey, err := ssh.NewPublicKey(public)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	check(err)
	addr, err := proxy.ParseAddr(cluster.PublicAddr())
	check(err)
	client := proxy.NewClient(proxy.Options{Addr: addr, RootCAs: pool})
	defer client.Close()
	request := proxy.FinishRequest{User: name, Password: name + "'s password", TOTPCode: code(enrolment), TTL: 12 * time.Hour,
		SSHPubKey: ssh.MarshalAuthorizedKey(sshKey), TLSPubKey: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
	answer, err := client.LoginFinish(ctx, request)
	if err != nil { // 14.x has one key for both
		one, _ := ssh.NewPublicKey(key.Public())
		request.SSHPubKey, request.TLSPubKey, request.PubKey = nil, nil, ssh.MarshalAuthorizedKey(one)
		answer, err = client.LoginFinish(ctx, request)
	}
	check(err)
	block, _ := pem.Decode(answer.TLSCert)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(answer.HostSigners[0].TLSCerts[0])
	return identity{&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}}}
}
