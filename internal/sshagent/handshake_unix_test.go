//go:build unix

package sshagent

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// onlyInAgent puts a new key into a real agent and returns what is left of it here.
func onlyInAgent(t *testing.T) (*Key, *ssh.Certificate, ssh.Signer) {
	t.Helper()
	realAgent(t)
	key, ca := newP256(t), newAuthority(t)
	e := Entry{Proxy: "gate", Cluster: "root", User: "alice", Key: key, Cert: certify(t, ca, key.Public(), "alice"), Lifetime: time.Hour}
	put(t, e)
	k, err := OpenKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, e.Cert, ca
}

// loopback runs serve on one connection, and returns the other end and serve's error.
func loopback(t *testing.T, serve func(net.Conn) error) (net.Conn, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	deadline := time.Now().Add(30 * time.Second)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = errors.Join(conn.SetDeadline(deadline), serve(conn))
			_ = conn.Close() // serve may have done it
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); _ = conn.Close() })
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	return conn, done
}

// tlsCertificates makes an authority, and its certificates for alice's key and the
// server's.
func tlsCertificates(t *testing.T, pub, server any) (pool *x509.CertPool, client, host []byte) {
	t.Helper()
	ca := newP256(t)
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		}
	}
	root := template("ca")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	issue := func(template *x509.Certificate, pub any) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, root, pub, ca)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	parsed, err := x509.ParseCertificate(issue(root, ca.Public()))
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, issue(template("alice"), pub), issue(template("localhost"), server)
}

// A TLS server that wants a certificate gets one whose key is in the agent alone.
func TestTLSWithKeyInAgent(t *testing.T) {
	k, _, _ := onlyInAgent(t)
	serverKey := newP256(t)
	pool, client, host := tlsCertificates(t, k.Public(), serverKey.Public())
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			conn, served := loopback(t, func(conn net.Conn) error {
				server := tls.Server(conn, &tls.Config{
					Certificates: []tls.Certificate{{Certificate: [][]byte{host}, PrivateKey: serverKey}},
					ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: version,
				})
				if err := server.Handshake(); err != nil {
					return err
				}
				if got := server.ConnectionState(); got.PeerCertificates[0].Subject.CommonName != "alice" || got.Version != version {
					return errors.New("not the certificate or version that was meant")
				}
				_, err := server.Write([]byte("welcome"))
				return errors.Join(err, server.Close())
			})
			c := tls.Client(conn, &tls.Config{
				RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12,
				Certificates: []tls.Certificate{{
					Certificate: [][]byte{client}, PrivateKey: k, SupportedSignatureAlgorithms: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
				}},
			})
			if got, err := io.ReadAll(c); string(got) != "welcome" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			if err := <-served; err != nil {
				t.Errorf("the server says %v", err)
			}
		})
	}
}

// What x509 signs, it can be made to sign with the key, too.
func TestCertificateRequestWithKeyInAgent(t *testing.T) {
	k, _, _ := onlyInAgent(t)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice"}}, k)
	if err != nil {
		t.Fatal(err)
	}
	if req, err := x509.ParseCertificateRequest(der); err != nil || req.CheckSignature() != nil {
		t.Errorf("%v", err)
	}
}

// An SSH server lets in who has the certificate, with the key in the agent alone.
func TestSSHWithKeyInAgent(t *testing.T) {
	k, cert, ca := onlyInAgent(t)
	checker := &ssh.CertChecker{IsUserAuthority: func(key ssh.PublicKey) bool { return string(key.Marshal()) == string(ca.PublicKey().Marshal()) }}
	hostKey, err := ssh.NewSignerFromSigner(newEd25519(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, served := loopback(t, func(conn net.Conn) error {
		config := &ssh.ServerConfig{PublicKeyCallback: checker.Authenticate}
		config.AddHostKey(hostKey)
		server, chans, reqs, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return err
		}
		go ssh.DiscardRequests(reqs)
		for c := range chans {
			_ = c.Reject(ssh.Prohibited, "")
		}
		if server.User() != "alice" {
			return errors.New("let in " + server.User())
		}
		return nil
	})
	signer, err := ssh.NewCertSigner(cert, k.SSHSigner())
	if err != nil {
		t.Fatal(err)
	}
	c, _, _, err := ssh.NewClientConn(conn, "loopback", &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(hostKey.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), <-served); err != nil {
		t.Error(err)
	}
}
