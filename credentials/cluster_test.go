package credentials

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// testCluster issues identities in generations, each with numbers of its own in the
// certificates and, under the same authority key, a certificate of its own for the authority.
type testCluster struct {
	key      *ecdsa.PrivateKey
	ca       *x509.Certificate
	server   tls.Certificate // of a server that accepts its users
	hostCert ssh.Signer
	lives    time.Duration // of identities
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newTestCluster(t testing.TB) *testCluster {
	t.Helper()
	c := &testCluster{key: newKey(t), lives: time.Hour}
	c.ca = c.authority(t, 1)
	key := newKey(t)
	cert := c.issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "auth"}, DNSNames: []string{"teleport.cluster.local", "*.teleport.cluster.local"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key)
	c.server = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	host := &ssh.Certificate{CertType: ssh.HostCert, KeyId: "node", ValidPrincipals: []string{"node"}, ValidBefore: ssh.CertTimeInfinity}
	hostKey := testenv.SSHSigner(t, newKey(t))
	host.Key = hostKey.PublicKey()
	c.signSSH(t, host)
	var err error
	if c.hostCert, err = ssh.NewCertSigner(host, hostKey); err != nil {
		t.Fatal(err)
	}
	return c
}

// authority is the n-th certificate of the cluster's authority.
func (c *testCluster) authority(t testing.TB, n int64) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: "harbor"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return testenv.Issuer{Cert: tmpl, Key: c.key}.Sign(t, tmpl, c.key.Public())
}

func (c *testCluster) issue(t testing.TB, tmpl *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(c.lives)
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	return testenv.Issuer{Cert: c.ca, Key: c.key}.Sign(t, tmpl, key.Public())
}

func (c *testCluster) signSSH(t testing.TB, cert *ssh.Certificate) {
	t.Helper()
	if err := cert.SignCert(rand.Reader, testenv.SSHSigner(t, c.key)); err != nil {
		t.Fatal(err)
	}
}

// identity is the n-th generation.
func (c *testCluster) identity(t testing.TB, n int64) *keystore.Identity {
	t.Helper()
	key := newKey(t)
	cert := &ssh.Certificate{
		Key: testenv.SSHSigner(t, key).PublicKey(), CertType: ssh.UserCert, KeyId: "robot", Serial: uint64(n),
		ValidPrincipals: []string{"deploy", joinPrincipal}, ValidBefore: uint64(time.Now().Add(c.lives).Unix()),
	}
	c.signSSH(t, cert)
	return &keystore.Identity{
		User: "robot", Cluster: "harbor", SSHKey: key, TLSKey: key, SSHCert: cert,
		TLSCert: c.issue(t, &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: "robot"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, key),
		Authorities: []keystore.Authority{{
			Cluster: "harbor", SSHKeys: []ssh.PublicKey{testenv.SSHSigner(t, c.key).PublicKey()}, TLSCerts: []*x509.Certificate{c.authority(t, n)},
		}},
	}
}

// file is the n-th generation as a file has it.
func (c *testCluster) file(t testing.TB, n int64) string {
	t.Helper()
	data, err := c.identity(t, n).IdentityFile()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// connect makes a connection of this process with itself. It costs no port, of which
// thousands of connections would need as many.
func connect() (ours, theirs net.Conn, err error) {
	dir, err := os.MkdirTemp("", "tsh")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if ours, err = net.Dial("unix", l.Addr().String()); err != nil { // the listener's queue takes it
		return nil, nil, err
	}
	theirs, err = l.Accept()
	return ours, theirs, err
}

// dialTLS has a server of the cluster accept one connection with config, and returns the
// number of the certificate that it was shown.
func (c *testCluster) dialTLS(config *tls.Config) (int64, error) {
	pool := x509.NewCertPool()
	pool.AddCert(c.ca)
	return dialTLS(config, &tls.Config{Certificates: []tls.Certificate{c.server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
}

func dialTLS(config, server *tls.Config) (int64, error) {
	ours, theirs, err := connect()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	shown := make(chan int64, 1)
	failed := make(chan error, 1)
	go func() {
		defer theirs.Close()
		_ = theirs.SetDeadline(time.Now().Add(20 * time.Second))
		conn := tls.Server(theirs, server)
		if err := conn.Handshake(); err != nil {
			failed <- err
			return
		}
		shown <- conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
		_, _ = conn.Write([]byte("x"))
	}()
	_ = ours.SetDeadline(time.Now().Add(20 * time.Second))
	conn := tls.Client(ours, config)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return 0, err
	}
	select {
	case n := <-shown:
		return n, nil
	case err := <-failed:
		return 0, err
	}
}

// dialSSH does the same with SSH, as a node.
func (c *testCluster) dialSSH(config *ssh.ClientConfig) (int64, error) {
	ours, theirs, err := connect()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	shown := make(chan uint64, 1)
	server := &ssh.ServerConfig{PublicKeyCallback: func(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		cert, ok := key.(*ssh.Certificate)
		if !ok {
			return nil, errors.New("no certificate")
		}
		checker := &ssh.CertChecker{IsUserAuthority: func(auth ssh.PublicKey) bool {
			return string(auth.Marshal()) == string(c.hostCert.PublicKey().(*ssh.Certificate).SignatureKey.Marshal())
		}}
		if _, err := checker.Authenticate(conn, key); err != nil {
			return nil, err
		}
		select {
		case shown <- cert.Serial:
		default:
		}
		return nil, nil
	}}
	server.AddHostKey(c.hostCert)
	go func() {
		_ = theirs.SetDeadline(time.Now().Add(20 * time.Second))
		if conn, _, _, err := ssh.NewServerConn(theirs, server); err == nil {
			_ = conn.Wait()
		}
		_ = theirs.Close()
	}()
	_ = ours.SetDeadline(time.Now().Add(20 * time.Second))
	conn, channels, requests, err := ssh.NewClientConn(ours, "node:22", config)
	if err != nil {
		return 0, err
	}
	_ = ssh.NewClient(conn, channels, requests).Close()
	return int64(<-shown), nil
}

// until waits for something to become true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("does not happen: " + what)
		}
	}
}

// serial is the number of the generation that credentials have now, once its parts have
// been compared.
func serial(c Credentials) (int64, error) {
	config, err := c.TLSConfig()
	if err != nil {
		return 0, err
	}
	cert, err := config.GetClientCertificate(new(tls.CertificateRequestInfo))
	if err != nil {
		return 0, err
	}
	key, ok := cert.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.Leaf.PublicKey) {
		return 0, fmt.Errorf("the key is not that of certificate %d", cert.Leaf.SerialNumber)
	}
	return cert.Leaf.SerialNumber.Int64(), nil
}
