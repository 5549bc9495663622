package sshclient_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// direct reaches every node at one address; a proxy would choose by the name.
type direct string

func (addr direct) DialNode(ctx context.Context, hostport, cluster string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", string(addr))
}

func Example() {
	addr, identity := exampleNode()

	target, err := sshclient.ParseTarget("alice@web-1")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := sshclient.Dial(ctx, direct(addr), target, identity)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	err = client.Run(ctx, sshclient.Command{
		Args:   "wc -c",
		Stdin:  strings.NewReader("eleven bytes"),
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	})
	var exit *sshclient.ExitError
	if errors.As(err, &exit) {
		fmt.Println("status", exit.Status)
	} else if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 12
	// status 1
}

// exampleNode starts a node that knows one command and returns its address,
// with an SSH configuration as an identity (keystore.Identity) would give it:
// the user's certificate, and the authority that must have signed the host's.
func exampleNode() (addr string, identity *ssh.ClientConfig) {
	authority, hostKey, userKey := exampleKey(), exampleKey(), exampleKey()
	issue := func(key ssh.Signer, kind uint32, name string) ssh.Signer {
		cert := &ssh.Certificate{Key: key.PublicKey(), CertType: kind, ValidPrincipals: []string{name}, ValidBefore: ssh.CertTimeInfinity}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			log.Fatal(err)
		}
		signer, err := ssh.NewCertSigner(cert, key)
		if err != nil {
			log.Fatal(err)
		}
		return signer
	}
	trusted := func(key ssh.PublicKey) bool {
		return string(key.Marshal()) == string(authority.PublicKey().Marshal())
	}
	server := &ssh.ServerConfig{PublicKeyCallback: (&ssh.CertChecker{IsUserAuthority: trusted}).Authenticate}
	server.AddHostKey(issue(hostKey, ssh.HostCert, "web-1"))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		n := &node{config: server, session: command(func(ch ssh.Channel, _ string) uint32 {
			size, _ := io.Copy(io.Discard, ch)
			fmt.Fprintln(ch, size)
			return 1
		})}
		n.serve(conn)
	}()
	checker := &ssh.CertChecker{IsHostAuthority: func(key ssh.PublicKey, _ string) bool { return trusted(key) }}
	return ln.Addr().String(), &ssh.ClientConfig{
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(issue(userKey, ssh.UserCert, "alice"))},
		HostKeyCallback: checker.CheckHostKey,
	}
}

func exampleKey() ssh.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		log.Fatal(err)
	}
	return signer
}
