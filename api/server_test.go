package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/wire"
)

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "grpc", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// identity is a credential of the tests.
type identity struct {
	cert  tls.Certificate
	roots *x509.CertPool
	err   error
	addrs []string
}

func (id *identity) TLSConfig() (*tls.Config, error) {
	if id.err != nil {
		return nil, id.err
	}
	return &tls.Config{RootCAs: id.roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.cert, nil }}, nil
}
func (id *identity) SSHClientConfig() (*ssh.ClientConfig, error) { return nil, id.err }
func (id *identity) Expiry() (time.Time, bool)                   { return time.Time{}, false }
func (id *identity) DefaultAddrs() ([]string, error)             { return id.addrs, nil }

var _ credentials.Credentials = (*identity)(nil)

// rawCodec lets the real server library carry the bytes of messages.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// authServer is an auth server of the cluster example.com behind a proxy with
// TLS routing; its one authority certifies hosts and users.
type authServer struct {
	addr   string
	conns  atomic.Int32
	calls  atomic.Int32
	caCert *x509.Certificate
	caKey  *ecdsa.PrivateKey
}

// startAuth serves every call that has one request with what handle returns.
func startAuth(t testing.TB, handle func(method string, request []byte) ([]byte, error)) *authServer {
	t.Helper()
	return startStreams(t, func(method string, stream grpc.ServerStream) error {
		var request []byte
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		reply, err := handle(method, request)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(method, "/GetActiveSessionTrackers") {
			return stream.SendMsg(reply)
		}
		var all struct { // of a call with many answers
			Messages [][]byte `wire:"1"`
		}
		if err := wire.Unmarshal(reply, &all); err != nil {
			return err
		}
		for _, message := range all.Messages {
			if err := stream.SendMsg(message); err != nil {
				return err
			}
		}
		return nil
	})
}

// startStreams serves every call with handle.
func startStreams(t testing.TB, handle func(method string, stream grpc.ServerStream) error) *authServer {
	t.Helper()
	s := &authServer{}
	s.makeAuthority(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxSendMsgSize(64<<20), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		s.calls.Add(1)
		method, _ := grpc.MethodFromServerStream(stream)
		return handle(method, stream)
	}))
	host := s.issue(t, func(c *x509.Certificate) {
		c.DNSNames = []string{"*.teleport.cluster.local"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	clients := x509.NewCertPool()
	clients.AddCert(s.caCert)
	cfg := &tls.Config{Certificates: []tls.Certificate{host}, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	go func() { _ = server.Serve(tls.NewListener(counting{l, &s.conns}, cfg)) }()
	t.Cleanup(server.Stop)
	return s
}

type counting struct {
	net.Listener
	n *atomic.Int32
}

func (l counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return conn, err
}

func (s *authServer) makeAuthority(t testing.TB) {
	t.Helper()
	var err error
	if s.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.caKey.Public(), s.caKey)
	if err == nil {
		s.caCert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *authServer) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "alice"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.caCert, key.Public(), s.caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// user is the credential of a user of the cluster.
func (s *authServer) user(t testing.TB, change func(*x509.Certificate)) *identity {
	roots := x509.NewCertPool()
	roots.AddCert(s.caCert)
	return &identity{cert: s.issue(t, change), roots: roots, addrs: []string{s.addr}}
}

func (s *authServer) connect(t testing.TB) *Client {
	t.Helper()
	c, err := Dial(testContext(t), Config{Addrs: []string{s.addr}, Credentials: []credentials.Credentials{s.user(t, nil)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
