package sshclient

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/text"
)

// maxHeld bounds the connections that wait until it is known which port the node
// has chosen for us.
const maxHeld = 16

// Listener is a port or a Unix socket on which the node listens for us.
type Listener struct {
	client *Client
	serve  func(*Incoming)
	host   string
	path   string // of a socket; "" for a port
	port   uint32 // 0 while the node has not chosen
	asked  bool   // the answer is still to come
}

// Incoming is somebody who has connected to a [Listener]. Either method has to be
// called, once.
type Incoming struct {
	ch     ssh.NewChannel
	client *Client
	from   string
}

// Accept takes the connection.
func (i *Incoming) Accept() (*Stream, error) {
	ch, reqs, err := i.ch.Accept()
	if err != nil {
		return nil, err
	}
	return newStream(ch, reqs, i.client.note("from "+i.from)), nil
}

// Reject turns the connection away. The node is not told why.
func (i *Incoming) Reject() {
	_ = i.ch.Reject(ssh.ConnectionFailed, "connect failed") // fails only if the connection is gone
}

// Port is the TCP port on the node, 0 for a Unix socket.
func (l *Listener) Port() int { return int(l.port) }

// Listen makes the node listen on a TCP address, "host:port", or on a Unix socket:
// network is "tcp" or "unix". Port 0 is the node's choice; the host "localhost" is
// loopback, "" all addresses, and the node has the last word on both. Everybody who
// connects is handed to serve, in a goroutine of their own, possibly before Listen
// returns; whatever the node opens for a port that is not listened on is rejected.
//
// A node that does not do that makes the error a *RefusedError. Other errors are
// an *Error. Several calls wait for each other: the transport puts one question
// at a time.
func (c *Client) Listen(ctx context.Context, network, address string, serve func(*Incoming)) (*Listener, error) {
	l := &Listener{client: c, serve: serve, asked: true}
	if network == "unix" {
		l.path = address
	} else {
		var err error
		if l.host, l.port, err = splitAddress(address); err != nil {
			return nil, c.sessionError(err)
		}
	}
	// The node may use it as soon as it knows, before its answer is read.
	c.remote.add(l, &c.channels)
	request, payload := l.request("")
	var ok bool
	err := c.within(ctx, c.timeout, func(late func() bool) error {
		granted, reply, err := c.conn.SendRequest(request, true, payload)
		if late() {
			if granted && c.remote.settle(l, reply) == nil {
				_ = l.Close()
			}
			return nil
		}
		if granted && err == nil {
			err = c.remote.settle(l, reply)
		}
		ok = granted
		return err
	})
	switch {
	case err != nil:
		c.remote.remove(l)
		return nil, c.sessionError(err)
	case !ok:
		c.remote.remove(l)
		return nil, &RefusedError{Host: c.host, Request: request}
	}
	return l, nil
}

// Close tells the node to listen no longer, and does not wait. What comes from now
// on is rejected; connections that were accepted stay.
func (l *Listener) Close() error {
	l.client.remote.remove(l)
	request, payload := l.request("cancel-")
	_, _, err := l.client.conn.SendRequest(request, false, payload)
	return err
}

// request is what asks for the listener, or takes it back: RFC 4254 section 7.1,
// OpenSSH's PROTOCOL file section 2.4.
func (l *Listener) request(prefix string) (name string, payload []byte) {
	if l.path != "" {
		return prefix + "streamlocal-forward@openssh.com", ssh.Marshal(struct{ Path string }{l.path})
	}
	return prefix + "tcpip-forward", ssh.Marshal(struct {
		Host string
		Port uint32
	}{l.host, l.port})
}

// remoteTable has what the node listens on for us. Connections to anything else
// are not what was asked for.
type remoteTable struct {
	mu   sync.Mutex
	list []*Listener
	held []ssh.NewChannel // to ports that may turn out to be ours
}

func (t *remoteTable) add(l *Listener, channels *channelTable) {
	t.mu.Lock()
	t.list = append(t.list, l)
	t.mu.Unlock()
	channels.allow("forwarded-tcpip", t.open)
	channels.allow("forwarded-streamlocal@openssh.com", t.open)
}

// settle notes the node's answer to a request that it has granted.
func (t *remoteTable) settle(l *Listener, reply []byte) error {
	t.mu.Lock()
	if l.path == "" && l.port == 0 {
		var chosen struct{ Port uint32 }
		if ssh.Unmarshal(reply, &chosen) != nil || chosen.Port == 0 || chosen.Port > 65535 {
			t.mu.Unlock()
			return errors.New("the node listens, and does not say on which port")
		}
		l.port = chosen.Port
	}
	l.asked = false
	t.mu.Unlock()
	t.release()
	return nil
}

func (t *remoteTable) remove(l *Listener) {
	t.mu.Lock()
	for i, other := range t.list {
		if other == l {
			t.list = append(t.list[:i:i], t.list[i+1:]...)
			break
		}
	}
	t.mu.Unlock()
	t.release()
}

// release looks again at the connections that were held.
func (t *remoteTable) release() {
	t.mu.Lock()
	held := t.held
	t.held = nil
	t.mu.Unlock()
	for _, ch := range held {
		t.open(ch)
	}
}

// open hands a channel to the listener it belongs to.
func (t *remoteTable) open(ch ssh.NewChannel) {
	// RFC 4254 section 7.2, and OpenSSH's for sockets.
	var tcp struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	var unix struct{ Path, Reserved string }
	t.mu.Lock()
	var l *Listener
	switch {
	case ch.ChannelType() == "forwarded-tcpip" && ssh.Unmarshal(ch.ExtraData(), &tcp) == nil:
		l = t.forPort(tcp.Host, tcp.Port)
		if l == nil && t.undecided() && len(t.held) < maxHeld {
			t.held = append(t.held, ch)
			t.mu.Unlock()
			return
		}
	case ch.ChannelType() != "forwarded-tcpip" && ssh.Unmarshal(ch.ExtraData(), &unix) == nil:
		l = t.find(func(l *Listener) bool { return l.path != "" && l.path == unix.Path })
	}
	t.mu.Unlock()
	from := text.Line(short(unix.Path))
	if from == "" {
		from = net.JoinHostPort(clean(short(tcp.Host)), strconv.Itoa(int(tcp.Port)))
	}
	if l == nil {
		slog.Debug("node opened a channel for a port nobody asked for", "address", from)
		_ = ch.Reject(ssh.Prohibited, "not requested") // fails only if the connection is gone
		return
	}
	go l.serve(&Incoming{ch, l.client, from})
}

// forPort is the listener on a port. Nodes may write the address in another way
// than we did: it only has to be the same if there are several of that port.
func (t *remoteTable) forPort(host string, port uint32) *Listener {
	ours := func(l *Listener) bool { return l.path == "" && l.port != 0 && l.port == port }
	if l := t.find(func(l *Listener) bool { return ours(l) && l.host == host }); l != nil {
		return l
	}
	l := t.find(ours)
	if l == nil || t.find(func(other *Listener) bool { return other != l && ours(other) }) != nil {
		return nil
	}
	return l
}

// undecided reports whether the node is just choosing a port.
func (t *remoteTable) undecided() bool {
	return t.find(func(l *Listener) bool { return l.path == "" && l.port == 0 && l.asked }) != nil
}

func (t *remoteTable) find(match func(*Listener) bool) *Listener {
	for _, l := range t.list {
		if match(l) {
			return l
		}
	}
	return nil
}
