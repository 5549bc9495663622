package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is the other end of an HTTP/2 connection, frame by frame.
type peer struct {
	*http2.Framer
	conn net.Conn
	hbuf bytes.Buffer
	henc *hpack.Encoder
}

// headers encodes a header block from pairs.
func (p *peer) headers(pairs ...string) []byte {
	p.hbuf.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = p.henc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(p.hbuf.Bytes())
}

func (p *peer) begin(stream uint32) {
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true,
		BlockFragment: p.headers(":status", "200", "content-type", "application/grpc")})
}

func (p *peer) trailers(stream uint32, pairs ...string) {
	const most = 16 << 10
	block := p.headers(pairs...)
	first := block[:min(len(block), most)]
	block = block[len(first):]
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: len(block) == 0, EndStream: true, BlockFragment: first})
	for len(block) > 0 {
		part := block[:min(len(block), most)]
		block = block[len(part):]
		_ = p.WriteContinuation(stream, len(block) == 0, part)
	}
}

// good answers a call as it should be.
func (p *peer) good(stream uint32) {
	p.begin(stream)
	_ = p.WriteData(stream, false, []byte{0, 0, 0, 0, 2, 'o', 'k'})
	p.trailers(stream, "grpc-status", "0")
}

// startPeer serves every connection with what misbehave does once a call has
// come in; then it reads on until the client hangs up.
func startPeer(t *testing.T, misbehave func(p *peer, stream uint32)) *Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			servePeer(conn, misbehave)
		}
	}()
	c := NewConn(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	})
	t.Cleanup(func() {
		_ = c.Close()
		_ = l.Close()
		<-done
	})
	return c
}

func servePeer(conn net.Conn, misbehave func(p *peer, stream uint32)) {
	defer func() { _ = conn.Close() }()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	p := &peer{Framer: http2.NewFramer(conn, conn), conn: conn}
	p.henc = hpack.NewEncoder(&p.hbuf)
	_ = p.WriteSettings()
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return
		}
		if h, ok := f.(*http2.HeadersFrame); ok {
			misbehave(p, h.StreamID)
		}
	}
}

func TestHostileHTTP2(t *testing.T) {
	many := func(n int, write func() error) {
		for range n {
			if write() != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name      string
		misbehave func(p *peer, stream uint32)
		ok        bool // the call succeeds all the same
	}{
		{"an honest peer", func(p *peer, s uint32) { p.good(s) }, true},
		// case N07
		{"MAX_FRAME_SIZE of zero", func(p *peer, s uint32) {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
			p.good(s)
		}, false},
		{"MAX_FRAME_SIZE of 2^32-1", func(p *peer, s uint32) {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<32 - 1})
		}, false},
		// case N08
		{"CONTINUATION flood", func(p *peer, s uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: p.headers(":status", "200")})
			block := p.headers("x-a", strings.Repeat("a", 1000))
			many(10000, func() error { return p.WriteContinuation(s, false, block) })
		}, false},
		{"empty CONTINUATION flood", func(p *peer, s uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: p.headers(":status", "200")})
			many(100000, func() error { return p.WriteContinuation(s, false, nil) })
			_ = p.conn.Close()
		}, false},
		{"header bomb", func(p *peer, s uint32) {
			// A field that the table holds costs one byte each time.
			block := p.headers(":status", "200", "x-a", strings.Repeat("a", 4000))
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, EndHeaders: true,
				BlockFragment: append(block, bytes.Repeat([]byte{0xbe}, 10000)...)})
			p.trailers(s, "grpc-status", "0")
		}, false},
		{"PING flood", func(p *peer, s uint32) {
			many(10000, func() error { return p.WritePing(false, [8]byte{}) })
			p.good(s)
		}, true},
		{"SETTINGS flood", func(p *peer, s uint32) {
			many(10000, func() error { return p.WriteSettings() })
			p.good(s)
		}, true},
		{"window overflow", func(p *peer, s uint32) {
			many(3, func() error { return p.WriteWindowUpdate(0, 1<<31-1) })
		}, false},
		{"window update of zero", func(p *peer, s uint32) { _ = p.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4)) }, false},
		{"a stream that nobody opened", func(p *peer, s uint32) { p.begin(s + 2); p.good(s) }, true},
		{"data before headers", func(p *peer, s uint32) { _ = p.WriteData(s, false, []byte("x")) }, false},
		{"push promise", func(p *peer, s uint32) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: s, PromiseID: 2, EndHeaders: true, BlockFragment: p.headers(":method", "GET")})
		}, false},
		{"data beyond the window", func(p *peer, s uint32) {
			p.begin(s)
			many(1000, func() error { return p.WriteData(s, false, make([]byte, 16<<10)) })
		}, false},
		{"frame of 16 MiB", func(p *peer, s uint32) { _, _ = p.conn.Write([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, byte(s)}) }, false},
		{"GOAWAY that denies the stream", func(p *peer, s uint32) { _ = p.WriteGoAway(0, http2.ErrCodeNo, nil); _ = p.conn.Close() }, false},
		{"GOAWAY with a story", func(p *peer, s uint32) {
			_ = p.WriteGoAway(s, http2.ErrCodeEnhanceYourCalm, []byte("\x1b[2J\n"+strings.Repeat("a", 10000)))
			_ = p.conn.Close()
		}, false},
		{"RST_STREAM", func(p *peer, s uint32) { _ = p.WriteRSTStream(s, http2.ErrCodeInternal) }, false},
		{"RST_STREAM in the answer", func(p *peer, s uint32) { p.begin(s); _ = p.WriteRSTStream(s, http2.ErrCodeCancel) }, false},
		{"hangs up", func(p *peer, s uint32) { _ = p.conn.Close() }, false},
		{"speaks HTTP/1.1", func(p *peer, s uint32) { _, _ = io.WriteString(p.conn, "HTTP/1.1 400 Bad Request\r\n\r\n") }, false},
		{"data after the end", func(p *peer, s uint32) { p.good(s); _ = p.WriteData(s, true, []byte("more")) }, true},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c := startPeer(t, tt.misbehave)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		reply, err := c.Invoke(ctx, "/t.S/Do", []byte("x"))
		cancel()
		if ok := err == nil && string(reply) == "ok"; ok != tt.ok || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %q, %v", tt.name, reply, err)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 2<<10) {
			t.Errorf("%s: %.300q", tt.name, err)
		}
		_ = c.Close()
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
			t.Errorf("%s: allocated %d MiB", tt.name, grown>>20)
		}
	}
}

// case N08: net/http of Go 1.26 locks itself up when the window of a stream
// overflows. The caller's context and Close must work all the same.
func TestStandstill(t *testing.T) {
	for name, before := range map[string]func(*peer, uint32){
		"no headers":        func(*peer, uint32) {},
		"headers":           func(p *peer, s uint32) { p.begin(s) },
		"part of a message": func(p *peer, s uint32) { p.begin(s); _ = p.WriteData(s, false, []byte{0, 0, 0, 0, 9, 'x'}) },
	} {
		c := startPeer(t, func(p *peer, s uint32) {
			before(p, s)
			for range 3 {
				_ = p.WriteWindowUpdate(s, 1<<31-1)
			}
		})
		for range 2 {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			if _, err := c.Invoke(ctx, "/t.S/Do", nil); err == nil {
				t.Errorf("%s: the call succeeded", name)
			}
			s, err := c.Stream(ctx, "/t.S/Do")
			if err == nil {
				_, err = s.Recv()
			}
			if err == nil {
				t.Errorf("%s: the stream succeeded", name)
			}
			cancel()
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// case N08: a connection that is going away takes no more calls, and another
// one is made for them.
func TestGoAway(t *testing.T) {
	calls := 0
	c := startPeer(t, func(p *peer, s uint32) {
		calls++
		_ = p.WriteGoAway(s, http2.ErrCodeNo, nil)
		p.good(s)
	})
	for i := range 3 {
		if reply, err := c.Invoke(testContext(t), "/t.S/Do", nil); err != nil || string(reply) != "ok" {
			t.Errorf("call %d: %q, %v", i, reply, err)
		}
	}
}

func TestHostileGRPC(t *testing.T) {
	data := func(b ...byte) func(*peer, uint32) {
		return func(p *peer, s uint32) {
			p.begin(s)
			_ = p.WriteData(s, false, b)
			p.trailers(s, "grpc-status", "0")
		}
	}
	answer := func(pairs ...string) func(*peer, uint32) {
		return func(p *peer, s uint32) { p.trailers(s, pairs...) }
	}
	for _, tt := range []struct {
		name      string
		misbehave func(p *peer, stream uint32)
		code      Code
		text      string
	}{
		// case N09
		{"4 GiB announced", data(0, 0xff, 0xff, 0xff, 0xff), ResourceExhausted, "4294967295 bytes"},
		{"a byte more than the limit", data(0, 0, 0x40, 0, 1), ResourceExhausted, "4194305 bytes"},
		{"compressed", data(1, 0, 0, 0, 1, 'x'), Internal, "compressed"},
		{"flag 255", data(255, 0, 0, 0, 0), Internal, "compressed"},
		{"cut in the prefix", data(0, 0, 0), Internal, "middle of a message"},
		{"cut in the message", data(0, 0, 0, 0, 9, 'x'), Internal, "middle of a message"},
		{"no message", data(), Internal, "no message"},
		{"headers alone, OK", answer(":status", "200", "content-type", "application/grpc", "grpc-status", "0"), Internal, "no message"},
		{"headers alone, not OK", answer(":status", "200", "content-type", "application/grpc+proto", "grpc-status", "7", "grpc-message", "no"), PermissionDenied, "no"},
		{"no status", answer(":status", "200", "content-type", "application/grpc"), Internal, "without a status"},
		{"status of words", answer(":status", "200", "content-type", "application/grpc", "grpc-status", "fine"), Internal, "fine"},
		{"negative status", answer(":status", "200", "content-type", "application/grpc", "grpc-status", "-1"), Internal, "-1"},
		{"status 99", answer(":status", "200", "content-type", "application/grpc", "grpc-status", "99"), 99, "status 99"},
		{"bad gateway", answer(":status", "502", "content-type", "text/html"), Unavailable, "HTTP status 502"},
		{"not found", answer(":status", "404", "content-type", "application/grpc", "grpc-status", "0"), Unimplemented, "HTTP status 404"},
		{"a web page", answer(":status", "200", "content-type", "text/html"), Unknown, `content type "text/html"`},
		{"grpc-web", answer(":status", "200", "content-type", "application/grpc-web"), Unknown, "not gRPC"},
		{"cut, with a status", func(p *peer, s uint32) {
			p.begin(s)
			_ = p.WriteData(s, false, []byte{0, 0, 0, 0, 9, 'x'})
			p.trailers(s, "grpc-status", "14", "grpc-message", "going down")
		}, Unavailable, "going down"},
		// case N10, case T05: and it starts no line
		{"escapes", answer(":status", "200", "content-type", "application/grpc", "grpc-status", "2", "grpc-message",
			"%1b]0;x%07%0d%0a%e2%80%ae%ff%zz%"), Unknown, `\x1b]0;x\a` + "\n    " + `\u202e\xff%zz%`},
		{"long text", answer(":status", "200", "content-type", "application/grpc", "grpc-status", "2", "grpc-message", strings.Repeat("a", 200<<10)),
			Unknown, strings.Repeat("a", 1021) + "..."},
	} {
		c := startPeer(t, tt.misbehave)
		reply, err := c.Invoke(testContext(t), "/t.S/Do", nil)
		var s *Status
		if !errors.As(err, &s) || s.Code != tt.code || !strings.Contains(s.Error(), tt.text) || len(s.Message) > maxMessageText+3 {
			t.Errorf("%s: %q, %.200v", tt.name, reply, err)
		}
		_ = c.Close()
	}
	// case N10: a megabyte is more than headers may have
	c := startPeer(t, func(p *peer, s uint32) {
		p.trailers(s, ":status", "200", "grpc-status", "2", "grpc-message", strings.Repeat("a", 1<<20))
	})
	if _, err := c.Invoke(testContext(t), "/t.S/Do", nil); err == nil || len(fmt.Sprint(err)) > 2<<10 {
		t.Errorf("a megabyte of text: %.200v", err)
	}
}

// FuzzAnswer reads anything as the body and the status text of an answer.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 'o', 'k'}, "0", "")
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff}, "13", "%1b%")
	f.Add([]byte{}, "x", "%e2%80%ae")
	f.Fuzz(func(t *testing.T, body []byte, code, text string) {
		fuzzAnswer(t, body, code, text)
	})
}

func fuzzAnswer(t *testing.T, body []byte, code, text string) {
	s := answered(bytes.NewReader(body), code, text)
	total := 0
	for {
		message, err := s.Recv()
		if err == nil {
			total += prefixSize + len(message)
			continue
		}
		if total > len(body) {
			t.Fatalf("%d bytes of messages from %d", total, len(body))
		}
		var status *Status
		if errors.As(err, &status) && len(status.Message) > maxMessageText+3 {
			t.Fatalf("%d bytes of text", len(status.Message))
		}
		return
	}
}

// answered is a call whose answer has come.
func answered(body io.Reader, code, text string) *Stream {
	s := &Stream{ctx: context.Background(), header: make(chan struct{}), link: &link{conn: &watchedConn{ended: make(chan struct{})}}}
	s.response = &http.Response{
		Header: http.Header{}, Body: io.NopCloser(body),
		Trailer: http.Header{"Grpc-Status": {code}, "Grpc-Message": {text}},
	}
	close(s.header)
	return s
}
