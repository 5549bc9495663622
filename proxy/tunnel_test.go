package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Who ends the TLS around the tunnel is known to the cluster or to the web's authorities, or
// is told nothing: no SSH begins. case N17
func TestTunnelOfStrangers(t *testing.T) {
	ours, theirs, web := newAuthority(t, "example.com"), newAuthority(t, "example.com"), newAuthority(t, "web")
	named := func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "localhost") }
	for name, tt := range map[string]struct {
		cert     tls.Certificate
		insecure bool
		trusted  bool
	}{
		"the cluster's":        {clusterServer(t, ours).Certificates[0], false, true},
		"another cluster's":    {clusterServer(t, theirs).Certificates[0], false, false},
		"the web's":            {web.issue(t, named), false, true},
		"the web's, another":   {web.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} }), false, false},
		"anyone's":             {theirs.issueSelf(t), false, false},
		"anyone's, insecurely": {theirs.issueSelf(t), true, true},
	} {
		said := make(chan string, 1)
		server := startTLS(t, &tls.Config{Certificates: []tls.Certificate{tt.cert}, NextProtos: []string{probeALPN}}, func(conn *tls.Conn) {
			heard, _ := io.ReadAll(io.LimitReader(conn, 4))
			said <- string(heard)
		})
		_, port, _ := strings.Cut(server.addr, ":")
		cfg := &Config{WebAddr: "localhost:" + port, TLSRouting: true, TLS: clientIdentity(t, ours, nil), Cluster: "example.com",
			RootCAs: web.pool(), Insecure: tt.insecure,
			SSH: func() (*ssh.ClientConfig, error) {
				return &ssh.ClientConfig{User: "alice", HostKeyCallback: ssh.InsecureIgnoreHostKey()}, nil
			}}
		_, err := cfg.DialTunnel(testContext(t))
		var untrusted *tls.CertificateVerificationError
		if err == nil || errors.As(err, &untrusted) == tt.trusted {
			t.Errorf("%s: %v", name, err)
		}
		if tt.trusted {
			if heard := <-said; heard != "SSH-" {
				t.Errorf("%s: the server heard %q", name, heard)
			}
			continue
		}
		select {
		case heard := <-said:
			if heard != "" {
				t.Errorf("%s: the server heard %q", name, heard)
			}
		default: // it did not come to that
		}
	}
}

// What cannot be: said before anybody is connected to.
func TestTunnelNeedsSSH(t *testing.T) {
	broken := errors.New("no SSH here")
	ca := newAuthority(t, "example.com")
	cfg := Config{SSHAddr: "127.0.0.1:1", TLS: clientIdentity(t, ca, nil), Cluster: "example.com"}
	for _, tt := range []struct {
		ssh  func() (*ssh.ClientConfig, error)
		want string
	}{
		{nil, "no SSH configuration"},
		{func() (*ssh.ClientConfig, error) { return nil, broken }, broken.Error()},
		{func() (*ssh.ClientConfig, error) { return nil, nil }, "which hosts to trust"},
		{func() (*ssh.ClientConfig, error) { return &ssh.ClientConfig{}, nil }, "which hosts to trust"},
	} {
		cfg.SSH = tt.ssh
		if _, err := cfg.DialTunnel(context.Background()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}
