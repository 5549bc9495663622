package fanout

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// case S11: what a node says once the command has begun is how that went there, and
// nothing that who logs in takes for a refusal and begins again after.
func TestBegunIsNoRefusal(t *testing.T) {
	for _, grants := range []bool{true, false} {
		node := &dummyNode{t: t, grants: grants, authority: newSigner(t)}
		var told error
		job := Job{Args: "x", Stdout: Output{W: io.Discard}, Stderr: Output{W: io.Discard},
			On: func(ctx context.Context, n *Node, use func(*sshclient.Client) error) error {
				client, err := sshclient.Dial(ctx, node, sshclient.Target{Host: "node", Login: "root"}, node.client())
				if err != nil {
					t.Error(err)
					return err
				}
				defer client.Close()
				told = use(client)
				return told
			}}
		results, err := job.Run(t.Context(), someNodes(1))
		if err != nil {
			t.Fatal(err)
		}
		if (told == nil) != grants || grants != errors.Is(results[0].Err, sshclient.ErrNoExitStatus) || results[0].Err == nil {
			t.Errorf("granted: %t, told %v, result %v", grants, told, results[0].Err)
		}
	}
}

// dummyNode grants a command, or not, and ends the session without another word.
type dummyNode struct {
	t         *testing.T
	grants    bool
	authority ssh.Signer
}

func (n *dummyNode) client() *ssh.ClientConfig {
	return &ssh.ClientConfig{
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(n.certify(ssh.UserCert, "root"))},
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
	}
}

func (n *dummyNode) certify(kind uint32, name string) ssh.Signer {
	key := newSigner(n.t)
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: kind, ValidPrincipals: []string{name}, ValidBefore: ssh.CertTimeInfinity}
	signer, err := ssh.NewCertSigner(cert, key)
	if err = errors.Join(cert.SignCert(rand.Reader, n.authority), err); err != nil {
		n.t.Fatal(err)
	}
	return signer
}

// DialNode implements sshclient.Dialer.
func (n *dummyNode) DialNode(context.Context, string, string) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := l.Accept()
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(n.certify(ssh.HostCert, "node"))
	go func() {
		_, channels, requests, err := ssh.NewServerConn(far, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for offer := range channels {
			channel, requests, err := offer.Accept()
			if err != nil {
				return
			}
			for r := range requests {
				_ = r.Reply(r.Type != "exec" || n.grants, nil)
				if r.Type == "exec" {
					_ = channel.Close()
				}
			}
		}
	}()
	return near, nil
}

func newSigner(t *testing.T) ssh.Signer {
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
