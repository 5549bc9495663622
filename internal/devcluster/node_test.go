package devcluster

import (
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestHostCertificate(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Nodes = 2 })
	n := f.nodes[1]
	l := f.login(nil)
	var cert *ssh.Certificate
	conn, err := f.proxySSH(f.transport(l), "node-2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _, _, err = ssh.NewClientConn(conn, "node-2:22", &ssh.ClientConfig{
		User: "alice",
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			cert, _ = key.(*ssh.Certificate)
			return nil
		},
	})
	if err == nil || cert == nil {
		t.Fatalf("no authentication: %v; certificate %v", err, cert)
	}
	want := []string{n.id, n.id + ".dev.example", "node-2", "node-2.dev.example", "localhost", "127.0.0.1", "::1", "127.0.0.2"}
	if cert.CertType != ssh.HostCert || cert.ValidBefore != ssh.CertTimeInfinity || !slices.Equal(cert.ValidPrincipals, want) {
		t.Errorf("%+v", cert)
	}
	if cert.Extensions["x-teleport-role"] != "Node" || cert.Extensions["x-teleport-authority"] != "dev.example" {
		t.Errorf("extensions %v", cert.Extensions)
	}
}

// Who may log in: a valid certificate of the cluster, a principal of it, and a
// role that allows the login on the node.
func TestNodeAuthorization(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Nodes = 2 })
	l := f.login(nil)
	cc := f.transport(l)
	try := func(l *login, node, user string) error {
		client, err := f.ssh(l, cc, node, user)
		if err == nil {
			client.Close()
		}
		return err
	}
	for _, user := range []string{"root", "alice"} {
		if err := try(l, "node-1", user); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	refused := func(name string, l *login, node, user string) {
		t.Helper()
		if err := try(l, node, user); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("other login", l, "node-1", "bob")
	refused("joining", l, "node-1", joinPrincipal)
	// forge signs a variant of the certificate.
	forge := func(ca ssh.Signer, change func(*ssh.Certificate)) *login {
		t.Helper()
		cert := *l.sshCert
		cert.ValidPrincipals = slices.Clone(cert.ValidPrincipals)
		change(&cert)
		if err := cert.SignCert(rand.Reader, ca); err != nil {
			t.Fatal(err)
		}
		forged := *l
		forged.sshCert = &cert
		return &forged
	}
	ca := f.auths.user.sshSigner
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	stranger, _ := ssh.NewSignerFromKey(key)
	refused("other authority", forge(stranger, func(*ssh.Certificate) {}), "node-1", "alice")
	refused("host authority", forge(f.auths.host.sshSigner, func(*ssh.Certificate) {}), "node-1", "alice")
	refused("host certificate", forge(ca, func(c *ssh.Certificate) { c.CertType = ssh.HostCert }), "node-1", "alice")
	refused("no principals", forge(ca, func(c *ssh.Certificate) { c.ValidPrincipals = nil }), "node-1", "alice")
	refused("principal without a role", forge(ca, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"bob"} }), "node-1", "bob")
	refused("other address", forge(ca, func(c *ssh.Certificate) {
		c.CriticalOptions = map[string]string{"source-address": "192.0.2.1/32"}
	}), "node-1", "alice")
	if err := try(forge(ca, func(c *ssh.Certificate) {
		c.CriticalOptions = map[string]string{"source-address": "127.0.0.1/32"}
	}), "node-1", "alice"); err != nil {
		t.Errorf("own address: %v", err)
	}
	refused("no roles", forge(ca, func(c *ssh.Certificate) {
		c.Extensions = map[string]string{"permit-pty": ""}
	}), "node-1", "alice")
	// A role that reaches one of the nodes only.
	dev := presetRoles()[0]
	dev.Name, dev.NodeLabels = "access", map[string][]string{"env": {"dev"}, "tier": {"*"}}
	if err := f.state.update(func(tx *stateTx) error { return tx.put(bucketRoles, dev.Name, dev) }); err != nil {
		t.Fatal(err)
	}
	if err := try(l, "node-1", "alice"); err != nil {
		t.Errorf("node with the label: %v", err)
	}
	refused("node without the label", l, "node-2", "alice")
}

func TestExpiredSSHCertificate(t *testing.T) {
	f := startCluster(t, nil)
	l := f.login(func(m map[string]any) { m["ttl"] = time.Hour })
	f.clock.Advance(codePeriod)
	fresh := f.login(func(m map[string]any) { m["ttl"] = 12 * time.Hour })
	f.clock.Advance(time.Hour)
	cc := f.transport(fresh)
	if client, err := f.ssh(l, cc, "node-1", "alice"); err == nil {
		client.Close()
		t.Error("an expired certificate was accepted")
	}
	client, err := f.ssh(fresh, cc, "node-1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
}

func TestGlobalRequestsAndChannels(t *testing.T) {
	f := startCluster(t, nil)
	client := f.sshClient("alice")
	if v := string(client.ServerVersion()); !strings.HasPrefix(v, "SSH-2.0-Teleport resume-v1 ") {
		t.Errorf("version %q", v)
	}
	for name, want := range map[string]bool{
		"keepalive@openssh.com": true, "session-id-query@goteleport.com": true,
		"tcpip-forward": false, "x-teleport-version": false, "nope": false,
	} {
		if ok, _, err := client.SendRequest(name, true, nil); err != nil || ok != want {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	for _, kind := range []string{"forwarded-tcpip", "x11", "nope"} {
		_, _, err := client.OpenChannel(kind, nil)
		if oe, ok := err.(*ssh.OpenChannelError); !ok || oe.Reason != ssh.UnknownChannelType {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// sshClient logs in and connects to the first node.
func (f *fixture) sshClient(user string) *ssh.Client {
	f.t.Helper()
	l := f.login(nil)
	client, err := f.ssh(l, f.transport(l), f.nodes[0].hostname, user)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = client.Close() })
	return client
}
