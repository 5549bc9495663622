package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A call on an established connection takes none of Conn's locks: they are all held here.
func TestCallsTakeNoLock(t *testing.T) {
	server := startServer(t, func(_ string, s grpc.ServerStream) error { return send(s, receive(t, s)) })
	c := server.conn(t)
	if err := c.Connect(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.busy <- struct{}{}
	defer func() { <-c.busy; c.mu.Unlock() }()
	if reply, err := c.Invoke(testContext(t), "/t.S/Do", []byte("x")); err != nil || string(reply) != "x" {
		t.Errorf("%q, %v", reply, err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	s, err := c.Stream(ctx, "/t.S/Do")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if reply, err := s.Recv(); err != nil || string(reply) != "y" {
		t.Errorf("%q, %v", reply, err)
	}
}

// A server that is shutting down lets a stream go on and takes no more calls: the next
// ones are made over a new connection, at once.
func TestServerThatIsLeaving(t *testing.T) {
	leave := make(chan struct{})
	server := startServer(t, func(method string, s grpc.ServerStream) error {
		if method != "/t.S/Watch" {
			return send(s, receive(t, s))
		}
		_ = send(s, []byte("first"))
		<-leave
		return send(s, []byte("last"))
	})
	c := server.conn(t)
	watch, err := c.Stream(testContext(t), "/t.S/Watch")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	second := startServer(t, func(_ string, s grpc.ServerStream) error { return send(s, []byte("second")) })
	go server.GracefulStop()
	first := server.addr
	server.addr = second.addr
	ctx := testContext(t)
	for reply := ""; reply != "second"; {
		got, err := c.Invoke(ctx, "/t.S/Do", []byte(first))
		if err != nil {
			t.Fatal(err)
		}
		reply = string(got)
	}
	close(leave)
	if last, err := watch.Recv(); err != nil || string(last) != "last" {
		t.Errorf("%q, %v", last, err)
	}
	if n := server.dials.Load(); n != 2 {
		t.Errorf("%d connections, want two", n)
	}
}

// brittle is a connection that cannot be written to once it has failed, while reading
// notices nothing.
type brittle struct {
	net.Conn
	failed *atomic.Bool
}

func (b *brittle) Write(p []byte) (int, error) {
	if b.failed.Load() {
		return 0, errors.New("broken pipe")
	}
	return b.Conn.Write(p)
}

// A call whose connection breaks before any of it was sent is made once more; one of
// which the server may have seen something is not.
func TestOnceMore(t *testing.T) {
	var served atomic.Int32
	server := startServer(t, func(_ string, s grpc.ServerStream) error {
		served.Add(1)
		receive(t, s)
		return send(s, []byte("x"))
	})
	var failed atomic.Bool
	c := NewConn(func(ctx context.Context) (net.Conn, error) {
		conn, err := server.dial(ctx)
		if failed.Load() {
			return conn, err
		}
		return &brittle{conn, &failed}, err
	})
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Invoke(testContext(t), "/t.S/Do", []byte("1")); err != nil {
		t.Fatal(err)
	}
	failed.Store(true)
	if _, err := c.Invoke(testContext(t), "/t.S/Do", []byte("2")); err != nil {
		t.Errorf("on a new connection: %v", err)
	}
	if n, calls := server.dials.Load(), served.Load(); n != 2 || calls != 2 {
		t.Errorf("%d connections and %d calls, want two of each", n, calls)
	}
}

func TestNotOnceMore(t *testing.T) {
	var calls, dials atomic.Int32
	c := startPeer(t, func(p *peer, _ uint32) {
		calls.Add(1)
		_ = p.conn.Close()
	})
	dial := c.dial
	c.dial = func(ctx context.Context) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx)
	}
	if _, err := c.Invoke(testContext(t), "/t.S/Do", []byte("x")); err == nil {
		t.Error("no error")
	}
	if n, d := calls.Load(), dials.Load(); n != 1 || d != 1 {
		t.Errorf("the call was made %d times over %d connections", n, d)
	}
}

// A peer that is silent is asked whether it is there; without an answer the connection
// is over, without a call that notices it.
func TestSilentPeer(t *testing.T) {
	if keepAlive != time.Minute || keepAlivePatience != 3*time.Minute {
		t.Error("servers expect a question a minute at most, and three to answer")
	}
	c := startPeer(t, func(p *peer, s uint32) { p.good(s) })
	c.idle, c.patience = 10*time.Millisecond, 10*time.Millisecond
	if _, err := c.Invoke(testContext(t), "/t.S/Do", nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.current.Load().conn.ended:
	case <-testContext(t).Done():
		t.Fatal("the connection to a silent peer lives on")
	}
	if _, err := c.Invoke(testContext(t), "/t.S/Do", nil); err != nil {
		t.Errorf("on a new connection: %v", err)
	}
}

// A peer that answers keeps its connection.
func TestPeerThatAnswers(t *testing.T) {
	pings := make(chan struct{})
	var dials atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerPings(conn, pings)
		}
	}()
	c := NewConn(func(ctx context.Context) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	})
	c.idle, c.patience = time.Millisecond, time.Minute
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Connect(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		select {
		case <-pings:
		case <-testContext(t).Done():
			t.Fatal("no question came")
		}
	}
	if !c.current.Load().usable() || dials.Load() != 1 {
		t.Error("the connection was given up")
	}
}

// answerPings reads what a client sends and answers its pings, one for every receiver.
func answerPings(conn net.Conn, pings chan<- struct{}) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if ping, ok := frame.(*http2.PingFrame); ok && !ping.IsAck() {
			_ = f.WritePing(true, ping.Data)
			select {
			case pings <- struct{}{}:
			case <-time.After(time.Second):
				return // the test is over
			}
		}
	}
}

func BenchmarkInvokeParallel(b *testing.B) {
	server := startServer(b, func(_ string, s grpc.ServerStream) error { return send(s, []byte("x")) })
	c := server.conn(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Invoke(context.Background(), "/t.S/Do", nil); err != nil {
				b.Error(err)
			}
		}
	})
}

// A server may refuse a call before any of the message was sent. That is its answer, and the
// call is not made again.
func TestRefusedCallsAreMadeOnce(t *testing.T) {
	const callers, calls = 16, 500
	var asked atomic.Int32
	s := startServer(t, func(string, grpc.ServerStream) error {
		asked.Add(1)
		return status.Error(codes.PermissionDenied, "no")
	})
	c := s.conn(t)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				var refused *Status
				if _, err := c.Invoke(t.Context(), "/test.Service/Refused", []byte("x")); !errors.As(err, &refused) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := asked.Load(); got != callers*calls {
		t.Errorf("%d calls were made %d times", callers*calls, got)
	}
}
