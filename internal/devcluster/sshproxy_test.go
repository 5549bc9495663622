package devcluster

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// sshProxy logs in to the proxy's SSH server over conn.
func (f *fixture) sshProxy(conn net.Conn, l *login, user string) (*ssh.Client, error) {
	f.t.Helper()
	signer, err := ssh.NewCertSigner(l.sshCert, l.sshKey)
	if err != nil {
		f.t.Fatal(err)
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey(l.resp.HostSigners[0].CheckingKeys[0])
	if err != nil {
		f.t.Fatal(err)
	}
	checker := &ssh.CertChecker{Clock: f.clock.Now, IsHostAuthority: func(auth ssh.PublicKey, _ string) bool {
		return bytes.Equal(auth.Marshal(), ca.Marshal())
	}}
	sc, channels, requests, err := ssh.NewClientConn(conn, "localhost:3023", &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: checker.CheckHostKey,
	})
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(sc, channels, requests)
	f.t.Cleanup(func() { _ = client.Close() })
	return client, nil
}

// The proxy's SSH server is behind an ALPN name on the web port, and on the port for SSH.
func TestSSHProxy(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SeparatePorts = true })
	l := f.login(nil)
	behindALPN, err := tls.Dial("tcp", f.Addr(), &tls.Config{RootCAs: l.hostCAs, ServerName: encodeCluster(f.Name()), NextProtos: []string{alpnOldSSH}, Time: f.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"web port": behindALPN, "SSH port": rawDial(t, f.SSHAddr())} {
		t.Run(name, func(t *testing.T) {
			client, err := f.sshProxy(conn, l, "whoever") // 18.x does not care
			if err != nil {
				t.Fatal(err)
			}
			for request, want := range map[string]string{"x-teleport-version": serverVersion, "cluster-details@goteleport.com": "\x00\x00", "keepalive@openssh.com": ""} {
				if ok, payload, err := client.SendRequest(request, true, nil); !ok || string(payload) != want || err != nil {
					t.Errorf("%s: %v %q %v", request, ok, payload, err)
				}
			}
			if ok, _, _ := client.SendRequest("tcpip-forward", true, nil); ok {
				t.Error("the proxy listens")
			}
			far, err := client.Dial("tcp", f.nodes[0].hostname+":3022") // direct-tcpip
			if err != nil {
				t.Fatal(err)
			}
			line := make([]byte, len(nodeVersionLine))
			if _, err := io.ReadFull(far, line); err != nil || string(line) != nodeVersionLine {
				t.Errorf("%q, %v", line, err)
			}
			if _, err := client.Dial("tcp", "nowhere:3022"); err == nil || !strings.Contains(err.Error(), "offline or does not exist") {
				t.Error(err)
			}
			for _, subsystem := range []string{"proxy:node-1:0", "proxy:node-1:", "proxy:node-1:3022@" + f.Name(), "proxy:node-1:@default@" + f.Name(), "proxysites"} {
				session, err := client.NewSession()
				if err != nil {
					t.Fatal(err)
				}
				if err := session.RequestSubsystem(subsystem); err != nil {
					t.Errorf("%s: %v", subsystem, err)
				}
				_ = session.Close()
			}
			for subsystem, says := range map[string]string{
				"proxy:node-1": "invalid", "proxy:node-1:0@nowhere": "unknown cluster", "proxy:@nowhere": "unknown cluster", "sftp": "does not exist",
			} {
				session, err := client.NewSession()
				if err != nil {
					t.Fatal(err)
				}
				var said bytes.Buffer
				stderr, err := session.StderrPipe()
				if err != nil {
					t.Fatal(err)
				}
				if session.RequestSubsystem(subsystem) == nil {
					t.Errorf("%s is accepted", subsystem)
				}
				_, _ = io.Copy(&said, stderr)
				if !strings.Contains(said.String(), says) {
					t.Errorf("%s: %q", subsystem, said.String())
				}
			}
			session, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			if session.Run("true") == nil {
				t.Error("the proxy runs commands")
			}
		})
	}
}

// 14.x takes a principal of the certificate for a user name, and nothing else.
func TestSSHProxyUser14(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SeparatePorts, c.SSHOnly = true, true })
	l := f.login(nil)
	f.emulate = emulate14 // its logins have another form
	for user, want := range map[string]bool{l.sshCert.ValidPrincipals[0]: true, "nobody-of-that-name": false} {
		if _, err := f.sshProxy(rawDial(t, f.SSHAddr()), l, user); (err == nil) != want {
			t.Errorf("%s: %v", user, err)
		}
	}
}
