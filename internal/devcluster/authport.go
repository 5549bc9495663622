package devcluster

import (
	"fmt"
	"net"
)

// The auth server's own address: what programs inside a data centre connect to, with mTLS
// and no proxy between. It is the server that the proxy leads to, with the same
// certificates and services, and it speaks nothing else.

// listenAuth opens the auth server's own address, if it is to have one.
func (c *Cluster) listenAuth(addr string) (err error) {
	if addr == "" {
		return nil
	}
	if c.authListener, err = net.Listen("tcp", addr); err != nil {
		return fmt.Errorf("auth server: %w", err)
	}
	return nil
}

// serveAuthPort: whatever ALPN names and server name a client has, here is the auth server.
func (c *Cluster) serveAuthPort(conn net.Conn) { c.serveTLS(conn, true) }

// AuthAddr is where the auth server is reached directly, IP and port; empty unless
// Config.AuthAddr gave it an address of its own.
func (c *Cluster) AuthAddr() string {
	if c.authListener == nil {
		return ""
	}
	return c.authListener.Addr().String()
}
