package devcluster

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

const (
	upgradePath = "/webapi/connectionupgrade"
	// Kinds of upgraded connections: bare bytes, and with pings between them.
	upgradePlain = "alpn"
	upgradePings = "alpn-ping"
	// pingEvery is how often a connection with pings gets one.
	pingEvery = 30 * time.Second
	// maxPacket limits what a client may announce in the old framing.
	maxPacket = 1 << 20
)

// upgradeHandler answers calls that ask for the bytes of a TLS-routed
// connection inside an HTTP one, for load balancers that end TLS themselves.
// 14.x knows its own form only.
func (c *Cluster) upgradeHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kinds := upgradeKinds(r.Header)
		switch {
		case slices.Contains(kinds, "websocket") && !c.is14():
			c.upgradeWebSocket(w, r)
		case slices.Contains(kinds, upgradePings):
			c.upgradeOld(w, r, upgradePings)
		case slices.Contains(kinds, upgradePlain):
			c.upgradeOld(w, r, upgradePlain)
		default:
			securityHeaders(w.Header())
			writeError(w, badParameter("unsupported upgrade types: %q", kinds))
		}
	})
}

// upgradeOr answers those calls, and leaves the others to next.
func (c *Cluster) upgradeOr(next http.Handler) http.Handler {
	upgrades := c.upgradeHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.TrimPrefix(r.URL.Path, "/v1") == upgradePath {
			upgrades.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// upgradeKinds are the protocols that a request would change to. Some load
// balancers drop the standard header.
func upgradeKinds(h http.Header) (kinds []string) {
	for _, name := range []string{"Upgrade", "X-Teleport-Upgrade"} {
		for _, value := range h.Values(name) {
			for kind := range strings.SplitSeq(value, ",") {
				kinds = append(kinds, strings.ToLower(strings.TrimSpace(kind)))
			}
		}
	}
	return kinds
}

func (c *Cluster) upgradeWebSocket(w http.ResponseWriter, r *http.Request) {
	server := websocket.Server{
		Handshake: func(cfg *websocket.Config, _ *http.Request) error {
			for _, kind := range []string{upgradePings, upgradePlain} {
				if slices.Contains(cfg.Protocol, kind) {
					cfg.Protocol = []string{kind}
					return nil
				}
			}
			return errors.New("no known subprotocol")
		},
		Handler: func(ws *websocket.Conn) {
			ws.PayloadType = websocket.BinaryFrame
			ping := websocket.Codec{Marshal: func(any) ([]byte, byte, error) { return []byte("teleport"), websocket.PingFrame, nil }}
			var send func() error
			if ws.Config().Protocol[0] == upgradePings {
				send = func() error { return ping.Send(ws, nil) }
			}
			c.serveUpgraded(ws, r.RemoteAddr, send)
		},
	}
	server.ServeHTTP(w, r)
}

// upgradeOld is the form without WebSockets.
func (c *Cluster) upgradeOld(w http.ResponseWriter, r *http.Request, kind string) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		writeError(w, errors.New("no connection to upgrade"))
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+kind+"\r\n\r\n"); err != nil {
		return
	}
	bare := &bufferedConn{conn, buffered.Reader}
	if kind == upgradePlain {
		c.serveUpgraded(bare, r.RemoteAddr, nil)
		return
	}
	packets := &packetConn{Conn: bare}
	c.serveUpgraded(packets, r.RemoteAddr, packets.ping)
}

// serveUpgraded treats what an upgraded connection carries as one that came
// straight to the listener, until it is closed.
func (c *Cluster) serveUpgraded(conn net.Conn, remote string, ping func() error) {
	u := &upgradedConn{Conn: conn, remote: clientAddr(remote), over: make(chan struct{})}
	defer u.Close()
	c.serveTLS(u, false)
	every := time.NewTicker(pingEvery)
	defer every.Stop()
	for {
		select {
		case <-u.over:
			return
		case <-c.ctx.Done():
			return
		case <-every.C:
			if ping != nil && ping() != nil {
				return
			}
		}
	}
}

func clientAddr(s string) net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", s) // an address in numbers: nobody is asked
	if err != nil {
		return &net.TCPAddr{}
	}
	return addr
}

// upgradedConn knows whose connection it is, and when it has been closed.
type upgradedConn struct {
	net.Conn
	remote net.Addr
	once   sync.Once
	over   chan struct{}
}

func (u *upgradedConn) RemoteAddr() net.Addr { return u.remote }
func (u *upgradedConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (u *upgradedConn) Close() error {
	u.once.Do(func() { close(u.over) })
	return u.Conn.Close()
}

// bufferedConn reads what net/http had read ahead first.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (b *bufferedConn) Read(p []byte) (int, error) { return b.r.Read(p) }

// packetConn is the framing of 14.x: a length of four bytes before each write,
// where zero is a ping.
type packetConn struct {
	net.Conn
	left    uint32
	writing sync.Mutex
}

func (p *packetConn) Read(b []byte) (int, error) {
	for p.left == 0 {
		var head [4]byte
		if _, err := io.ReadFull(p.Conn, head[:]); err != nil {
			return 0, err
		}
		if p.left = binary.BigEndian.Uint32(head[:]); p.left > maxPacket {
			return 0, errors.New("the packet is too long")
		}
	}
	n, err := p.Conn.Read(b[:min(len(b), int(p.left))])
	p.left -= uint32(n)
	return n, err
}

func (p *packetConn) Write(b []byte) (int, error) {
	packet := append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	p.writing.Lock()
	defer p.writing.Unlock()
	if _, err := p.Conn.Write(packet); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (p *packetConn) ping() error {
	_, err := p.Write(nil)
	return err
}
