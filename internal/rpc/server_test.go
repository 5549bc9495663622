package rpc

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// rawCodec lets the real server library carry bytes that are no message.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
func (rawCodec) Name() string { return "raw" }

var _ encoding.CodecV2 = rawCodec{}

// testServer is a real gRPC server whose methods are a switch.
type testServer struct {
	*grpc.Server
	addr  string
	dials atomic.Int32
}

func startServer(t testing.TB, handle func(method string, s grpc.ServerStream) error) *testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{addr: l.Addr().String()}
	s.Server = grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxSendMsgSize(64<<20),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(stream)
			return handle(method, stream)
		}))
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return s
}

func (s *testServer) dial(ctx context.Context) (net.Conn, error) {
	s.dials.Add(1)
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.addr)
}

func (s *testServer) conn(t testing.TB) *Conn {
	c := NewConn(s.dial)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receive(t *testing.T, s grpc.ServerStream) []byte {
	var b []byte
	if err := s.RecvMsg(&b); err != nil {
		t.Errorf("server: %v", err)
	}
	return b
}

func send(s grpc.ServerStream, b []byte) error { return s.SendMsg(&b) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
