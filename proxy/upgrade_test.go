package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// upgradingServer is a load balancer that takes ALPN out of TLS, and the proxy
// behind it: a WebSocket whose bytes go to serve. The WebSocket is another
// project's.
func upgradingServer(t *testing.T, ca *authority, serve func(net.Conn)) *httptest.Server {
	s := httptest.NewUnstartedServer(websocket.Server{
		Handshake: func(cfg *websocket.Config, r *http.Request) error {
			if r.URL.Path != "/webapi/connectionupgrade" || !slices.Equal(cfg.Protocol, []string{"alpn-ping"}) {
				t.Errorf("upgrade of %s to %q", r.URL, cfg.Protocol)
			}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			ws.PayloadType = websocket.BinaryFrame
			serve(ws)
		},
	})
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = serverConfig(t, ca)
	s.TLS.NextProtos = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// case N21: connections with a certificate go through the upgrade, and inside
// it the cluster's own authorities count.
func TestConnectionUpgrade(t *testing.T) {
	web, cluster := newAuthority(t, "web"), newAuthority(t, "example.com")
	hello := make(chan []string, 1)
	inner := clusterServer(t, cluster)
	inner.GetConfigForClient = helloTo(hello)
	s := upgradingServer(t, web, func(conn net.Conn) {
		secured := tls.Server(conn, inner)
		_, _ = io.Copy(secured, secured)
		_ = secured.Close()
	})
	cfg := Config{WebAddr: s.Listener.Addr().String(), TLSRouting: true, ConnUpgrade: true, RootCAs: web.pool(),
		TLS: clientIdentity(t, cluster, nil), Cluster: "example.com"}
	conn, err := DialAuth(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := <-hello, []string{"6578616d706c652e636f6d.teleport.cluster.local",
		"teleport-auth@6578616d706c652e636f6d.teleport.cluster.local", "h2"}; !slices.Equal(got, want) {
		t.Errorf("hello %q", got)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	go func() { _, _ = conn.Write(data) }()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the bytes came back wrong: %v", err)
	}
	_ = conn.Close()

	// A web server that is trusted, but not of this cluster, cannot pose as it.
	cfg.TLS = clientIdentity(t, newAuthority(t, "example.com"), nil)
	if _, err := DialAuth(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), "does not prove to belong to cluster example.com") {
		t.Errorf("another cluster's authority: %v", err)
	}
	cfg.RootCAs = cluster.pool()
	var trust *TrustError
	if _, err := DialAuth(testContext(t), cfg); !errors.As(err, &trust) {
		t.Errorf("untrusted web server: %v", err)
	}
}

func TestUpgradeRequest(t *testing.T) {
	want := recorded(t, "webapi-18.3/connection-upgrade.request")
	near, far := net.Pipe()
	sent := make(chan *request, 1)
	go func() {
		req, _ := readRequest(bufio.NewReader(far))
		sent <- req
		_ = far.Close()
	}()
	if _, err := upgrade(testContext(t), near, "proxy.test:443", nil); err == nil {
		t.Error("no answer was taken for one")
	}
	got := <-sent
	for _, r := range []*request{got, want} {
		for i, line := range r.headers {
			if name, key, ok := strings.Cut(line, ": "); ok && strings.EqualFold(name, "Sec-WebSocket-Key") {
				if len(key) != 24 {
					t.Errorf("key %q", key)
				}
				r.headers[i] = name
			}
		}
	}
	checkRequest(t, got, want)
}

// case N21
func TestUpgradeRefused(t *testing.T) {
	const ok = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	for answer, want := range map[string]string{
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":                                                       "does not have it",
		"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>":                    "502",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}":                                                            "200",
		"HTTP/1.1 302 Found\r\nLocation: https://evil.example\r\nContent-Length: 0\r\n\r\n":                         "302",
		ok + "Sec-WebSocket-Protocol: alpn-ping\r\n\r\n":                                                            "Accept",
		ok + "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: alpn-ping\r\n\r\n":                                 "Accept",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: alpn\r\nConnection: Upgrade\r\n\r\n":                          `"alpn"`,
		ok + "Sec-WebSocket-Accept: GOOD\r\n\r\n":                                                                   "subprotocol",
		ok + "Sec-WebSocket-Accept: GOOD\r\nSec-WebSocket-Protocol: alpn\r\n\r\n":                                   "subprotocol",
		ok + "Sec-WebSocket-Accept: GOOD\r\n" + strings.Repeat("Sec-WebSocket-Protocol: alpn-ping\r\n", 2) + "\r\n": "subprotocol",
		"HTTP/1.1 101 S\r\nX: " + strings.Repeat("a", 1<<20):                                                        "EOF",
	} {
		near, far := net.Pipe()
		go func() {
			r, err := http.ReadRequest(bufio.NewReader(far))
			if err == nil {
				text := strings.ReplaceAll(answer, "GOOD", acceptFor(r.Header.Get("Sec-WebSocket-Key")))
				_, _ = io.WriteString(far, text)
			}
			_ = far.Close()
		}()
		if _, err := upgrade(testContext(t), near, "proxy.test:443", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v", answer, err)
		}
		_ = near.Close()
	}
}

// frames is a connection that has received the given frames, in hex.
func frames(t testing.TB, text string) (*webSocket, *sink) {
	data, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	s := new(sink)
	return &webSocket{Conn: s, r: bufio.NewReader(bytes.NewReader(data))}, s
}

// sink is a connection that keeps what is written to it.
type sink struct {
	net.Conn
	bytes.Buffer
}

func (s *sink) Read([]byte) (int, error)         { return 0, io.EOF }
func (s *sink) Write(p []byte) (int, error)      { return s.Buffer.Write(p) }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) Close() error                     { return nil }

func TestWebSocketFrames(t *testing.T) {
	for _, tt := range []struct {
		name, input, want, sent string
		err                     error
	}{
		{"messages are one stream", "8201 61 8202 6263 8200 8201 64 8800", "abcd", "", io.EOF},
		{"continued", "0201 61 0001 62 8001 63 8800", "abc", "", io.EOF},
		{"ping between, answered", "0201 61 8908 74656c65706f7274 8001 62 8802 03e8", "ab", "8a88 00000000 74656c65706f7274", io.EOF},
		{"pong is ignored", "8a00 8201 61 8800", "a", "", io.EOF},
		{"16-bit length", "827e0003 616263 8800", "abc", "", io.EOF},
		{"64-bit length", "827f0000000000000003 616263 8800", "abc", "", io.EOF},
		{"end without close", "8201 61", "a", "", io.EOF},
		{"end in a frame", "8205 6162", "ab", "", io.ErrUnexpectedEOF},
		{"end in a header", "827e00", "", "", io.ErrUnexpectedEOF},
		{"length of 2^63", "827f8000000000000000", "", "", nil},
		{"text", "8101 61", "", "", nil},
		{"masked", "8281 00000000 61", "", "", nil},
		{"reserved bit", "c201 61", "", "", nil},
		{"unknown kind", "8301 61", "", "", nil},
		{"long ping", "897e0100", "", "", nil},
		{"fragmented ping", "0900", "", "", nil},
	} {
		w, s := frames(t, tt.input)
		got, err := io.ReadAll(w)
		if err == nil {
			err = io.EOF
		}
		if string(got) != tt.want || tt.err != nil && !errors.Is(err, tt.err) || tt.err == nil && (err == io.EOF || !strings.Contains(err.Error(), "WebSocket")) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
		if sent := hex.EncodeToString(s.Bytes()); sent != strings.ReplaceAll(tt.sent, " ", "") {
			t.Errorf("%s: sent %s", tt.name, sent)
		}
	}
}

func TestWebSocketWrites(t *testing.T) {
	for n, head := range map[int]string{0: "8280", 125: "82fd", 126: "82fe007e", 65535: "82feffff", 65536: "82ff0000000000010000"} {
		w, s := frames(t, "")
		if sent, err := w.Write(make([]byte, n)); sent != n || err != nil {
			t.Errorf("%d bytes: %d, %v", n, sent, err)
		}
		if got := hex.EncodeToString(s.Bytes()[:len(head)/2]); got != head || s.Len() != len(head)/2+4+n {
			t.Errorf("%d bytes: header %s, %d in all", n, got, s.Len())
		}
	}
}

func FuzzWebSocket(f *testing.F) {
	for _, seed := range []string{"\x82\x01a\x88\x00", "\x89\x08teleport\x82\x7e\x00\x01a", "\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01a", "\x02\x01a\x80\x01b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := new(sink)
		w := &webSocket{Conn: s, r: bufio.NewReader(bytes.NewReader(data))}
		got, _ := io.ReadAll(w)
		if len(got) > len(data) || s.Len() > 4*len(data) {
			t.Fatalf("%d bytes became %d and %d of answers", len(data), len(got), s.Len())
		}
	})
}

// acceptFor is the proof that a server has read the key (RFC 6455, section 1.3).
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
