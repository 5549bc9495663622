package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/seed-087d674e/tsh/internal/wire"
)

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

// service is one call of the transport service, on the server.
type service struct {
	grpc.ServerStream
	method string
}

func (s *service) recv() ([]byte, error) {
	var b []byte
	err := s.RecvMsg(&b)
	return b, err
}

// recvFrame is the payload of the next ssh frame.
func (s *service) recvFrame() ([]byte, error) {
	b, err := s.recv()
	var m wire.ProxySSHRequest
	if err == nil {
		err = wire.Unmarshal(b, &m)
	}
	if err == nil && m.SSH == nil {
		err = errors.New("no ssh frame")
	}
	if err != nil {
		return nil, err
	}
	return m.SSH.Payload, nil
}

func (s *service) details() error {
	return s.SendMsg(wire.Marshal(&wire.ProxySSHResponse{Details: &wire.ClusterDetails{}}))
}

func (s *service) sendFrame(payload string) error {
	return s.SendMsg(wire.Marshal(&wire.ProxySSHResponse{SSH: &wire.Frame{Payload: []byte(payload)}}))
}

// transportServer is a proxy's listener behind TLS, with grpc-go under it.
type transportServer struct {
	addr  string
	conns atomic.Int32
}

type countingListener struct {
	net.Listener
	n *atomic.Int32
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return conn, err
}

func startTransport(t *testing.T, cfg *tls.Config, handle func(*service) error) *transportServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &transportServer{addr: l.Addr().String()}
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		return handle(&service{stream, method})
	}))
	go func() { _ = server.Serve(tls.NewListener(countingListener{l, &s.conns}, cfg)) }()
	t.Cleanup(server.Stop)
	return s
}

func (s *transportServer) config(t *testing.T, ca *authority) Config {
	return Config{WebAddr: s.addr, TLSRouting: true, TLS: clientIdentity(t, ca, nil), Cluster: "example.com"}
}

func dialTransport(t *testing.T, cfg Config) *Transport {
	t.Helper()
	tr, err := Dial(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
	return b.String()
}

// clusterStream is the auth server's end of a ProxyCluster call.
type clusterStream struct {
	net.Conn
	*service
	rest []byte
}

func (c *clusterStream) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		b, err := c.recv()
		if err != nil {
			return 0, err
		}
		var m wire.ProxyClusterRequest
		if err := wire.Unmarshal(b, &m); err != nil || m.Frame == nil || m.Cluster != "" {
			return 0, errors.New("no frame")
		}
		c.rest = m.Frame.Payload
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *clusterStream) Write(p []byte) (int, error) {
	return len(p), c.SendMsg(wire.Marshal(&wire.ProxyClusterResponse{Frame: &wire.Frame{Payload: p}}))
}
func (c *clusterStream) Close() error                     { return nil }
func (c *clusterStream) SetWriteDeadline(time.Time) error { return nil }
