package devcluster

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The SSH server for reverse tunnels leads users to the auth server, behind its ALPN name
// and on a port of its own, and nowhere else.
func TestTunnel(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SeparatePorts = true })
	l := f.login(nil)
	behindALPN, err := tls.Dial("tcp", f.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpnTunnel}})
	if err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"web port": behindALPN, "own port": rawDial(t, f.TunnelAddr())} {
		client, err := f.sshProxy(conn, l, l.sshCert.ValidPrincipals[0])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, _, err := client.OpenChannel("session", nil); err == nil {
			t.Errorf("%s: it has sessions", name)
		}
		for payload, says := range map[string]string{
			`{"address":"@local-node"}`: "access denied", `{"address":"127.0.0.1:22"}`: "access denied", `nonsense`: "malformed",
		} {
			channel, requests, err := client.OpenChannel(channelTransport, nil)
			if err != nil {
				t.Fatal(err)
			}
			go ssh.DiscardRequests(requests)
			if ok, err := channel.SendRequest(requestDial, true, []byte(payload)); ok || err != nil {
				t.Errorf("%s: %s: %v, %v", name, payload, ok, err)
			}
			if said, _ := io.ReadAll(channel.Stderr()); !strings.Contains(string(said), says) {
				t.Errorf("%s: %s: %q", name, payload, said)
			}
		}
		channel, requests, err := client.OpenChannel(channelTransport, nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(requests)
		if ok, err := channel.SendRequest(requestDial, true, []byte(`{"address":"@remote-auth-server","conn_type":"node"}`)); !ok || err != nil {
			t.Fatalf("%s: %v, %v", name, ok, err)
		}
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(channel, far); _ = channel.Close() }()
		go func() { _, _ = io.Copy(far, channel); _ = far.Close() }()
		inside := tls.Client(near, f.tlsConfig(l, alpnH2))
		if err := inside.HandshakeContext(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if state := inside.ConnectionState(); state.NegotiatedProtocol != alpnH2 || state.PeerCertificates[0].CheckSignatureFrom(f.auths.host.tlsCert) != nil {
			t.Errorf("%s: %s, %v", name, state.NegotiatedProtocol, state.PeerCertificates[0].Issuer)
		}
		_ = near.Close()
	}
	if f.TunnelAddr() == f.Addr() {
		t.Error("there is no port of its own")
	}
	if _, err := f.sshProxy(rawDial(t, f.TunnelAddr()), l, l.sshCert.ValidPrincipals[0]); err != nil {
		t.Error(err)
	}
}
