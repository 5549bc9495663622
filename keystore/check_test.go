package keystore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

// refusal is a change to a good identity and what Check must say about it.
type refusal struct {
	name, says string
	change     func(t *testing.T, c *cluster, id *Identity)
}

func checkRefuses(t *testing.T, cases []refusal) {
	t.Helper()
	c := newCluster(t, "harbor")
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			id := c.issue(t, "gate", "alice", SuiteBalanced)
			tc.change(t, c, id)
			if err := id.Check(); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("err = %v, want %q", err, tc.says)
			}
		})
	}
}

// resign makes the cluster sign a changed SSH certificate.
func resign(change func(*ssh.Certificate)) func(*testing.T, *cluster, *Identity) {
	return func(t *testing.T, c *cluster, id *Identity) {
		change(id.SSHCert)
		signSSH(t, id.SSHCert, c.userSSH)
	}
}

// reissue makes the cluster sign a changed TLS certificate.
func reissue(change func(*x509.Certificate)) func(*testing.T, *cluster, *Identity) {
	return func(t *testing.T, c *cluster, id *Identity) {
		tmpl := c.userTemplate(id.User)
		change(tmpl)
		id.TLSCert = testenv.Issuer{Cert: c.userTLS, Key: c.userKey}.Sign(t, tmpl, id.TLSKey.Public())
	}
}

// addKey delivers one more SSH authority key.
func addKey(key func(t testing.TB) ssh.PublicKey) func(*testing.T, *cluster, *Identity) {
	return func(t *testing.T, _ *cluster, id *Identity) {
		id.Authorities[0].SSHKeys = append(id.Authorities[0].SSHKeys, key(t))
	}
}

// case L13, case L16, case L17, case L28: what a hostile proxy may deliver as SSH certificate.
func TestCheckRefusesSSHCertificates(t *testing.T) {
	checkRefuses(t, []refusal{
		{"another key", "another key", func(t *testing.T, _ *cluster, id *Identity) { id.SSHKey, _ = keysFor(t, SuiteBalanced) }},
		{"no keys", "private key is missing", func(_ *testing.T, _ *cluster, id *Identity) { id.SSHKey = nil }},
		{"no certificate", "certificate is missing", func(_ *testing.T, _ *cluster, id *Identity) { id.SSHCert = nil }},
		{"host certificate", "not a user certificate", resign(func(s *ssh.Certificate) { s.CertType = ssh.HostCert })},
		{"no principals", "no principals", resign(func(s *ssh.Certificate) { s.ValidPrincipals = nil })},
		{"unknown critical option", "force-command", resign(func(s *ssh.Certificate) { s.CriticalOptions = map[string]string{"force-command": "x"} })},
		{"case L17: valid forever", "is valid forever", resign(func(s *ssh.Certificate) { s.ValidBefore = ssh.CertTimeInfinity })},
		{"never valid", "never valid", resign(func(s *ssh.Certificate) { s.ValidBefore = s.ValidAfter })},
		{"of another user", `"bob", not "alice"`, resign(func(s *ssh.Certificate) { s.KeyId = "bob" })},
		{"signature broken", "signature", func(_ *testing.T, _ *cluster, id *Identity) { id.SSHCert.ValidPrincipals = []string{"admin"} }},
		{"RSA 1024", "1024 bits", func(t *testing.T, c *cluster, id *Identity) {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				t.Fatal(err)
			}
			*id = *c.certify(t, "gate", "alice", key, key)
		}},
	})
}

// case L13, case L16, case L18: what a hostile proxy may deliver as TLS certificate.
func TestCheckRefusesTLSCertificates(t *testing.T) {
	checkRefuses(t, []refusal{
		{"another key", "another key", func(t *testing.T, _ *cluster, id *Identity) { _, id.TLSKey = keysFor(t, SuiteBalanced) }},
		{"no certificate", "certificate is missing", func(_ *testing.T, _ *cluster, id *Identity) { id.TLSCert = nil }},
		{"of another user", `"bob", not "alice"`, reissue(func(x *x509.Certificate) { x.Subject.CommonName = "bob" })},
		{"of an authority", "authority", reissue(func(x *x509.Certificate) { x.IsCA, x.BasicConstraintsValid = true, true })},
		{"for servers", "not for clients", reissue(func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		{"never valid", "never valid", reissue(func(x *x509.Certificate) { x.NotAfter = x.NotBefore })},
		{"issued in the name of another cluster", `issued by cluster "pier"`, func(t *testing.T, c *cluster, id *Identity) {
			stranger := newCluster(t, "pier")
			id.TLSCert = testenv.Issuer{Cert: stranger.userTLS, Key: stranger.userKey}.Sign(t, c.userTemplate("alice"), id.TLSKey.Public())
		}},
	})
}

// case L14, case L18, case L28: what a hostile proxy may deliver as authorities and names.
func TestCheckRefusesAuthoritiesAndNames(t *testing.T) {
	checkRefuses(t, []refusal{
		{"none", "was not delivered", func(_ *testing.T, _ *cluster, id *Identity) { id.Authorities = nil }},
		{"no SSH keys", "was not delivered", func(_ *testing.T, _ *cluster, id *Identity) { id.Authorities[0].SSHKeys = nil }},
		{"two of one cluster", "two authorities", func(_ *testing.T, c *cluster, id *Identity) { id.Authorities = append(id.Authorities, c.authority()) }},
		{"certificate for another cluster", `certificate for "pier"`, func(t *testing.T, _ *cluster, id *Identity) {
			id.Authorities[0].TLSCerts[0] = newCluster(t, "pier").hostTLS
		}},
		{"certificate without CA bit", "may not sign", func(t *testing.T, c *cluster, id *Identity) {
			tmpl := caTemplate("harbor")
			tmpl.IsCA, tmpl.KeyUsage = false, 0
			id.Authorities[0].TLSCerts[0] = selfSigned(t, tmpl, c.hostKey)
		}},
		{"P-224", "key of type", func(t *testing.T, _ *cluster, id *Identity) {
			key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			id.Authorities[0].TLSCerts[0] = selfSigned(t, caTemplate("harbor"), key)
		}},
		{"certified key", "itself certified", func(t *testing.T, c *cluster, id *Identity) {
			id.Authorities[0].SSHKeys = append(id.Authorities[0].SSHKeys, c.hostCert(t, nil, "x"))
		}},
		{"RSA 512", "RSA key of 512 bits", addKey(func(t testing.TB) ssh.PublicKey { return rsaKey(t, 512) })},
		{"RSA 16384", "RSA key of 16384 bits", addKey(func(t testing.TB) ssh.PublicKey { return rsaKey(t, 16384) })},
		{"DSA", "key of type", addKey(dsaKey)},
		{"thousands of keys", "more than 1024 keys", func(_ *testing.T, _ *cluster, id *Identity) {
			id.Authorities[0].SSHKeys = slices.Repeat(id.Authorities[0].SSHKeys, 2000)
		}},
		{"thousands", "more than 1024 authorities", func(_ *testing.T, _ *cluster, id *Identity) { id.Authorities = make([]Authority, 2000) }},
		{"user that is a path", "user name", func(_ *testing.T, _ *cluster, id *Identity) { id.User = "../../x" }},
		{"cluster that is a pattern", "cluster name", func(_ *testing.T, _ *cluster, id *Identity) { id.Cluster = "*" }},
		{"cluster with a line break", "cluster name", func(_ *testing.T, c *cluster, id *Identity) {
			evil := c.authority()
			evil.Cluster = "x\n@cert-authority *"
			id.Authorities = append(id.Authorities, evil)
		}},
		{"proxy with a comma", "proxy name", func(_ *testing.T, _ *cluster, id *Identity) { id.Proxy = "gate,*" }},
	})
}

// What real clusters deliver and could look suspicious.
func TestCheckAccepts(t *testing.T) {
	c, leaf := newCluster(t, "harbor"), newCluster(t, "pier")
	id := c.issue(t, "gate", "alice", SuiteBalanced)
	id.Cluster = "pier" // routed to a leaf, still issued by the root
	id.Authorities = append(id.Authorities, leaf.authority(), Authority{Cluster: "ssh-only", SSHKeys: leaf.authority().SSHKeys})
	id.SSHCert.CriticalOptions = map[string]string{"source-address": "192.0.2.1/32"}
	id.SSHCert.Extensions = map[string]string{"unknown@example.net": "x"}
	id.SSHCert.ValidBefore = uint64(testenv.FixtureTime().Add(-time.Hour).Unix()) // time is judged elsewhere
	id.SSHCert.ValidAfter = uint64(testenv.FixtureTime().Add(-2 * time.Hour).Unix())
	signSSH(t, id.SSHCert, c.userSSH)
	if err := id.Check(); err != nil {
		t.Error(err)
	}
}
