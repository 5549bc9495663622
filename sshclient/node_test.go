package sshclient_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/sshclient"
)

const host, login = "web-1", "alice"

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// certify makes a signer whose public key is a certificate of ca; change edits
// it before it is signed. The clock of a synctest bubble starts in the year
// 2000, so validity has no bounds.
func certify(t testing.TB, ca ssh.Signer, kind uint32, principals []string, change ...func(*ssh.Certificate)) ssh.Signer {
	t.Helper()
	signer := newSigner(t)
	cert := &ssh.Certificate{
		Key: signer.PublicKey(), CertType: kind, KeyId: "test", ValidPrincipals: principals, ValidBefore: ssh.CertTimeInfinity,
	}
	for _, f := range change {
		f(cert)
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	certSigner, err := ssh.NewCertSigner(cert, signer)
	if err != nil {
		t.Fatal(err)
	}
	return certSigner
}

// cluster is a host authority, a user authority and what they issued.
type cluster struct {
	hostCA, userCA ssh.Signer
	hostKey, user  ssh.Signer
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{hostCA: newSigner(t), userCA: newSigner(t)}
	c.hostKey = certify(t, c.hostCA, ssh.HostCert, []string{host})
	c.user = certify(t, c.userCA, ssh.UserCert, []string{login})
	return c
}

// client is the configuration an identity of the cluster would come with.
func (c *cluster) client() *ssh.ClientConfig {
	authority := func(ca ssh.Signer) func(ssh.PublicKey) bool {
		return func(key ssh.PublicKey) bool { return string(key.Marshal()) == string(ca.PublicKey().Marshal()) }
	}
	isHost := authority(c.hostCA)
	checker := &ssh.CertChecker{IsHostAuthority: func(key ssh.PublicKey, _ string) bool { return isHost(key) }}
	return &ssh.ClientConfig{
		User: "somebody", Auth: []ssh.AuthMethod{ssh.PublicKeys(c.user)}, HostKeyCallback: checker.CheckHostKey,
	}
}

// server is the configuration of a node of the cluster.
func (c *cluster) server() *ssh.ServerConfig {
	checker := &ssh.CertChecker{IsUserAuthority: func(key ssh.PublicKey) bool {
		return string(key.Marshal()) == string(c.userCA.PublicKey().Marshal())
	}}
	cfg := &ssh.ServerConfig{ServerVersion: "SSH-2.0-Teleport", PublicKeyCallback: checker.Authenticate}
	cfg.AddHostKey(c.hostKey)
	return cfg
}

// dialer connects to whatever serve does at the other end of a connection in memory.
type dialer struct {
	net   *netsim.Network
	serve func(net.Conn)
	wg    sync.WaitGroup
	asked []string // the hostport and cluster of each call
}

func newDialer(t testing.TB, serve func(net.Conn)) *dialer {
	d := &dialer{net: netsim.New(), serve: serve}
	t.Cleanup(d.close)
	return d
}

func (d *dialer) close() { d.net.Close(); d.wg.Wait() }

func (d *dialer) DialNode(_ context.Context, hostport, cluster string) (net.Conn, error) {
	d.asked = append(d.asked, hostport, cluster)
	client, server := d.net.Pipe()
	d.wg.Go(func() {
		defer server.Close()
		d.serve(server)
	})
	return client, nil
}

// node is an SSH server made of x/crypto/ssh that hands every session channel
// to session.
type node struct {
	config  *ssh.ServerConfig
	session func(ssh.Channel, <-chan *ssh.Request)
	conn    func(*ssh.ServerConn) // if set, called beside the sessions
}

func (n *node) serve(c net.Conn) {
	conn, chans, reqs, err := ssh.NewServerConn(c, n.config)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { ssh.DiscardRequests(reqs) })
	if n.conn != nil {
		wg.Go(func() { n.conn(conn) })
	}
	for ch := range chans {
		if ch.ChannelType() != "session" || n.session == nil {
			ch.Reject(ssh.Prohibited, "too many \x1b[31msessions")
			continue
		}
		if channel, reqs, err := ch.Accept(); err == nil {
			wg.Go(func() { n.session(channel, reqs) })
		}
	}
	wg.Wait()
}

// command returns a session that grants everything up to exec or shell and
// then calls run, whose result is the exit status.
func command(run func(ch ssh.Channel, args string) uint32) func(ssh.Channel, <-chan *ssh.Request) {
	return func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		for r := range reqs {
			r.Reply(true, nil)
			if r.Type == "exec" || r.Type == "shell" {
				go ssh.DiscardRequests(reqs)
				exit(ch, run(ch, execArgs(r.Payload)))
				return
			}
		}
	}
}

func execArgs(payload []byte) string {
	if len(payload) < 4 {
		return ""
	}
	return string(payload[4:])
}

func exit(ch ssh.Channel, status uint32) {
	ch.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, status))
	ch.Close()
}

// echo is the command cat.
func echo(ch ssh.Channel, _ string) uint32 {
	io.Copy(ch, ch)
	return 0
}

func target() sshclient.Target {
	return sshclient.Target{Login: login, Host: host, Cluster: "example.com"}
}

// connect logs in on n, which must work.
func connect(t testing.TB, c *cluster, n *node) *sshclient.Client {
	t.Helper()
	if n.config == nil {
		n.config = c.server()
	}
	return connectTo(t, newDialer(t, n.serve), c.client())
}

func connectTo(t testing.TB, d sshclient.Dialer, cfg *ssh.ClientConfig) *sshclient.Client {
	t.Helper()
	client, err := sshclient.Dial(t.Context(), d, target(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// as is errors.As for tests that expect the type.
func as[T error](t testing.TB, err error) T {
	t.Helper()
	var want T
	if !errors.As(err, &want) {
		t.Fatalf("error is %T (%v), want %T", err, err, want)
	}
	return want
}

// wantOp says where an *sshclient.Error must have happened.
func wantOp(t testing.TB, err error, op string) {
	t.Helper()
	if got := as[*sshclient.Error](t, err); got.Op != op {
		t.Errorf("failed at %q (%v), want %q", got.Op, err, op)
	}
}

// deadline makes a test that would hang fail with all goroutines in sight.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// run runs a command with its output in a string.
func run(t testing.TB, client *sshclient.Client, cmd sshclient.Command) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout = &out
	err = client.Run(deadline(t), cmd)
	return out.String(), err
}

// lists are the algorithms a node offers.
type lists struct {
	kex, hostKeys, ciphers, macs []string
	guess                        []byte // packets sent at once, for a key exchange guessed
}

func goodLists() lists {
	return lists{
		kex:      []string{"curve25519-sha256", "kex-strict-s-v00@openssh.com"},
		hostKeys: []string{ssh.CertAlgoED25519v01},
		ciphers:  []string{ssh.CipherAES128GCM},
		macs:     []string{ssh.HMACSHA256},
	}
}
