package rpc

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

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

// bomb sends a hundred megabytes of nothing, compressed, as a message or bare.
func (p *peer) bomb(stream uint32, framed bool) {
	var packed bytes.Buffer
	z, nothing := gzip.NewWriter(&packed), make([]byte, 1<<20)
	for range 100 {
		_, _ = z.Write(nothing)
	}
	_ = z.Close()
	if framed {
		_ = p.WriteData(stream, false, append([]byte{1}, binary.BigEndian.AppendUint32(nil, uint32(packed.Len()))...))
	}
	for rest := packed.Bytes(); len(rest) > 0; {
		n := min(len(rest), 16<<10)
		_ = p.WriteData(stream, false, rest[:n])
		rest = rest[n:]
	}
	p.trailers(stream, "grpc-status", "0")
}

// startPeer serves every connection with what misbehave does once a call has
// come in; then it reads on until the client hangs up.
func startPeer(t *testing.T, misbehave func(p *peer, stream uint32)) *Conn {
	t.Helper()
	return startPeerWith(t, nil, misbehave)
}

func startPeerWith(t *testing.T, settings []http2.Setting, misbehave func(p *peer, stream uint32)) *Conn {
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
			servePeer(conn, settings, misbehave)
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

func servePeer(conn net.Conn, settings []http2.Setting, misbehave func(p *peer, stream uint32)) {
	defer func() { _ = conn.Close() }()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	p := &peer{Framer: http2.NewFramer(conn, conn), conn: conn}
	p.henc = hpack.NewEncoder(&p.hbuf)
	_ = p.WriteSettings(settings...)
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
		// case N20: nothing is ever unpacked, whatever the headers say
		{"gzip, as announced", func(p *peer, s uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, EndHeaders: true,
				BlockFragment: p.headers(":status", "200", "content-type", "application/grpc", "grpc-encoding", "gzip")})
			p.bomb(s, true)
		}, Internal, "compressed"},
		{"gzip of HTTP", func(p *peer, s uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, EndHeaders: true,
				BlockFragment: p.headers(":status", "200", "content-type", "application/grpc", "content-encoding", "gzip")})
			p.bomb(s, false)
		}, Internal, "flag 31"},
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
		var calls atomic.Int32
		c := startPeer(t, func(p *peer, s uint32) {
			calls.Add(1)
			tt.misbehave(p, s)
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		reply, err := c.Invoke(testContext(t), "/t.S/Do", nil)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
			t.Errorf("%s: allocated %d MiB", tt.name, grown>>20)
		}
		var s *Status
		if !errors.As(err, &s) || s.Code != tt.code || !strings.Contains(s.Error(), tt.text) || len(s.Message) > maxMessageText+3 {
			t.Errorf("%s: %q, %.200v", tt.name, reply, err)
		}
		if n := calls.Load(); n != 1 { // what was answered, and be it before it was read, is not asked again
			t.Errorf("%s: %d calls", tt.name, n)
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
