package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestInvoke(t *testing.T) {
	seen := make(chan metadata.MD, 1)
	server := startServer(t, func(method string, s grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		seen <- md
		if _, limited := s.Context().Deadline(); !limited {
			t.Error("the server was not told the deadline")
		}
		return send(s, append([]byte(method+" "), receive(t, s)...))
	})
	c := server.conn(t)
	for _, size := range []int{0, 1, 100 << 10, MaxMessage - 20} {
		payload := bytes.Repeat([]byte("x"), size)
		reply, err := c.Invoke(testContext(t), "/test.S/Echo", payload)
		if err != nil || string(reply) != "/test.S/Echo "+string(payload) {
			t.Fatalf("%d bytes: %d bytes came back, %v", size, len(reply), err)
		}
		md := <-seen
		if md.Len() != 4 || md.Get("version") != nil || !slices.Equal(md.Get("user-agent"), []string{"tsh"}) ||
			!slices.Equal(md.Get(":authority"), []string{"teleport.cluster.local"}) {
			t.Errorf("metadata %v", md)
		}
	}
	if n := server.dials.Load(); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
}

func TestInvokeStatus(t *testing.T) {
	server := startServer(t, func(method string, s grpc.ServerStream) error {
		switch method {
		case "/t.S/Denied": // the headers carry the status; no message, no trailers
			return status.Error(codes.PermissionDenied, "access denied: 100 % \"ÿ\"\n\tinner")
		case "/t.S/Late":
			_ = send(s, []byte("x"))
			return status.Error(codes.Unavailable, "gone")
		case "/t.S/Hostile":
			return status.Error(codes.NotFound, "a\x1b]0;title\x07\r\u202e"+strings.Repeat("é", 2000))
		case "/t.S/Two":
			_ = send(s, []byte("1"))
			return send(s, []byte("2"))
		case "/t.S/Huge":
			return send(s, make([]byte, MaxMessage+1))
		case "/t.S/Slow":
			<-s.Context().Done()
			return s.Context().Err()
		}
		return nil
	})
	c := server.conn(t)
	for _, tt := range []struct {
		method string
		code   Code
		text   string
	}{
		{"Denied", PermissionDenied, "access denied: 100 % \"ÿ\"\n\tinner"},
		{"Late", Unavailable, "gone"},
		{"Nothing", Internal, "no message"},
		{"Two", Internal, "more than one message"},
		{"Huge", ResourceExhausted, "4194305 bytes"},
		// case N10, case T01
		{"Hostile", NotFound, `a\x1b]0;title\a\r\u202eéé`},
	} {
		reply, err := c.Invoke(testContext(t), "/t.S/"+tt.method, nil)
		var s *Status
		if !errors.As(err, &s) || s.Code != tt.code || !strings.Contains(s.Message, tt.text) {
			t.Errorf("%s: %q, %v", tt.method, reply, err)
		}
		if s != nil && len(s.Message) > maxMessageText+3 {
			t.Errorf("%s: %d bytes of text", tt.method, len(s.Message))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Invoke(ctx, "/t.S/Slow", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	if n := server.dials.Load(); n != 1 {
		t.Errorf("%d connections, want one: errors of calls do not break it", n)
	}
}

// The server says nothing, not even headers, until it has two messages.
func TestStreamHeadersComeLate(t *testing.T) {
	server := startServer(t, func(_ string, s grpc.ServerStream) error {
		both := append(receive(t, s), receive(t, s)...)
		if err := send(s, both); err != nil {
			return err
		}
		for {
			var b []byte
			if err := s.RecvMsg(&b); err == io.EOF {
				return nil
			}
			_ = send(s, b)
		}
	})
	s, err := server.conn(t).Stream(testContext(t), "/t.S/Chat")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"one", "two"} {
		if err := s.Send([]byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		if got, err := s.Recv(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	expect("onetwo")
	for _, m := range []string{"", "three"} {
		if err := s.Send([]byte(m)); err != nil {
			t.Fatal(err)
		}
		expect(m)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Recv(); err != io.EOF {
			t.Fatalf("after the end: %v", err)
		}
	}
	if err := s.Send([]byte("x")); err != io.EOF {
		t.Errorf("sending after the end: %v", err)
	}
}

// The context ends a call also when its headers have come and nothing is sent.
func TestStreamCanceledWhileIdle(t *testing.T) {
	gone := make(chan struct{})
	server := startServer(t, func(_ string, s grpc.ServerStream) error {
		_ = send(s, []byte("hello"))
		<-s.Context().Done()
		close(gone)
		return nil
	})
	ctx, cancel := context.WithCancel(testContext(t))
	s, err := server.conn(t).Stream(ctx, "/t.S/Idle")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-gone
	if _, err := s.Recv(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestStreamEnds(t *testing.T) {
	gone := make(chan struct{}, 1)
	server := startServer(t, func(method string, s grpc.ServerStream) error {
		if method == "/t.S/Refuse" {
			return status.Error(codes.NotFound, "no such node")
		}
		if method == "/t.S/Quit" {
			receive(t, s)
			return nil
		}
		<-s.Context().Done()
		gone <- struct{}{}
		return nil
	})
	c := server.conn(t)

	ctx, cancel := context.WithCancelCause(testContext(t))
	s, err := c.Stream(ctx, "/t.S/Wait")
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("enough")
	received := make(chan error, 1)
	go func() {
		_, err := s.Recv()
		received <- err
	}()
	if err := s.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	cancel(why)
	if err := <-received; !errors.Is(err, why) {
		t.Errorf("receiving after cancel: %v", err)
	}
	<-gone // the server was told
	if err := s.Send([]byte("x")); !errors.Is(err, why) {
		t.Errorf("sending after cancel: %v", err)
	}

	if s, err = c.Stream(testContext(t), "/t.S/Refuse"); err != nil {
		t.Fatal(err)
	}
	var refused *Status
	if _, err := s.Recv(); !errors.As(err, &refused) || refused.Code != NotFound || refused.Message != "no such node" {
		t.Errorf("refused: %v", err)
	}
	for err == nil { // the first may be under way already
		err = s.Send(make([]byte, 1<<10))
	}
	if !errors.As(err, &refused) && err != io.EOF {
		t.Errorf("sending into a refused call: %v", err)
	}

	if s, err = c.Stream(testContext(t), "/t.S/Quit"); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("the server ended with OK: %v", err)
	}
	if n := server.dials.Load(); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
}

func TestManyStreamsOneConnection(t *testing.T) {
	server := startServer(t, func(_ string, s grpc.ServerStream) error {
		return send(s, receive(t, s))
	})
	c := server.conn(t)
	const calls = 50
	results := make(chan error, calls)
	for i := range calls {
		go func() {
			want := strings.Repeat(string(rune('a'+i%26)), 3000)
			reply, err := c.Invoke(testContext(t), "/t.S/Echo", []byte(want))
			if err == nil && string(reply) != want {
				err = errors.New("another call's reply")
			}
			results <- err
		}()
	}
	for range calls {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := server.dials.Load(); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
}

func TestConnectAgain(t *testing.T) {
	server := startServer(t, func(_ string, s grpc.ServerStream) error { return send(s, []byte("x")) })
	var last net.Conn
	c := NewConn(func(ctx context.Context) (net.Conn, error) {
		var err error
		last, err = server.dial(ctx)
		return last, err
	})
	if _, err := c.Invoke(testContext(t), "/t.S/Do", nil); err != nil {
		t.Fatal(err)
	}
	_ = last.Close()
	<-c.current.Load().conn.ended
	ctx := testContext(t)
	if _, err := c.Invoke(ctx, "/t.S/Do", nil); err != nil {
		t.Errorf("on a new connection: %v", err)
	}
	if n := server.dials.Load(); n != 2 {
		t.Errorf("%d connections, want two", n)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Invoke(testContext(t), "/t.S/Do", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestDialError(t *testing.T) {
	boom := errors.New("no route")
	c := NewConn(func(context.Context) (net.Conn, error) { return nil, boom })
	if _, err := c.Invoke(testContext(t), "/t.S/Do", nil); !errors.Is(err, boom) {
		t.Error(err)
	}
	if _, err := c.Stream(testContext(t), "/t.S/Do"); !errors.Is(err, boom) {
		t.Error(err)
	}
	// One that waits for another's dial gives up with its own context.
	hold, entered := make(chan struct{}), make(chan struct{})
	c = NewConn(func(context.Context) (net.Conn, error) {
		close(entered)
		<-hold
		return nil, boom
	})
	first := make(chan error, 1)
	go func() { first <- c.Connect(testContext(t)) }()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Connect(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(hold)
	if err := <-first; !errors.Is(err, boom) {
		t.Error(err)
	}
}

func TestDeadlineHeader(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1:                      "1m",
		1:                       "1m",
		1500 * time.Microsecond: "2m",
		30 * time.Second:        "30001m",
		99999998 * 1e6:          "99999999m",
		100000 * time.Second:    "100001S",
		1<<63 - 1:               "99999999S",
	} {
		if got := deadlineHeader(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// A connection that may have died is replaced; what is under way on it goes on, and then
// it is closed.
func TestRenew(t *testing.T) {
	server := startServer(t, func(_ string, s grpc.ServerStream) error {
		for {
			var b []byte
			if err := s.RecvMsg(&b); err != nil {
				return nil
			}
			_ = send(s, b)
		}
	})
	var conns []net.Conn
	c := NewConn(func(ctx context.Context) (net.Conn, error) {
		conn, err := server.dial(ctx)
		conns = append(conns, conn)
		return conn, err
	})
	t.Cleanup(func() { _ = c.Close() })
	talk := func(s *Stream) {
		t.Helper()
		if err := s.Send([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if b, err := s.Recv(); err != nil || string(b) != "x" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	ctx, cancel := context.WithCancel(testContext(t))
	first, err := c.Stream(ctx, "/t.S/Chat")
	if err != nil {
		t.Fatal(err)
	}
	talk(first)
	c.Renew(time.Hour) // it is younger
	second, err := c.Stream(testContext(t), "/t.S/Chat")
	if err != nil {
		t.Fatal(err)
	}
	talk(second)
	if len(conns) != 1 {
		t.Fatalf("%d connections before it was renewed", len(conns))
	}
	c.Renew(0)
	third, err := c.Stream(testContext(t), "/t.S/Chat")
	if err != nil {
		t.Fatal(err)
	}
	talk(third)
	talk(first)
	talk(second)
	if len(conns) != 2 {
		t.Errorf("%d connections after it was renewed", len(conns))
	}
	c.mu.Lock()
	old := c.older[0]
	c.mu.Unlock()
	cancel()
	if err := second.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	select {
	case <-old.conn.ended:
	case <-testContext(t).Done():
		t.Error("the old connection is still there")
	}
	talk(third)
}
