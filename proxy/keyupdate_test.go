package proxy

import (
	"net"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// case N11: a server that, once it is trusted, sends nothing but messages of
// the handshake. The connection is dropped.
func TestPostHandshakeFlood(t *testing.T) {
	ca := newAuthority(t, "web")
	for _, what := range testenv.TLSFloods() {
		p := startPeer(t, func(conn net.Conn) { _ = testenv.FloodTLS(conn, serverConfig(t, ca), what) })
		// By hand: crypto/tls of Go 1.26 has a harmless race of its own where
		// such a server meets net/http, which reads and writes at once.
		conn, err := dialWeb(testContext(t), nil, webConfig{addr: p.addr, roots: ca.pool()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Write([]byte("GET"))
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		_ = conn.Close()
		if err == nil || !strings.Contains(err.Error(), "non-advancing") && !strings.Contains(err.Error(), "exceeds maximum") && !strings.Contains(err.Error(), "too many") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
