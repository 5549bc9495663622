package devcluster

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

const (
	// x11FirstDisplay is the first display number that is tried, as sshd has it.
	x11FirstDisplay = 10
	x11Displays     = 1000
	x11Port         = 6000 // of display 0
)

// x11Request is the payload of x11-req (RFC 4254, 6.3.1).
type x11Request struct {
	Single   bool
	Protocol string
	Cookie   string // hexadecimal
	Screen   uint32
}

// lentThings are what programs of a session may use of their user's machine: an agent
// behind a socket, a display behind a port. They end with the session.
type lentThings struct {
	mu        sync.Mutex
	dir       string // for sockets and cookies; "" before it is needed
	listeners []net.Listener
	conns     map[io.Closer]bool
	closed    bool
}

// lendAgent answers auth-agent-req@openssh.com: there is a socket from then on.
func (s *session) lendAgent() bool {
	if allowed, _ := s.nc.conn.Permissions.ExtraData[permAgent].(bool); !allowed {
		return false
	}
	dir, err := s.lent.directory()
	if err != nil {
		return false
	}
	socket := filepath.Join(dir, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return false
	}
	if !s.lend(l, func(net.Conn) (string, []byte) { return "auth-agent@openssh.com", nil }) {
		return false
	}
	s.env = append(s.env, "SSH_AUTH_SOCK="+socket)
	return true
}

// lendDisplay answers x11-req: there is a port of a display from then on, and its cookie
// is where programs look for it if xauth is there to write it.
func (s *session) lendDisplay(payload []byte) bool {
	var req x11Request
	allowed, _ := s.nc.conn.Permissions.ExtraData[permX11].(bool)
	if !allowed || ssh.Unmarshal(payload, &req) != nil {
		return false
	}
	for _, text := range []string{req.Protocol, req.Cookie} {
		if text == "" || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false // they go to xauth
		}
	}
	dir, err := s.lent.directory()
	if err != nil {
		return false
	}
	for display := x11FirstDisplay; display < x11FirstDisplay+x11Displays; display++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", x11Port+display))
		if err != nil {
			continue
		}
		origin := func(c net.Conn) (string, []byte) {
			from, _ := c.RemoteAddr().(*net.TCPAddr)
			return "x11", ssh.Marshal(struct {
				Address string
				Port    uint32
			}{from.IP.String(), uint32(from.Port)})
		}
		if !s.lend(l, origin) {
			return false
		}
		authority := filepath.Join(dir, "xauthority")
		xauth := exec.Command("xauth", "-q", "-f", authority, "-")
		xauth.Stdin = strings.NewReader(fmt.Sprintf("add unix:%d.%d %s %s\n", display, req.Screen, req.Protocol, req.Cookie))
		if err := xauth.Run(); err != nil {
			s.nc.cluster.log.Info("no cookie written", "node", s.nc.node.hostname, "reason", err)
		}
		s.env = append(s.env, fmt.Sprintf("DISPLAY=localhost:%d.%d", display, req.Screen), "XAUTHORITY="+authority)
		return true
	}
	return false
}

// lend connects everybody who comes to l with a channel of the kind that open says.
func (s *session) lend(l net.Listener, open func(net.Conn) (kind string, extra []byte)) bool {
	t := &s.lent
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = l.Close()
		return false
	}
	t.listeners = append(t.listeners, l)
	s.nc.cluster.goFunc(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.nc.cluster.goFunc(func() {
				defer conn.Close()
				if !t.add(conn) {
					return
				}
				defer t.remove(conn)
				channel, reqs, err := s.nc.conn.OpenChannel(open(conn))
				if err != nil {
					return
				}
				defer channel.Close()
				go ssh.DiscardRequests(reqs)
				go func() {
					_, _ = io.Copy(channel, conn)
					_ = channel.CloseWrite()
				}()
				_, _ = io.Copy(conn, channel)
			})
		}
	})
	return true
}

func (t *lentThings) add(c io.Closer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.conns == nil {
		t.conns = make(map[io.Closer]bool)
	}
	t.conns[c] = true
	return true
}

func (t *lentThings) remove(c io.Closer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

// directory is where the session's sockets are; nobody else can look into it.
func (t *lentThings) directory() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.dir == "" && !t.closed {
		t.dir, err = os.MkdirTemp("", "dev-node-")
	}
	return t.dir, err
}

// close takes everything back.
func (t *lentThings) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, l := range t.listeners {
		_ = l.Close()
	}
	for c := range t.conns {
		_ = c.Close()
	}
	if t.dir != "" {
		_ = os.RemoveAll(t.dir)
	}
}
