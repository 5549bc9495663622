package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// farProgram is a program on the far side of a network, and a directory with its files.
type farProgram struct {
	*farCluster
	dir string
}

func startFarProgram(t *testing.T) *farProgram {
	t.Helper()
	return &farProgram{startFar(t, devcluster.Config{Leaf: "leaf.example", SecondFactor: "off", Suite: "balanced-v1"}), t.TempDir()}
}

// tsh runs the program as another one would: without a terminal and a home.
func (p *farProgram) tsh(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tsh", append(args, "--proxy="+p.PublicAddr())...)
	cmd.Dir, cmd.Stdin = p.dir, strings.NewReader(farPassword+"\n")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TELEPORT_HOME=" + filepath.Join(p.dir, "home"), "SSL_CERT_FILE=" + p.CAFile()}
	out, err := cmd.CombinedOutput()
	noSecretIn(t, string(out))
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (p *farProgram) login(t *testing.T, args ...string) {
	t.Helper()
	p.tsh(t, append([]string{"login", "--user=alice", "--password-stdin"}, args...)...)
}

// Programs get into the cluster with what login --out writes, whatever they read it
// with; and with the leaf's authority, into the leaf.
func TestProgramsUseIdentityFiles(t *testing.T) {
	p := startFarProgram(t)
	p.login(t, "--out=id")
	p.login(t, "--out=pair", "--format=tls")
	pair, err := tls.LoadX509KeyPair(filepath.Join(p.dir, "pair.crt"), filepath.Join(p.dir, "pair.key"))
	if err != nil {
		t.Fatal(err)
	}
	file := credentials.LoadIdentityFile(filepath.Join(p.dir, "id"))
	for name, creds := range map[string]credentials.Credentials{"file": file, "tls": pairCredentials{file, pair}} {
		for cluster, want := range map[string]string{"": "node-1", "leaf.example": "leaf-node-1"} {
			client, err := api.Connect(t.Context(), api.Config{Addrs: []string{p.PublicAddr()}, Credentials: []credentials.Credentials{creds}, Cluster: cluster})
			if err != nil {
				t.Fatalf("%s, %q: %v", name, cluster, err)
			}
			defer client.Close()
			for node, err := range client.Nodes(t.Context(), api.NodesRequest{}) {
				if err != nil || node.Spec.Hostname != want {
					t.Errorf("%s, %q: %v, %v", name, cluster, node, err)
				}
			}
		}
	}
}

// pairCredentials have the key and the certificate of TLS files.
type pairCredentials struct {
	*credentials.IdentityFile
	pair tls.Certificate
}

func (c pairCredentials) TLSConfig() (*tls.Config, error) {
	cfg, err := c.IdentityFile.TLSConfig()
	if err == nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.pair, nil }
	}
	return cfg, err
}

// OpenSSH itself signs with what --format=openssh writes: an sshd that trusts the user
// authority lets it in.
func TestOpenSSHUsesIdentityFiles(t *testing.T) {
	sshProgram := testenv.Program(t, "ssh")
	p := startFarProgram(t)
	p.login(t, "--out=id", "--format=openssh")
	host, err := ssh.ParsePrivateKey([]byte(testenv.Read(t, filepath.Join(p.dir, "id")))) // any key will do
	if err != nil {
		t.Fatal(err)
	}
	saw := make(chan string, 1)
	checker := ssh.CertChecker{IsUserAuthority: func(ssh.PublicKey) bool { return true }}
	config := &ssh.ServerConfig{PublicKeyCallback: func(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		return checker.Authenticate(conn, key)
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			saw <- err.Error()
			return
		}
		defer conn.Close()
		server, _, _, err := ssh.NewServerConn(conn, config)
		if err != nil {
			saw <- err.Error()
			return
		}
		saw <- "let in as " + server.User()
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, sshProgram, "-F", "none", "-i", filepath.Join(p.dir, "id"), "-p", port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityAgent=none", "root@127.0.0.1", "true")
	out, _ := cmd.CombinedOutput() // the server hangs up then
	select {
	case got := <-saw:
		if got != "let in as root" {
			t.Errorf("%s\n%s", got, out)
		}
	case <-ctx.Done():
		t.Fatalf("ssh did not come\n%s", out)
	}
}

// A command with an identity file asks the proxy once what it is.
func TestIdentityFileAsksOnce(t *testing.T) {
	p := startFarProgram(t)
	p.login(t, "--out=id")
	before := len(p.net.Conns())
	if out := p.tsh(t, "ls", "--identity=id", "--format=names"); out != "node-1\n" {
		t.Fatal(out)
	}
	var kinds []string
	for _, conn := range p.net.Conns()[before:] {
		kinds = append(kinds, strings.Join(conn.Protocols, ","))
	}
	t.Logf("%q", kinds)
	web := slices.DeleteFunc(slices.Clone(kinds), func(k string) bool { return k != "" })
	if len(web) != 1 || len(kinds) != 3 {
		t.Errorf("connections %q; one for the ping, one for the probe, one for the cluster are wanted", kinds)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "home")); err == nil {
		t.Error("there is a profile directory")
	}
}

// A cluster that does not name its leaves leaves a file that is good for the root, and
// the person is told.
func TestIdentityFileWithoutLeaves(t *testing.T) {
	id, err := keystore.ReadIdentityFile("../../testdata/fixtures/18.3/identity/file")
	if err != nil {
		t.Fatal(err)
	}
	id.Proxy = "localhost"
	p := &profile.Profile{Name: "localhost", WebProxyAddr: "localhost:1", Cluster: id.Cluster, TLSRouting: true}
	var said strings.Builder
	a := &app{ui: &tui{err: &said}, now: testenv.FixtureTime}
	s := &session{p, id, id.Cluster}
	if err := a.addAuthorities(t.Context(), s); err != nil || len(s.id.Authorities) != 1 {
		t.Error(err, len(s.id.Authorities))
	}
	if !strings.Contains(said.String(), "WARNING: only the authority of cluster real.example.test is written") {
		t.Error(said.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.addAuthorities(ctx, s); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
