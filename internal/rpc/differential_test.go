package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/internal/text"
)

// script is an answer that a server may give, sensible or not.
type script struct {
	httpStatus, contentType, encoding string
	body                              []byte
	cuts                              uint64 // where the frames of the body begin
	status, message                   string // empty leaves the field out
	headersOnly                       bool   // the status comes with the headers, and nothing after
}

func (s *script) give(p *peer, stream uint32) {
	fields := func(pairs ...string) (kept []string) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				kept = append(kept, pairs[i], pairs[i+1])
			}
		}
		return kept
	}
	first := fields(":status", s.httpStatus, "content-type", s.contentType, "grpc-encoding", s.encoding)
	last := fields("grpc-status", s.status, "grpc-message", s.message)
	if s.headersOnly {
		p.trailers(stream, append(first, last...)...)
		return
	}
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, BlockFragment: p.headers(first...)})
	random := rand.New(rand.NewPCG(s.cuts, 0))
	for rest := s.body; len(rest) > 0; {
		n := min(random.IntN(9), len(rest)) // none at all is a frame, too
		_ = p.WriteData(stream, false, rest[:n])
		rest = rest[n:]
	}
	p.trailers(stream, last...)
}

// both are our client and the real library's, before one server.
type both struct {
	answer atomic.Pointer[script]
	ours   *Conn
	theirs *grpc.ClientConn
}

func startBoth(t testing.TB) *both {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := new(both)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(conn)
		}
	}()
	b.ours = NewConn(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	})
	at := backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1, MaxDelay: time.Millisecond}
	b.theirs, err = grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: at}), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.WaitForReady(true)), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.ours.Close()
		_ = b.theirs.Close()
		_ = l.Close()
	})
	return b
}

func (b *both) serve(conn net.Conn) {
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
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = p.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = p.WritePing(true, f.Data)
		case *http2.DataFrame:
			_ = p.WriteWindowUpdate(0, f.Length+1)
		case *http2.HeadersFrame:
			b.answer.Load().give(p, f.StreamID)
		}
	}
}

// outcome is how a call ended.
type outcome struct {
	reply   []byte
	code    Code // of an error that is a status; -1 of another
	message string
	err     error
}

func (b *both) call(ctx context.Context, s *script) (ours, theirs outcome) {
	b.answer.Store(s)
	ours.reply, ours.err = b.ours.Invoke(ctx, "/t.S/Do", []byte("x"))
	if said := new(Status); errors.As(ours.err, &said) {
		ours.code, ours.message = said.Code, said.Message
	} else if ours.err != nil {
		ours.code = -1
	}
	request := []byte("x")
	theirs.err = b.theirs.Invoke(ctx, "/t.S/Do", &request, &theirs.reply)
	theirs.code, theirs.message = Code(status.Code(theirs.err)), status.Convert(theirs.err).Message()
	return ours, theirs
}

// plain is what both read as one status; what signs and leading zeros mean is left to each.
var plain = regexp.MustCompile(`^(0|[1-9]|1[0-6])$`)

// disagreement compares what became of one answer.
func (b *both) disagreement(s *script) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ours, theirs := b.call(ctx, s)
	differ := func(what string) string {
		return fmt.Sprintf("%s: ours %q %d %q (%v); theirs %q %d %q (%v)", what, ours.reply, ours.code, ours.message, ours.err,
			theirs.reply, theirs.code, theirs.message, theirs.err)
	}
	if ctx.Err() != nil {
		return differ("a wait without end")
	}
	if ours.err != nil && (len(ours.err.Error()) > 4*maxMessageText || text.Block(ours.err.Error(), 1<<10) != ours.err.Error()) {
		return differ("a text that is not fit to print")
	}
	if !plain.MatchString(s.status) {
		return ""
	}
	if ours.err != nil && theirs.err == nil && s.httpStatus != "200" {
		return "" // it does not look at what HTTP says, and we do
	}
	if (ours.err == nil) != (theirs.err == nil) || !bytes.Equal(ours.reply, theirs.reply) && ours.err == nil {
		return differ("whether it worked")
	}
	said := s.httpStatus == "200" && s.contentType == "application/grpc" && len(s.body) == 0 && s.status != "0" &&
		httpguts.ValidHeaderFieldValue(s.encoding) && httpguts.ValidHeaderFieldValue(s.message)
	if said && (ours.code != theirs.code || ours.message != cut(text.Clean(theirs.message))) {
		return differ("what the server said")
	}
	return ""
}

func seeds() []*script {
	const kind = "application/grpc"
	ok := []byte{0, 0, 0, 0, 2, 'o', 'k'}
	return []*script{
		{"200", kind, "", ok, 1, "0", "", false},
		{"200", kind, "", nil, 0, "5", "role nope is not found", true},
		{"200", kind, "", nil, 0, "7", "a %1b[2J%0a%e2%80%ae%ff%zz% b", false},
		{"200", kind + "+proto", "identity", ok, 2, "0", "", false},
		{"200", kind + "-web", "", ok, 3, "0", "", false},
		{"200", "text/html", "", []byte("<html>"), 0, "", "", false},
		{"502", "text/html", "", nil, 0, "", "", true},
		{"404", kind, "", nil, 0, "0", "", true},
		{"200", kind, "gzip", []byte{1, 0, 0, 0, 2, 'o', 'k'}, 4, "0", "", false},
		{"200", kind, "gzip", ok, 5, "0", "", false},
		{"200", kind, "", []byte{2, 0, 0, 0, 0}, 5, "0", "", false},
		{"200", kind, "", append(ok, ok...), 6, "0", "", false},
		{"200", kind, "", []byte{0, 0xff, 0xff, 0xff, 0xff}, 6, "0", "", false},
		{"200", kind, "", []byte{0, 0, 0, 0, 9, 'x'}, 7, "0", "", false},
		{"200", kind, "", []byte{0, 0, 0}, 8, "14", "going down", false},
		{"200", kind, "", nil, 0, "0", "", true},
		{"200", kind, "", []byte{0, 0, 0, 0, 0}, 9, "0", "", false},
		{"200", kind, "", ok, 9, "4294967296", "", false},
		{"200", kind, "", nil, 0, "2", strings.Repeat("é", 2000), true},
		{"100", kind, "", ok, 9, "0", "", false},
		{"x", kind, "", ok, 9, "0", "", false},
		{"200", kind, "a\nb", ok, 9, "0", "\x1b", false},
	}
}

// case N09, case N10, case N20: what our client makes of an answer is what the real
// library makes of it.
func TestAnswersAsTheLibraryReadsThem(t *testing.T) {
	unlogged(t)
	b := startBoth(t)
	for _, s := range seeds() {
		if d := b.disagreement(s); d != "" {
			t.Errorf("%+v: %s", s, d)
		}
	}
}

// FuzzAnswers does so with any answer.
func FuzzAnswers(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s.httpStatus, s.contentType, s.encoding, s.body, s.cuts, s.status, s.message, s.headersOnly)
	}
	unlogged(f)
	b := startBoth(f)
	f.Fuzz(func(t *testing.T, httpStatus, contentType, encoding string, body []byte, cuts uint64, status, message string, headersOnly bool) {
		s := &script{httpStatus, contentType, encoding, body, cuts, status, message, headersOnly}
		if d := b.disagreement(s); d != "" {
			t.Fatalf("%+v: %s", s, d)
		}
	})
}

// FuzzEcho sends messages of any size to the real library's server, which sends each back
// and ends with a status.
func FuzzEcho(f *testing.F) {
	f.Add([]byte("some messages of some bytes"), uint64(1), uint32(0), "")
	f.Add(bytes.Repeat([]byte("0123456789"), 5000), uint64(2), uint32(13), "no \x1b\n% é")
	f.Add([]byte{}, uint64(3), uint32(99), "\xff")
	type end struct {
		code uint32
		text string
	}
	ends := make(chan end, 1)
	server := startServer(f, func(_ string, s grpc.ServerStream) error {
		for {
			var b []byte
			if err := s.RecvMsg(&b); err != nil {
				e := <-ends
				return status.Error(codes.Code(e.code), e.text)
			}
			if err := send(s, b); err != nil {
				return err
			}
		}
	})
	c := server.conn(f)
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, code uint32, said string) {
		code %= 100
		ends <- end{code, said}
		s, err := c.Stream(testContext(t), "/t.S/Echo")
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(cuts, 0))
		for rest := data; ; {
			n := min(random.IntN(2+len(data)/3), len(rest))
			if err := s.Send(rest[:n]); err != nil {
				t.Fatal(err)
			}
			if back, err := s.Recv(); err != nil || !bytes.Equal(back, rest[:n]) {
				t.Fatalf("%d bytes came back as %d, %v", n, len(back), err)
			}
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		_, err = s.Recv()
		if code == 0 && err == io.EOF {
			return
		}
		var got *Status
		if !errors.As(err, &got) || uint32(got.Code) != code || got.Message != cut(text.Clean(string([]rune(said)))) {
			t.Fatalf("status %d %q came as %v", code, said, err)
		}
	})
}

// What a real cluster has refused calls with, sent by the real library's server, is read
// as the words that the reference client printed.
func TestCapturedErrors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "wire", "testdata", "grpc", "*.error.txt"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	numbers := map[string]codes.Code{"InvalidArgument": codes.InvalidArgument, "NotFound": codes.NotFound}
	for _, path := range files {
		words, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`^rpc error: code = (\w+) desc = (.*)\n?$`).FindStringSubmatch(string(words))
		if m == nil || numbers[m[1]] == 0 {
			t.Fatalf("%s: %q", path, words)
		}
		server := startServer(t, func(string, grpc.ServerStream) error { return status.Error(numbers[m[1]], m[2]) })
		_, err = server.conn(t).Invoke(testContext(t), "/t.S/Do", nil)
		if got := new(Status); !errors.As(err, &got) || *got != (Status{Code(numbers[m[1]]), m[2]}) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
