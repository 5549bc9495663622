package devcluster

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// overTLS connects to the web server as a load balancer does: without ALPN.
func (f *fixture) overTLS() net.Conn {
	f.t.Helper()
	conn, err := tls.Dial("tcp", f.Addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	return conn
}

// old upgrades with the form that 14.x knows.
func (f *fixture) old(headers string) (*bufio.Reader, net.Conn, *http.Response) {
	f.t.Helper()
	conn := f.overTLS()
	if _, err := io.WriteString(conn, "GET /webapi/connectionupgrade HTTP/1.1\r\nHost: x\r\n"+headers+"\r\n"); err != nil {
		f.t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return r, conn, answer
}

// inner runs the TLS of a client inside an upgraded connection.
func (f *fixture) inner(conn net.Conn) {
	f.t.Helper()
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpnTunnel}})
	if err := secured.Handshake(); err != nil {
		f.t.Fatal(err)
	}
	if got := secured.ConnectionState().NegotiatedProtocol; got != alpnTunnel {
		f.t.Errorf("negotiated %q inside", got)
	}
}

func TestUpgradeForms(t *testing.T) {
	for version, f := range map[string]*fixture{"18": startCluster(t, nil), "14": start14(t, nil)} {
		for headers, kind := range map[string]string{
			"Connection: Upgrade\r\nUpgrade: alpn\r\n":                             "alpn",
			"Connection: Upgrade\r\nUpgrade: alpn-ping\r\n":                        "alpn-ping",
			"X-Teleport-Upgrade: alpn-ping\r\n":                                    "alpn-ping",
			"Connection: Upgrade\r\nUpgrade: alpn\r\nX-Teleport-Upgrade: alpn\r\n": "alpn",
		} {
			r, conn, answer := f.old(headers)
			if answer.StatusCode != 101 || answer.Header.Get("Upgrade") != kind {
				t.Errorf("%s, %q: %s %v", version, headers, answer.Status, answer.Header)
				continue
			}
			var tunnel net.Conn = &bufferedConn{conn, r}
			if kind == "alpn-ping" {
				tunnel = &packetConn{Conn: tunnel}
			}
			f.inner(tunnel)
		}
		if _, _, answer := f.old(""); answer.StatusCode != 400 {
			t.Errorf("%s: nothing asked for: %s", version, answer.Status)
		}
	}
}

func TestUpgradeToWebSocket(t *testing.T) {
	dial := func(f *fixture, kinds ...string) (*websocket.Conn, error) {
		cfg, err := websocket.NewConfig("wss://x/webapi/connectionupgrade", "https://x")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Protocol = kinds
		ws, err := websocket.NewClient(cfg, f.overTLS())
		if err == nil {
			ws.PayloadType = websocket.BinaryFrame
		}
		return ws, err
	}
	f := startCluster(t, nil)
	for _, kinds := range [][]string{{"alpn-ping"}, {"alpn"}, {"alpn", "alpn-ping"}} {
		ws, err := dial(f, kinds...)
		if err != nil {
			t.Fatal(err)
		}
		if len(kinds) == 2 && ws.Config().Protocol[0] != "alpn-ping" {
			t.Errorf("chose %q", ws.Config().Protocol)
		}
		f.inner(ws)
	}
	if _, err := dial(f, "other"); err == nil {
		t.Error("an unknown subprotocol was taken")
	}
	if _, err := dial(start14(t, nil), "alpn-ping"); err == nil || !strings.Contains(err.Error(), "bad status") {
		t.Errorf("14.x does not know WebSockets: %v", err)
	}
}

// Close ends upgraded connections, too, and waits for nobody.
func TestCloseEndsUpgraded(t *testing.T) {
	f := startCluster(t, nil)
	r, _, _ := f.old("Connection: Upgrade\r\nUpgrade: alpn\r\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}

func TestPackets(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	p := &packetConn{Conn: near}
	go func() {
		_, _ = far.Write([]byte{0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 'd', 255, 255, 255, 255})
	}()
	got := make([]byte, 4)
	if _, err := io.ReadFull(p, got[:2]); err != nil || string(got[:2]) != "ab" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := io.ReadFull(p, got); err == nil || string(got[:2]) != "cd" {
		t.Errorf("%q, %v", got, err)
	}
	go func() { _ = p.ping(); _, _ = p.Write([]byte("xy")) }()
	sent := make([]byte, 10)
	if _, err := io.ReadFull(far, sent); err != nil || binary.BigEndian.Uint32(sent) != 0 || string(sent[8:]) != "xy" {
		t.Errorf("%q, %v", sent, err)
	}
}
