package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// webFor14 is a web server behind a load balancer. It answers a WebSocket with
// an answer that says no, and knows the form of 14.x: what comes goes to serve.
func webFor14(t *testing.T, ca *authority, no string, serve func(net.Conn)) *peer {
	return startTLS(t, serverConfig(t, ca), func(conn *tls.Conn) {
		r := bufio.NewReader(conn)
		req, err := readRequest(r)
		if err != nil {
			return
		}
		headers := strings.Join(req.headers, "\n")
		if strings.Contains(headers, "Upgrade: websocket") {
			_, _ = io.WriteString(conn, no)
			return
		}
		if req.line != "GET /webapi/connectionupgrade HTTP/1.1" || !strings.Contains(headers, "Connection: Upgrade") ||
			!strings.Contains(headers, "\nUpgrade: alpn-ping") || !strings.Contains(headers, "X-Teleport-Upgrade: alpn-ping") {
			t.Errorf("asked for %+v", req)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: alpn-ping\r\nConnection: Upgrade\r\n\r\n\x00\x00\x00\x00")
		serve(&packetConn{Conn: conn, r: r})
	})
}

const no404 = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

// case N21: a server of 14.x is asked in its own form, chosen by its answer.
func TestUpgradeFallsBackToOldForm(t *testing.T) {
	web, cluster := newAuthority(t, "web"), newAuthority(t, "example.com")
	inner := clusterServer(t, cluster)
	for _, no := range []string{no404, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n"} {
		p := webFor14(t, web, no, func(conn net.Conn) {
			secured := tls.Server(conn, inner)
			_, _ = io.Copy(secured, secured)
			_ = secured.Close()
		})
		conn, err := DialAuth(testContext(t), Config{WebAddr: p.addr, TLSRouting: true, ConnUpgrade: true, RootCAs: web.pool(),
			TLS: clientIdentity(t, cluster, nil), Cluster: "example.com"})
		if err != nil {
			t.Errorf("%.20q: %v", no, err)
			continue
		}
		data := bytes.Repeat([]byte("0123456789abcdef"), 20000)
		go func() { _, _ = conn.Write(data) }()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) || p.conns.Load() != 2 {
			t.Errorf("%.20q: the bytes came back wrong: %v, %d connections", no, err, p.conns.Load())
		}
		_ = conn.Close()
	}
}

// case N21: what stands between and says no is not asked again, and nothing is
// ever sent without the TLS of the cluster inside.
func TestUpgradeDoesNotFallBack(t *testing.T) {
	web, cluster := newAuthority(t, "web"), newAuthority(t, "example.com")
	cfg := Config{TLSRouting: true, ConnUpgrade: true, RootCAs: web.pool(), TLS: clientIdentity(t, cluster, nil), Cluster: "example.com"}
	for no, conns := range map[string]int32{
		"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>": 1,
		"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>":   1,
		"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n":         1,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n":  1,
		"garbage\r\n\r\n": 1,
	} {
		p := webFor14(t, web, no, func(net.Conn) { t.Error("the old form was tried") })
		cfg.WebAddr = p.addr
		if _, err := DialAuth(testContext(t), cfg); err == nil || p.conns.Load() != conns {
			t.Errorf("%.40q: %v, %d connections", no, err, p.conns.Load())
		}
	}
	// Neither form: both are named.
	neither := startTLS(t, serverConfig(t, web), func(conn *tls.Conn) {
		if _, err := readRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, no404)
		}
	})
	cfg.WebAddr = neither.addr
	if _, err := DialAuth(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), "does not have it") || !strings.Contains(err.Error(), "in the form of 14.x") {
		t.Errorf("neither: %v", err)
	}
	for answer, want := range map[string]string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: alpn\r\n\r\n":      `changes to "alpn"`,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n": `changes to "websocket"`,
		"HTTP/1.1 101 S\r\nX: " + strings.Repeat("a", 1<<20):             "EOF",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                   `"200 OK"`,
		"": "EOF",
	} {
		near, far := net.Pipe()
		go func() {
			if _, err := readRequest(bufio.NewReader(far)); err == nil {
				_, _ = io.WriteString(far, answer)
			}
			_ = far.Close()
		}()
		if _, err := upgradeOld(testContext(t), near, "proxy.test:443", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", answer, err)
		}
		_ = near.Close()
	}
}

func TestPackets(t *testing.T) {
	for _, tt := range []struct {
		name, input, want string
		err               error
	}{
		{"one stream", "\x00\x00\x00\x01a\x00\x00\x00\x02bc", "abc", io.EOF},
		{"pings between", "\x00\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01b", "ab", io.EOF},
		{"end in a packet", "\x00\x00\x00\x05ab", "ab", io.ErrUnexpectedEOF},
		{"end in a length", "\x00\x00", "", io.ErrUnexpectedEOF},
		{"four gigabytes", "\xff\xff\xff\xffabc", "abc", io.ErrUnexpectedEOF},
	} {
		c := &packetConn{Conn: new(sink), r: bufio.NewReader(strings.NewReader(tt.input))}
		var got []byte
		var err error
		for buf := make([]byte, 1); err == nil; {
			var n int
			n, err = c.Read(buf)
			got = append(got, buf[:n]...)
		}
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	s := new(sink)
	c := &packetConn{Conn: s}
	for _, p := range []string{"abc", "", "d"} {
		if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
			t.Errorf("%q: %d, %v", p, n, err)
		}
	}
	if s.String() != "\x00\x00\x00\x03abc\x00\x00\x00\x01d" {
		t.Errorf("sent %q", s.String())
	}
}
