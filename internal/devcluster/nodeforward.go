package devcluster

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// forwardDialTimeout bounds a connection that a node makes for a client.
	forwardDialTimeout = 10 * time.Second
	// noForwarding is what a node says to a client whose roles do not allow it. It
	// accepts the channel, says so beside the data, and closes it.
	noForwarding = "port forwarding not allowed by role set"
)

// directTCP is the data of direct-tcpip and of forwarded-tcpip (RFC 4254, 7.2).
type directTCP struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// directSocket is the data of direct-streamlocal@openssh.com.
type directSocket struct {
	Path     string
	Reserved string
	Zero     uint32
}

// forwardedSocket is the data of forwarded-streamlocal@openssh.com.
type forwardedSocket struct{ Path, Reserved string }

// portForward is the data of tcpip-forward and its opposite (RFC 4254, 7.1).
type portForward struct {
	Host string
	Port uint32
}

// nodeForwards are the connections and listeners of one client of a node.
type nodeForwards struct {
	allowed bool
	conn    *ssh.ServerConn
	wg      sync.WaitGroup

	mu        sync.Mutex
	over      bool
	listeners map[any]net.Listener // by portForward with its actual port, or path
	conns     map[net.Conn]struct{}
}

func newNodeForwards(conn *ssh.ServerConn, allowed bool) *nodeForwards {
	return &nodeForwards{allowed: allowed, conn: conn, listeners: make(map[any]net.Listener), conns: make(map[net.Conn]struct{})}
}

// open serves a channel if it is one that connects to a port or a socket.
func (f *nodeForwards) open(ch ssh.NewChannel) bool {
	network, address := "", ""
	switch ch.ChannelType() {
	case "direct-tcpip":
		var d directTCP
		if ssh.Unmarshal(ch.ExtraData(), &d) == nil {
			network, address = "tcp", net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port)))
		}
	case "direct-streamlocal@openssh.com":
		var d directSocket
		if ssh.Unmarshal(ch.ExtraData(), &d) == nil {
			network, address = "unix", d.Path
		}
	default:
		return false
	}
	if network == "" {
		_ = ch.Reject(ssh.ConnectionFailed, "malformed request")
		return true
	}
	f.wg.Go(func() { f.connect(ch, network, address) })
	return true
}

func (f *nodeForwards) connect(ch ssh.NewChannel, network, address string) {
	if !f.allowed {
		channel, reqs, err := ch.Accept()
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		_, _ = io.WriteString(channel.Stderr(), noForwarding+"\r\n")
		_ = channel.Close()
		return
	}
	conn, err := net.DialTimeout(network, address, forwardDialTimeout)
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	if !f.add(conn) {
		_ = conn.Close()
		return
	}
	defer f.remove(conn)
	if channel, reqs, err := ch.Accept(); err == nil {
		go ssh.DiscardRequests(reqs)
		joinStreams(channel, conn)
	}
}

// joinStreams copies both ways until both have ended.
func joinStreams(channel ssh.Channel, conn net.Conn) {
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(conn, channel)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	})
	_, _ = io.Copy(channel, conn)
	_ = channel.CloseWrite()
	up.Wait()
	_ = channel.Close()
}

// request answers a global request if it is about listening.
func (f *nodeForwards) request(req *ssh.Request) (handled bool) {
	var ok bool
	var reply []byte
	switch req.Type {
	case "tcpip-forward":
		var p portForward
		if ssh.Unmarshal(req.Payload, &p) == nil {
			reply, ok = f.listenPort(p)
		}
	case "streamlocal-forward@openssh.com":
		var p struct{ Path string }
		ok = ssh.Unmarshal(req.Payload, &p) == nil && f.listenSocket(p.Path)
	case "cancel-tcpip-forward":
		var p portForward
		ok = ssh.Unmarshal(req.Payload, &p) == nil && f.cancel(p)
	case "cancel-streamlocal-forward@openssh.com":
		var p struct{ Path string }
		ok = ssh.Unmarshal(req.Payload, &p) == nil && f.cancel(p.Path)
	default:
		return false
	}
	if req.WantReply {
		_ = req.Reply(ok, reply)
	}
	return true
}

func (f *nodeForwards) listenPort(p portForward) (reply []byte, ok bool) {
	if !f.allowed || p.Port > 65535 {
		return nil, false
	}
	l, err := net.Listen("tcp", net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))))
	if err != nil {
		return nil, false
	}
	if p.Port == 0 {
		p.Port = uint32(l.Addr().(*net.TCPAddr).Port)
		reply = ssh.Marshal(struct{ Port uint32 }{p.Port})
	}
	return reply, f.serve(p, l, func(from net.Conn) (string, []byte) {
		d := directTCP{Host: p.Host, Port: p.Port}
		if addr, ok := from.RemoteAddr().(*net.TCPAddr); ok {
			d.OriginHost, d.OriginPort = addr.IP.String(), uint32(addr.Port)
		}
		return "forwarded-tcpip", ssh.Marshal(d)
	})
}

func (f *nodeForwards) listenSocket(path string) bool {
	if !f.allowed || !filepath.IsAbs(path) {
		return false
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return false
	}
	if os.Chmod(path, 0o600) != nil {
		_ = l.Close()
		return false
	}
	return f.serve(path, l, func(net.Conn) (string, []byte) {
		return "forwarded-streamlocal@openssh.com", ssh.Marshal(forwardedSocket{Path: path})
	})
}

// serve hands everybody who connects to the client, as the channel that open names.
func (f *nodeForwards) serve(key any, l net.Listener, open func(net.Conn) (kind string, data []byte)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.listeners[key] != nil {
		_ = l.Close()
		return false
	}
	f.listeners[key] = l
	f.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() { f.handOver(conn, open) })
		}
	})
	return true
}

func (f *nodeForwards) handOver(conn net.Conn, open func(net.Conn) (string, []byte)) {
	if !f.add(conn) {
		_ = conn.Close()
		return
	}
	defer f.remove(conn)
	kind, data := open(conn)
	channel, reqs, err := f.conn.OpenChannel(kind, data)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	joinStreams(channel, conn)
}

func (f *nodeForwards) cancel(key any) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.listeners[key]
	if l == nil {
		return false
	}
	delete(f.listeners, key)
	_ = l.Close()
	return true
}

func (f *nodeForwards) add(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return false
	}
	f.conns[conn] = struct{}{}
	return true
}

func (f *nodeForwards) remove(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
	_ = conn.Close()
}

// close ends what is left when the client is gone.
func (f *nodeForwards) close() {
	f.mu.Lock()
	f.over = true
	for _, l := range f.listeners {
		_ = l.Close()
	}
	for conn := range f.conns {
		_ = conn.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// ForbidForwarding takes the option to forward ports from all preset roles.
// Connections that there are keep what they have.
func (c *Cluster) ForbidForwarding() error {
	return c.state.update(func(tx *stateTx) error {
		for _, r := range presetRoles() {
			if found, err := tx.get(bucketRoles, r.Name, &r); err != nil || !found {
				return err
			}
			r.PortForwarding = false
			if err := tx.put(bucketRoles, r.Name, r); err != nil {
				return err
			}
		}
		return nil
	})
}
