package profile

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// login is what a cluster of this name would issue to user through proxy: new
// keys, new authorities.
func login(t testing.TB, proxy, user, cluster string) (*Profile, *keystore.Identity) {
	t.Helper()
	hostSSH, hostTLS := keys(t)
	userSSH, userTLS := keys(t)
	sshKey, tlsKey := keys(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cluster},
		NotBefore: testenv.FixtureTime(), NotAfter: testenv.FixtureTime().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: user},
		NotBefore: testenv.FixtureTime(), NotAfter: testenv.FixtureTime().Add(12 * time.Hour),
	}
	cert := &ssh.Certificate{
		Key: testenv.SSHSigner(t, sshKey).PublicKey(), CertType: ssh.UserCert, KeyId: user, ValidPrincipals: []string{"root"},
		ValidAfter: uint64(testenv.FixtureTime().Unix()), ValidBefore: uint64(testenv.FixtureTime().Add(12 * time.Hour).Unix()),
	}
	if err := cert.SignCert(rand.Reader, testenv.SSHSigner(t, userSSH)); err != nil {
		t.Fatal(err)
	}
	id := &keystore.Identity{
		Proxy: proxy, User: user, Cluster: cluster, SSHKey: sshKey, TLSKey: tlsKey, SSHCert: cert,
		TLSCert: testenv.Issuer{Cert: ca, Key: userTLS}.Sign(t, leaf, tlsKey.Public()),
		Authorities: []keystore.Authority{{
			Cluster: cluster, SSHKeys: []ssh.PublicKey{testenv.SSHSigner(t, hostSSH).PublicKey()},
			TLSCerts: []*x509.Certificate{testenv.Issuer{Cert: ca, Key: hostTLS}.Sign(t, ca, hostTLS.Public())},
		}},
	}
	return &Profile{WebProxyAddr: proxy + ":443", User: user, Cluster: cluster, TLSRouting: true, MFAMode: "auto"}, id
}

func keys(t testing.TB) (crypto.Signer, crypto.Signer) {
	t.Helper()
	a, b, err := keystore.GenerateKeys(keystore.SuiteBalanced)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// loggedIn commits such a login.
func loggedIn(t testing.TB, s *Store, proxy, user, cluster string) {
	t.Helper()
	p, id := login(t, proxy, user, cluster)
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
}

// snapshot is testenv.Snapshot without the file in which we say who has the lock.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := testenv.Snapshot(t, dir)
	for file := range all {
		if strings.HasSuffix(filepath.ToSlash(file), "config/tsh/lock") {
			delete(all, file)
		}
	}
	return all
}
