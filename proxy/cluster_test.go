package proxy_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/user"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/proxy"
)

// counter counts the connections that are made.
type counter struct{ n atomic.Int32 }

func (c *counter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.n.Add(1)
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// The whole way, against a real server: log in, reach a node, run a command.
func TestAgainstCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster := must[*devcluster.Cluster](t)(devcluster.Start(ctx, devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", Name: "dev.example", SecondFactor: "otp", MOTD: "hello", PasswordCost: 4,
	}))
	defer func() { _ = cluster.Close() }()
	me := must[*user.User](t)(user.Current())
	enrolled := must[devcluster.Enrolment](t)(cluster.AddUser(devcluster.UserSpec{
		Name: "alice", Password: "alice's password", Roles: []string{"access"}, Logins: []string{me.Username}}))
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(cluster.CAFile()))) {
		t.Fatal("no CA")
	}

	web := new(counter)
	addr := must[proxy.Addr](t)(proxy.ParseAddr(cluster.PublicAddr()))
	client := proxy.NewClient(proxy.Options{Addr: addr, RootCAs: pool, Dial: web.dial})
	defer client.Close()
	ping := must[*proxy.Ping](t)(client.Ping(ctx, ""))
	if ping.ClusterName != "dev.example" || ping.Auth.SecondFactor != "otp" || !ping.Auth.HasMOTD {
		t.Errorf("ping: %+v", ping)
	}
	if motd := must[string](t)(client.MOTD(ctx)); motd != "hello" {
		t.Errorf("message of the day %q", motd)
	}
	var refused *proxy.Error
	if _, err := client.LoginBegin(ctx, proxy.BeginRequest{User: "alice", Password: "wrong"}); !errors.As(err, &refused) || refused.Status != 403 {
		t.Errorf("wrong password: %v", err)
	}
	challenge := must[*proxy.Challenge](t)(client.LoginBegin(ctx, proxy.BeginRequest{User: "alice", Password: "alice's password"}))
	if !challenge.TOTP {
		t.Errorf("challenge: %+v", challenge)
	}
	keys := newKeys(t)
	answer := must[*proxy.LoginResponse](t)(client.LoginFinish(ctx, proxy.FinishRequest{
		User: "alice", Password: "alice's password", TOTPCode: must[string](t)(totp.GenerateCode(enrolled.TOTPSecret, time.Now())),
		SSHPubKey: keys.sshPublic, TLSPubKey: keys.tlsPublic, TTL: time.Hour,
	}))
	if n := web.n.Load(); n != 1 {
		t.Errorf("%d connections for the login, want one", n)
	}
	if client.UpgradeRequired(ctx) {
		t.Error("the cluster does TLS routing: no upgrade is required")
	}
	for _, separate := range []bool{false, true} {
		ssh := new(counter)
		settings := ping.Settings(client.WebAddr())
		cfg := proxy.Config{WebAddr: settings.WebAddr, SSHAddr: settings.WebAddr, TLSRouting: !separate,
			TLS: keys.tlsConfig(t, answer), Cluster: answer.HostSigners[0].DomainName, Dial: ssh.dial}
		if got := runOnNode(t, ctx, cfg, keys, answer, me.Username); got != "hi\n" {
			t.Errorf("the node said %q", got)
		}
		if n := ssh.n.Load(); n != 1 {
			t.Errorf("%d connections for a command on a node, want one", n)
		}
		conn := must[net.Conn](t)(proxy.DialAuth(ctx, cfg))
		_ = conn.Close()
		if n := ssh.n.Load(); n != 2 {
			t.Errorf("%d connections, want one more for the auth server", n)
		}
	}
}

// runOnNode says echo hi on the node, and looks for nodes that are not there.
func runOnNode(t *testing.T, ctx context.Context, cfg proxy.Config, keys *userKeys, answer *proxy.LoginResponse, login string) string {
	t.Helper()
	transport := must[*proxy.Transport](t)(proxy.Dial(ctx, cfg))
	defer func() { _ = transport.Close() }()
	missing := must[net.Conn](t)(transport.DialNode(ctx, "no-such-node:0", cfg.Cluster))
	var failed *proxy.NodeError
	if _, err := bufio.NewReader(missing).ReadString('\n'); !errors.As(err, &failed) || !failed.Missing() {
		t.Errorf("a node that is not there: %v", err)
	}
	_ = missing.Close()

	conn := must[net.Conn](t)(transport.DialNode(ctx, "node-1:0", cfg.Cluster))
	c, chans, reqs, err := ssh.NewClientConn(conn, "node-1:0", keys.sshConfig(t, answer, login))
	if err != nil {
		t.Fatal(err)
	}
	if version := string(c.ServerVersion()); !strings.HasPrefix(version, "SSH-2.0-Teleport") {
		t.Errorf("the node is %q", version)
	}
	client := ssh.NewClient(c, chans, reqs)
	defer func() { _ = client.Close() }()
	session := must[*ssh.Session](t)(client.NewSession())
	return string(must[[]byte](t)(session.Output("echo hi")))
}

// userKeys are a user's keys, their public forms on the wire.
type userKeys struct {
	ssh                  ssh.Signer
	tls                  *ecdsa.PrivateKey
	sshPublic, tlsPublic []byte
}

func newKeys(t *testing.T) *userKeys {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := &userKeys{ssh: must[ssh.Signer](t)(ssh.NewSignerFromKey(private))}
	k.sshPublic = ssh.MarshalAuthorizedKey(k.ssh.PublicKey())
	k.tls = must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must[[]byte](t)(x509.MarshalPKIXPublicKey(k.tls.Public()))
	k.tlsPublic = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return k
}

func (k *userKeys) tlsConfig(t *testing.T, answer *proxy.LoginResponse) *tls.Config {
	t.Helper()
	block, _ := pem.Decode(answer.TLSCert)
	roots := x509.NewCertPool()
	for _, ca := range answer.HostSigners[0].TLSCerts {
		roots.AppendCertsFromPEM(ca)
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: k.tls}}}
}

func (k *userKeys) sshConfig(t *testing.T, answer *proxy.LoginResponse, login string) *ssh.ClientConfig {
	t.Helper()
	public, _, _, _, err := ssh.ParseAuthorizedKey(answer.Cert)
	if err != nil {
		t.Fatal(err)
	}
	signer := must[ssh.Signer](t)(ssh.NewCertSigner(public.(*ssh.Certificate), k.ssh))
	authority, _, _, _, err := ssh.ParseAuthorizedKey(answer.HostSigners[0].CheckingKeys[0])
	if err != nil {
		t.Fatal(err)
	}
	checker := &ssh.CertChecker{IsHostAuthority: func(key ssh.PublicKey, _ string) bool {
		return string(key.Marshal()) == string(authority.Marshal())
	}}
	return &ssh.ClientConfig{User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: checker.CheckHostKey}
}
