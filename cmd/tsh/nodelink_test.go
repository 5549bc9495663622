package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/internal/tshconfig"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// case S02: whoever goes to a leaf cluster trusts its authority for its nodes, and not for
// the SSH server of the root's proxy.
func TestLeafIsNotTheRootsProxy(t *testing.T) {
	id, err := keystore.ReadIdentityFile("../../testdata/fixtures/18.3/identity/file")
	if err != nil {
		t.Fatal(err)
	}
	id.Now = testenv.FixtureTime
	leaf, host := newSSHSigner(t), newSSHSigner(t)
	cert := &ssh.Certificate{Key: host.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"proxy.example"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, leaf); err != nil {
		t.Fatal(err)
	}
	id.Authorities = append(id.Authorities, keystore.Authority{Cluster: "leaf.example", SSHKeys: []ssh.PublicKey{leaf.PublicKey()}})
	a := &app{now: testenv.FixtureTime, settings: new(tshconfig.Config)}
	s := &session{&profile.Profile{SSHProxyAddr: "proxy.example:3023"}, id, "leaf.example"}

	node, err := s.id.SSHClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.HostKeyCallback("proxy.example:3022", nil, cert); err != nil {
		t.Errorf("as a node of the leaf: %v", err)
	}
	config, err := a.proxyConfig(s)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := config.SSH()
	if err != nil {
		t.Fatal(err)
	}
	if err := proxy.HostKeyCallback("proxy.example:3023", nil, cert); err == nil {
		t.Error("a leaf cluster can pose as the proxy")
	}
}

func newSSHSigner(t *testing.T) ssh.Signer {
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
