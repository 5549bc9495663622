package keystore

import (
	"bytes"
	//lint:ignore SA1019 to see it refused
	"crypto/dsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

// case S02, case S03, case S04: only a valid host certificate of a known authority that
// names the host is accepted, and nobody is asked.
func TestHostCertificates(t *testing.T) {
	c, stranger := newCluster(t, "harbor"), newCluster(t, "harbor")
	id := c.issue(t, "gate", "alice", SuiteBalanced)
	names := []string{"uuid-1", "node1", "node1.harbor", "localhost", "::1"}
	good := c.hostCert(t, nil, names...)
	at := func(from, to time.Duration) func(*ssh.Certificate) {
		return func(h *ssh.Certificate) {
			h.ValidAfter, h.ValidBefore = uint64(testenv.FixtureTime().Add(from).Unix()), uint64(testenv.FixtureTime().Add(to).Unix())
		}
	}
	plain, _ := keysFor(t, SuiteBalanced)
	badSignature := *good
	badSignature.ValidPrincipals = []string{"other"}
	for _, tc := range []struct {
		name, addr string
		key        ssh.PublicKey
		says       string // "" = accepted
	}{
		{"by name and port", "node1:3022", good, ""},
		{"by port 0", "uuid-1:0", good, ""},
		{"without port", "node1", good, ""},
		{"case of letters", "NODE1.Harbor:22", good, ""},
		{"trailing dot", "node1.harbor.:22", good, ""},
		{"IPv6", "[::1]:22", good, ""},
		{"another name", "node2:22", good, `expected one for "node2"`},
		{"cluster suffix is no wildcard", "node2.harbor:22", good, `"node1.harbor"`},
		{"no name", ":22", good, "expected one for"},
		{"changed after signing", "other:22", &badSignature, "signature does not verify"},
		{"plain key", "node1:22", testenv.SSHSigner(t, plain).PublicKey(), "presented a plain ssh-ed25519 key"},
		{"unknown authority", "node1:22", stranger.hostCert(t, nil, names...), ssh.FingerprintSHA256(c.hostSSH.PublicKey()) + " (harbor)"},
		{"user certificate", "node1:22", c.hostCert(t, func(h *ssh.Certificate) { h.CertType = ssh.UserCert }, names...), "type 1"},
		{"no principals", "node1:22", c.hostCert(t, nil), "no principal"},
		{"expired", "node1:22", c.hostCert(t, at(-2*time.Hour, -time.Hour), names...), "expired"},
		{"not yet valid", "node1:22", c.hostCert(t, at(time.Hour, 2*time.Hour), names...), "not yet valid"},
		{"valid for a while", "node1:22", c.hostCert(t, at(-time.Hour, time.Hour), names...), ""},
		{"critical option", "node1:22", c.hostCert(t, func(h *ssh.Certificate) { h.CriticalOptions = map[string]string{"force-command": "x"} }, names...), "force-command"},
		{"small RSA key", "node1:22", c.hostCert(t, func(h *ssh.Certificate) { h.Key = rsaKey(t, 1024) }, names...), "RSA key of 1024 bits"},
		{"huge RSA key", "node1:22", c.hostCert(t, func(h *ssh.Certificate) { h.Key = rsaKey(t, 8193) }, names...), "RSA key of 8193 bits"},
		{"DSA key", "node1:22", c.hostCert(t, func(h *ssh.Certificate) { h.Key = dsaKey(t) }, names...), "key of type"},
	} {
		err := id.checkHostKey(tc.addr, nil, tc.key)
		if tc.says == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		var refused *HostKeyError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
		}
	}
}

// rsaKey is a public key of a size; nobody has the private one.
func rsaKey(t testing.TB, bits uint) ssh.PublicKey {
	t.Helper()
	n := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits-1), big.NewInt(1))
	key, err := ssh.NewPublicKey(&rsa.PublicKey{N: n, E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func dsaKey(t testing.TB) ssh.PublicKey {
	t.Helper()
	one := big.NewInt(1)
	key, err := ssh.NewPublicKey(&dsa.PublicKey{Parameters: dsa.Parameters{P: new(big.Int).Lsh(one, 1023), Q: new(big.Int).Lsh(one, 159), G: big.NewInt(2)}, Y: one})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// case S02: an authority that is itself certified.
func TestNestedAuthorityIsRefused(t *testing.T) {
	c := newCluster(t, "harbor")
	id := c.issue(t, "gate", "alice", SuiteBalanced)
	cert := c.hostCert(t, nil, "node1")
	cert.SignatureKey = c.hostCert(t, nil, "node1")
	if err := id.checkHostKey("node1:22", nil, cert); err == nil {
		t.Error("it was accepted")
	}
}

// case S04, case S25: signatures with SHA-1.
func TestSHA1SignatureIsRefused(t *testing.T) {
	c := newCluster(t, "harbor")
	key, _ := keysFor(t, SuiteLegacy)
	authority := testenv.SSHSigner(t, key)
	sha1, err := ssh.NewSignerWithAlgorithms(authority.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	id := c.issue(t, "gate", "alice", SuiteBalanced)
	id.Authorities[0].SSHKeys = []ssh.PublicKey{authority.PublicKey()}
	c.hostSSH = sha1
	if err := id.checkHostKey("node1:22", nil, c.hostCert(t, nil, "node1")); err == nil || !strings.Contains(err.Error(), "SHA-1") {
		t.Errorf("err = %v", err)
	}
	c.hostSSH = authority // SHA-2 by default
	c.hostSSH, _ = ssh.NewSignerWithAlgorithms(authority.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSASHA256})
	if err := id.checkHostKey("node1:22", nil, c.hostCert(t, nil, "node1")); err != nil {
		t.Errorf("SHA-256: %v", err)
	}
}

// case S03: a key that known_hosts revokes, of the authority or of the host.
func TestRevokedKeysAreRefused(t *testing.T) {
	home, c, _ := stored(t, SuiteBalanced)
	cert := c.hostCert(t, nil, "node1")
	known := testenv.Read(t, home+"/known_hosts")
	for name, key := range map[string]ssh.PublicKey{"authority": c.hostSSH.PublicKey(), "host": cert.Key} {
		testenv.Write(t, home+"/known_hosts", known+"@revoked * "+string(ssh.MarshalAuthorizedKey(key)))
		id, err := Dir{Home: home}.Load("gate", "alice", "harbor")
		if err != nil {
			t.Fatal(err)
		}
		id.Now = func() time.Time { return testenv.FixtureTime() }
		if err := id.checkHostKey("node1:22", nil, cert); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A whole handshake, with every kind of user key, against the library's server.
func TestSSHHandshake(t *testing.T) {
	for _, suite := range []Suite{SuiteLegacy, SuiteBalanced, SuiteFIPS} {
		c := newCluster(t, "harbor")
		id := c.issue(t, "gate", "alice", suite)
		hostKey, _ := keysFor(t, SuiteBalanced)
		signer := testenv.SSHSigner(t, hostKey)
		host := c.hostCert(t, func(h *ssh.Certificate) { h.Key = signer.PublicKey() }, "node1")
		hostSigner, err := ssh.NewCertSigner(host, signer)
		if err != nil {
			t.Fatal(err)
		}
		var user, algorithm string
		checker := &ssh.CertChecker{
			Clock:           func() time.Time { return testenv.FixtureTime() },
			IsUserAuthority: func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), c.userSSH.PublicKey().Marshal()) },
		}
		server := &ssh.ServerConfig{PublicKeyCallback: func(m ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			user, algorithm = m.User(), k.Type()
			return checker.Authenticate(m, k)
		}}
		server.AddHostKey(hostSigner)
		if err := shake(t, id, server, "node1:3022"); err != nil {
			t.Errorf("%s: %v", suite, err)
		}
		if user != "root" || !strings.Contains(algorithm, "-cert-v01@openssh.com") {
			t.Errorf("%s: user %q with %s", suite, user, algorithm)
		}
		var refused *HostKeyError
		if err := shake(t, id, server, "node2:3022"); !errors.As(err, &refused) {
			t.Errorf("%s: another host: %v", suite, err)
		}
		only := &ssh.ServerConfig{NoClientAuth: true}
		only.AddHostKey(signer)
		if err := shake(t, id, only, "node1:3022"); err == nil {
			t.Errorf("%s: a plain host key was accepted", suite)
		}
	}
}

func shake(t *testing.T, id *Identity, server *ssh.ServerConfig, addr string) error {
	t.Helper()
	cfg, err := id.SSHClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Timeout != 30*time.Second || cfg.HostKeyCallback == nil {
		t.Errorf("config %v", cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if nc, err := l.Accept(); err == nil {
			if conn, _, _, err := ssh.NewServerConn(nc, server); err == nil {
				conn.Close()
			}
			nc.Close()
		}
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, _, _, err := ssh.NewClientConn(nc, addr, cfg)
	if err == nil {
		conn.Close()
	}
	nc.Close()
	<-done
	return err
}

func TestErrorsOfHostsAreBounded(t *testing.T) {
	c := newCluster(t, "harbor")
	id := c.issue(t, "gate", "alice", SuiteBalanced)
	many := make([]string, 2000)
	for i := range many {
		many[i] = "\x1b[2J" + strings.Repeat("n", 50) + rand.Text()
	}
	err := id.checkHostKey("node1:22", nil, c.hostCert(t, nil, many...))
	if err == nil || len(err.Error()) > 1024 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("err = %.2000v", err)
	}
}
