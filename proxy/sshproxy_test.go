package proxy

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// sshOnlyServer is the SSH server of a proxy that has nothing else, with these algorithms.
func sshOnlyServer(t *testing.T, host ssh.Signer, algorithms ssh.Config) *peer {
	return startPeer(t, func(conn net.Conn) {
		config := &ssh.ServerConfig{Config: algorithms, NoClientAuth: true}
		config.AddHostKey(host)
		_, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for ch := range channels {
			_ = ch.Reject(ssh.Prohibited, "no")
		}
	})
}

// case S01, case S25: the SSH server of a proxy is not spoken to with what lets packets be
// taken out of the stream, nor with SHA-1; and one that is not vouched for not at all.
func TestSSHProxyAlgorithms(t *testing.T) {
	ca := newAuthority(t, "example.com")
	host, err := ssh.NewSignerFromSigner(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	ctr, errStranger := []string{ssh.CipherAES128CTR}, errors.New("a stranger")
	for name, c := range map[string]struct {
		algorithms ssh.Config
		refuse     error
		want       string // of the error
	}{
		"GCM":       {algorithms: ssh.Config{Ciphers: []string{ssh.CipherAES256GCM}}},
		"CTR":       {algorithms: ssh.Config{Ciphers: ctr, MACs: []string{ssh.HMACSHA256}}},
		"ChaCha20":  {algorithms: ssh.Config{Ciphers: []string{ssh.CipherChaCha20Poly1305}}, want: "no common algorithm"},
		"ETM":       {algorithms: ssh.Config{Ciphers: ctr, MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM}}, want: "no common algorithm"},
		"SHA-1 MAC": {algorithms: ssh.Config{Ciphers: ctr, MACs: []string{ssh.HMACSHA1}}, want: "no common algorithm"},
		"SHA-1":     {algorithms: ssh.Config{KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1}}, want: "no common algorithm"},
		"stranger":  {refuse: errStranger, want: "a stranger"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := false
			cfg := Config{SSHAddr: sshOnlyServer(t, host, c.algorithms).addr, Cluster: "example.com", TLS: clientIdentity(t, ca, nil)}
			cfg.SSH = func() (*ssh.ClientConfig, error) {
				return &ssh.ClientConfig{User: "alice", HostKeyCallback: func(addr string, _ net.Addr, _ ssh.PublicKey) error {
					asked = addr == cfg.SSHAddr
					return c.refuse
				}}, nil
			}
			transport, err := Dial(testContext(t), cfg)
			if err == nil {
				_ = transport.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if slices.Contains([]string{"", "a stranger"}, c.want) && !asked {
				t.Error("the host key was not checked")
			}
		})
	}
}
