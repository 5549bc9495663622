package keystore

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

// cluster issues what a real one would, for tests that need their own.
type cluster struct {
	name             string
	hostSSH, userSSH ssh.Signer
	hostTLS, userTLS *x509.Certificate
	hostKey, userKey crypto.Signer
}

func newCluster(t testing.TB, name string) *cluster {
	t.Helper()
	c := &cluster{name: name}
	var sshKeys [2]crypto.Signer
	sshKeys[0], c.hostKey = keysFor(t, SuiteBalanced)
	sshKeys[1], c.userKey = keysFor(t, SuiteBalanced)
	c.hostSSH, c.userSSH = testenv.SSHSigner(t, sshKeys[0]), testenv.SSHSigner(t, sshKeys[1])
	c.hostTLS, c.userTLS = selfSigned(t, caTemplate(name), c.hostKey), selfSigned(t, caTemplate(name), c.userKey)
	return c
}

func keysFor(t testing.TB, s Suite) (crypto.Signer, crypto.Signer) {
	t.Helper()
	a, b, err := GenerateKeys(s)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name, Organization: []string{name}},
		NotBefore:             testenv.FixtureTime().Add(-time.Hour),
		NotAfter:              testenv.FixtureTime().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
}

func selfSigned(t testing.TB, tmpl *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	return testenv.Issuer{Cert: tmpl, Key: key}.Sign(t, tmpl, key.Public())
}

func signSSH(t testing.TB, cert *ssh.Certificate, signer ssh.Signer) *ssh.Certificate {
	t.Helper()
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return cert
}

func (c *cluster) authority() Authority {
	return Authority{Cluster: c.name, SSHKeys: []ssh.PublicKey{c.hostSSH.PublicKey()}, TLSCerts: []*x509.Certificate{c.hostTLS}}
}

func (c *cluster) userTemplate(user string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject: pkix.Name{CommonName: user, Organization: []string{"access"},
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 3, 9999, 1, 7}, Value: c.name}}},
		NotBefore:   testenv.FixtureTime().Add(-time.Minute),
		NotAfter:    testenv.FixtureTime().Add(12 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func userCert(user string, key ssh.PublicKey) *ssh.Certificate {
	return &ssh.Certificate{
		Key: key, CertType: ssh.UserCert, KeyId: user,
		ValidPrincipals: []string{"root", "-teleport-internal-join"},
		ValidAfter:      uint64(testenv.FixtureTime().Add(-time.Minute).Unix()),
		ValidBefore:     uint64(testenv.FixtureTime().Add(12 * time.Hour).Unix()),
	}
}

// issue is a login: new keys by the suite, certificates for user.
func (c *cluster) issue(t testing.TB, proxy, user string, suite Suite) *Identity {
	t.Helper()
	sshKey, tlsKey := keysFor(t, suite)
	return c.certify(t, proxy, user, sshKey, tlsKey)
}

func (c *cluster) certify(t testing.TB, proxy, user string, sshKey, tlsKey crypto.Signer) *Identity {
	t.Helper()
	return &Identity{
		Proxy: proxy, User: user, Cluster: c.name, SSHKey: sshKey, TLSKey: tlsKey,
		SSHCert:     signSSH(t, userCert(user, testenv.SSHSigner(t, sshKey).PublicKey()), c.userSSH),
		TLSCert:     testenv.Issuer{Cert: c.userTLS, Key: c.userKey}.Sign(t, c.userTemplate(user), tlsKey.Public()),
		Authorities: []Authority{c.authority()},
		Now:         func() time.Time { return testenv.FixtureTime() },
	}
}

// hostCert is what a node of the cluster presents.
func (c *cluster) hostCert(t testing.TB, change func(*ssh.Certificate), principals ...string) *ssh.Certificate {
	t.Helper()
	key, _ := keysFor(t, SuiteBalanced)
	cert := &ssh.Certificate{
		Key: testenv.SSHSigner(t, key).PublicKey(), CertType: ssh.HostCert, KeyId: "node",
		ValidPrincipals: principals, ValidBefore: ssh.CertTimeInfinity,
	}
	if change != nil {
		change(cert)
	}
	return signSSH(t, cert, c.hostSSH)
}

// corruptSeed changes the private half in the OpenSSH form of an Ed25519 key.
func corruptSeed(t testing.TB, data []byte) []byte {
	t.Helper()
	key, err := decodeKey(data)
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(key.(ed25519.PrivateKey))
	bad[0] ^= 1
	out, err := encodeSSHKey(bad)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// store is what a profile does with an identity.
func store(d Dir, id *Identity) error {
	tx, err := durable.Begin(context.Background(), d.Home)
	if err != nil {
		return err
	}
	defer tx.Close()
	if err := d.Stage(tx, id); err != nil {
		return err
	}
	return tx.Commit()
}

// logOut removes what a user has at a proxy.
func logOut(t testing.TB, home, proxy, user string) {
	t.Helper()
	files, err := (Dir{Home: home}).UserFiles(proxy, user)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	tx, err := durable.Begin(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	for _, f := range files {
		tx.Remove(f)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
