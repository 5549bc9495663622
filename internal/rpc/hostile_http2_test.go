package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// unlogged keeps what net/http says of a hostile peer out of the tests' output; tsh shows
// it with --debug alone.
func unlogged(t testing.TB) {
	log.SetOutput(io.Discard)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
}

func TestHostileHTTP2(t *testing.T) {
	unlogged(t)
	many := func(n int, write func() error) {
		for range n {
			if write() != nil {
				return
			}
		}
	}
	settings := func(all ...http2.Setting) func(*peer, uint32) {
		return func(p *peer, s uint32) { _ = p.WriteSettings(all...); p.good(s) }
	}
	raw := func(kind http2.FrameType, flags http2.Flags, stream uint32, size int) func(*peer, uint32) {
		return func(p *peer, s uint32) {
			_ = p.WriteRawFrame(kind, flags, stream*s, bytes.Repeat([]byte{0xff}, size))
			p.good(s)
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
		{"MAX_FRAME_SIZE below the least", settings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<14 - 1}), false},
		{"ENABLE_PUSH of two", settings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}), false},
		{"INITIAL_WINDOW_SIZE of 2^31", settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}), false},
		{"settings of five bytes", raw(http2.FrameSettings, 0, 0, 5), false},
		{"settings of a stream", raw(http2.FrameSettings, 0, 1, 0), false},
		{"an acknowledgement with settings", raw(http2.FrameSettings, http2.FlagSettingsAck, 0, 6), false},
		{"settings that mean nothing", settings(http2.Setting{ID: 0xffff, Val: 7}, http2.Setting{ID: 0, Val: 1}), true},
		{"a table of 4 GiB", settings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 1<<32 - 1}), true},
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
		{"PRIORITY flood", func(p *peer, s uint32) {
			many(10000, func() error { return p.WritePriority(s+2, http2.PriorityParam{StreamDep: s}) })
			p.good(s)
		}, true},
		{"flood of unknown frames", func(p *peer, s uint32) {
			many(10000, func() error { return p.WriteRawFrame(0xbe, 0xff, s, make([]byte, 100)) })
			p.good(s)
		}, true},
		{"flood of empty data", func(p *peer, s uint32) {
			p.begin(s)
			many(10000, func() error { return p.WriteData(s, false, nil) })
			_ = p.WriteData(s, false, []byte{0, 0, 0, 0, 2, 'o', 'k'})
			p.trailers(s, "grpc-status", "0")
		}, true},
		{"flood of informational answers", func(p *peer, s uint32) {
			block := p.headers(":status", "103", "x-a", strings.Repeat("a", 1000))
			many(10000, func() error {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, EndHeaders: true, BlockFragment: block})
			})
		}, false},
		{"a stream of the server's", func(p *peer, s uint32) { p.begin(s + 1); p.good(s) }, true},
		{"a stream answered again", func(p *peer, s uint32) { p.good(s); p.good(s) }, true},
		{"a stream begun twice", func(p *peer, s uint32) { p.begin(s); p.good(s) }, false},
		{"CONTINUATION of nothing", func(p *peer, s uint32) { _ = p.WriteContinuation(s, true, p.headers("x-a", "b")) }, false},
		{"data between the headers", func(p *peer, s uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: p.headers(":status", "200")})
			_ = p.WriteRawFrame(http2.FrameData, 0, s, []byte("x"))
		}, false},
		{"headers that are no headers", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 500), false},
		{"padding beyond the frame", func(p *peer, s uint32) {
			_ = p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, s, []byte{0xff, 0x88})
		}, false},
		{"GOAWAY again, with a higher stream", func(p *peer, s uint32) {
			_ = p.WriteGoAway(s, http2.ErrCodeNo, nil)
			_ = p.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
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

// case N08: who floods us with what wants an answer, and reads none, waits for us as we
// wait for it: nothing is queued, and the caller's context ends the call.
func TestFloodWithoutReading(t *testing.T) {
	for name, ask := range map[string]func(*peer) error{
		"PING":          func(p *peer) error { return p.WritePing(false, [8]byte{}) },
		"SETTINGS":      func(p *peer) error { return p.WriteSettings() },
		"unknown RST":   func(p *peer) error { return p.WriteRSTStream(99, http2.ErrCodeCancel) },
		"window update": func(p *peer) error { return p.WriteWindowUpdate(99, 1) },
	} {
		flooding := make(chan struct{})
		c := startPeer(t, func(p *peer, _ uint32) {
			defer close(flooding)
			// Small buffers on this side, and a limit where nobody takes it any more.
			_ = p.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			for range 1 << 17 {
				if _ = p.conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); ask(p) != nil {
					return
				}
			}
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		ctx, cancel := context.WithCancel(testContext(t))
		ended := make(chan error, 1)
		go func() {
			_, err := c.Invoke(ctx, "/t.S/Do", nil)
			ended <- err
		}()
		<-flooding
		runtime.GC()
		runtime.ReadMemStats(&after)
		if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 4<<20 {
			t.Errorf("%s: %d KiB are kept", name, kept>>10)
		}
		cancel()
		if err := <-ended; err == nil {
			t.Errorf("%s: the call succeeded", name)
		}
		_ = c.Close()
	}
}

// case N07: what a peer allows before the first request.
func TestSettingsBeforeTheCall(t *testing.T) {
	for name, tt := range map[string]struct {
		settings []http2.Setting
		ends     error // nil: any but the caller's patience
	}{
		"frames of no byte":   {[]http2.Setting{{ID: http2.SettingMaxFrameSize, Val: 0}}, nil},
		"no streams":          {[]http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, context.DeadlineExceeded},
		"a window of nothing": {[]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, context.DeadlineExceeded},
	} {
		c := startPeerWith(t, tt.settings, func(*peer, uint32) {})
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		if tt.ends == nil {
			cancel()
			ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
		}
		// More than fits a frame: a client that cuts it into frames of no byte never ends.
		_, err := c.Invoke(ctx, "/t.S/Do", make([]byte, 100<<10))
		cancel()
		if err == nil || tt.ends != nil && !errors.Is(err, tt.ends) || tt.ends == nil && errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		_ = c.Close()
	}
}
