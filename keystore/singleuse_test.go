package keystore

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// The certificate for one session has to be what was asked for, whoever sends it.
func TestSingleUse(t *testing.T) {
	root := newCluster(t, "harbor")
	for _, suite := range []Suite{SuiteBalanced, SuiteLegacy, SuiteFIPS} {
		id := root.issue(t, "gate", "alice", suite)
		key, err := id.NewSSHKey()
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[Suite]any{SuiteBalanced: ed25519.PublicKey{}, SuiteLegacy: &rsa.PublicKey{}, SuiteFIPS: &ecdsa.PublicKey{}}
		if got, want := fmt.Sprintf("%T", key.Public()), fmt.Sprintf("%T", kinds[suite]); got != want {
			t.Errorf("%s: a key of type %s, want %s", suite, got, want)
		}
		certify := func(change func(*ssh.Certificate)) *ssh.Certificate {
			cert := userCert("alice", testenv.SSHSigner(t, key).PublicKey())
			cert.ValidPrincipals = []string{"root", "alice"}
			cert.Extensions = map[string]string{extRoute: "pier", extMFAVerified: "a device"}
			if change != nil {
				change(cert)
			}
			return signSSH(t, cert, root.userSSH)
		}
		once, err := id.SingleUse(key, certify(nil), "root", "pier")
		if err != nil || !once.MFAVerified() || id.MFAVerified() || !samePublic(once.SSHKey.Public(), key.Public()) || samePublic(id.SSHKey.Public(), key.Public()) || once.TLSCert != id.TLSCert {
			t.Fatalf("%s: %v", suite, err)
		}
		if _, err := once.SSHClientConfig(); err != nil {
			t.Errorf("%s: %v", suite, err)
		}
		for says, change := range map[string]func(*ssh.Certificate){
			"is for user":            func(c *ssh.Certificate) { c.KeyId = "mallory" },
			"is for another key":     func(c *ssh.Certificate) { c.Key = testenv.SSHSigner(t, id.SSHKey).PublicKey() },
			"not a user certificate": func(c *ssh.Certificate) { c.CertType = ssh.HostCert },
			"has no principals":      func(c *ssh.Certificate) { c.ValidPrincipals = nil },
			"is not for the login":   func(c *ssh.Certificate) { c.ValidPrincipals = []string{"alice"} },
			"leads to cluster":       func(c *ssh.Certificate) { c.Extensions[extRoute] = "quay" },
			"does not say":           func(c *ssh.Certificate) { delete(c.Extensions, extMFAVerified) },
			"is valid forever":       func(c *ssh.Certificate) { c.ValidBefore = ssh.CertTimeInfinity },
			"ends later":             func(c *ssh.Certificate) { c.ValidBefore = id.SSHCert.ValidBefore + 120 },
			"unsupported":            func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "x"} },
		} {
			if _, err := id.SingleUse(key, certify(change), "root", "pier"); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, want %q", suite, err, says)
			}
		}
	}
}
