package proxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// upgradeForm turns a TLS connection to a web server into one that carries
// bytes to where the proxy would route them by ALPN.
type upgradeForm func(ctx context.Context, conn net.Conn, host string, more headerFunc) (net.Conn, error)

// upgradeOld is the form of 14.x, which does not know the one that upgrade has:
// what follows the answer are packets, so that the server can keep the
// connection alive with empty ones.
func upgradeOld(ctx context.Context, conn net.Conn, host string, more headerFunc) (net.Conn, error) {
	answer, r, err := askUpgrade(ctx, conn, host, more, map[string]string{
		"Upgrade":            upgradeProtocol,
		"X-Teleport-Upgrade": upgradeProtocol, // some balancers drop the other
	})
	if err != nil {
		return nil, err
	}
	switch {
	case answer.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("connection upgrade in the form of 14.x: the answer is %s", shortQuote(answer.Status))
	case !strings.EqualFold(answer.Header.Get("Upgrade"), upgradeProtocol):
		return nil, fmt.Errorf("connection upgrade in the form of 14.x: the answer changes to %s", shortQuote(answer.Header.Get("Upgrade")))
	}
	return &packetConn{Conn: conn, r: r}, nil
}

// packetConn is the byte stream that packets carry: four bytes of length,
// big-endian, and as many bytes. A packet without any is the server's ping.
type packetConn struct {
	_ [0]func() // never compared
	net.Conn
	r       *bufio.Reader
	left    uint32 // bytes of the current packet not yet read
	writing sync.Mutex
}

// Read implements io.Reader.
func (c *packetConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.left == 0 {
		var head [4]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return 0, err
		}
		c.left = binary.BigEndian.Uint32(head[:])
	}
	n, err := c.r.Read(p[:min(uint64(len(p)), uint64(c.left))])
	c.left -= uint32(n)
	if errors.Is(err, io.EOF) && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Write implements io.Writer: one packet.
func (c *packetConn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // it would be a ping
	}
	packet := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(p)), uint32(len(p))), p...)
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.Conn.Write(packet); err != nil {
		return 0, err
	}
	return len(p), nil
}
