package devcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// What the SSH server for reverse tunnels has for clients.
const (
	channelTransport = "teleport-transport"
	requestDial      = "teleport-transport-dial"
	authServerHere   = "@remote-auth-server"
	tunnelPatience   = 10 * time.Second // for the request after the channel
)

// listenTunnel gives the tunnel a port of its own.
func (c *Cluster) listenTunnel(addr string) (err error) {
	if addr == "" {
		host, _, err := net.SplitHostPort(c.Addr())
		if err != nil {
			return err
		}
		addr = net.JoinHostPort(host, "0")
	}
	c.tunnelListener, err = net.Listen("tcp", addr)
	return err
}

// TunnelAddr is where the SSH server for reverse tunnels listens: a port of its own, or
// Addr, where ALPN leads to it.
func (c *Cluster) TunnelAddr() string {
	if c.tunnelListener != nil {
		return c.tunnelListener.Addr().String()
	}
	return c.Addr()
}

// serveTunnel is the SSH server that agents open their tunnels to. There are none here,
// but users may ask it, too, for a connection to the auth server.
func (c *Cluster) serveTunnel(conn net.Conn) {
	c.serveUserSSH(conn, "tunnel", func(sc *ssh.ServerConn) sshHandlers {
		return sshHandlers{ssh.DiscardRequests, func(ch ssh.NewChannel) { c.serveTunnelChannel(sc, ch) }}
	})
}

func (c *Cluster) serveTunnelChannel(sc *ssh.ServerConn, ch ssh.NewChannel) {
	if ch.ChannelType() != channelTransport {
		_ = ch.Reject(ssh.UnknownChannelType, "unknown channel type: "+ch.ChannelType())
		return
	}
	channel, requests, err := ch.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	select {
	case req, ok := <-requests:
		if !ok {
			return
		}
		far, err := c.dialTunnel(sc, req)
		if err != nil {
			fmt.Fprint(channel.Stderr(), err.Error())
			_ = req.Reply(false, nil)
			return
		}
		_ = req.Reply(true, nil)
		go ssh.DiscardRequests(requests)
		join(channel, far)
	case <-time.After(tunnelPatience):
	case <-c.ctx.Done():
	}
}

// dialTunnel connects to what a request names.
func (c *Cluster) dialTunnel(sc *ssh.ServerConn, req *ssh.Request) (net.Conn, error) {
	var to struct {
		Address  string `json:"address"`
		ConnType string `json:"conn_type"`
	}
	switch {
	case req.Type != requestDial:
		return nil, fmt.Errorf("unknown request %q", req.Type)
	case json.Unmarshal(req.Payload, &to) != nil:
		return nil, errors.New("malformed dial request")
	case to.Address != authServerHere:
		return nil, fmt.Errorf("access denied: no connection to %q from here", to.Address)
	}
	client, server := newPipe(sc.RemoteAddr(), c.listener.Addr())
	c.goFunc(func() { c.serveTLS(server, true) })
	return client, nil
}
