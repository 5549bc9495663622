package devcluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// ALPN names that lead somewhere.
const (
	alpnHTTP1  = "http/1.1"
	alpnH2     = "h2"
	alpnSSH    = "teleport-proxy-ssh-grpc"
	alpnAuth   = "teleport-auth@"
	alpnTunnel = "teleport-reversetunnel"
	alpnOldSSH = "teleport-proxy-ssh"
)

const (
	// helloTimeout is how long a client may take for its handshake.
	helloTimeout = 15 * time.Second
	// lingerTimeout is how long a refused client may take to read the alert.
	lingerTimeout = time.Second
)

// route is where a connection goes after its handshake.
type route int

const (
	routeWeb route = iota
	routeAuth
	routeSSH
	routeTunnel
	routeOldSSH   // the proxy's SSH server
	routeLeaf     // the auth server of the leaf cluster
	routeAuthHTTP // the auth server of 14.x, without HTTP/2
	routeCount
)

// tlsRouter picks the certificate and the service for a client's hello.
type tlsRouter struct {
	cluster string
	leaf    string // empty if there is none
	configs [routeCount]*tls.Config
}

func (c *Cluster) newTLSRouter() (*tlsRouter, error) {
	now := c.now()
	host, _, err := net.SplitHostPort(c.settings.PublicAddr)
	if err != nil {
		return nil, err
	}
	webCert, err := c.auths.web.webCertificate(host, now)
	if err != nil {
		return nil, err
	}
	proxyCert, err := c.auths.host.roleCertificate(c.settings.HostID, c.settings.Name, "Proxy", now)
	if err != nil {
		return nil, err
	}
	authCert, err := c.auths.host.roleCertificate(c.settings.HostID, c.settings.Name, "Auth", now)
	if err != nil {
		return nil, err
	}
	users := x509.NewCertPool()
	users.AddCert(c.auths.user.tlsCert)
	mutual := func(cert tls.Certificate) *tls.Config {
		return &tls.Config{
			MinVersion:             tls.VersionTLS12,
			Time:                   c.now,
			Certificates:           []tls.Certificate{cert},
			NextProtos:             []string{alpnH2},
			ClientAuth:             tls.RequireAndVerifyClientCert,
			ClientCAs:              users,
			SessionTicketsDisabled: true,
			VerifyPeerCertificate:  refuseChains,
		}
	}
	r := &tlsRouter{cluster: c.settings.Name}
	// HTTP/1.1 before h2, so that browsers can use WebSockets.
	r.configs[routeWeb] = &tls.Config{
		MinVersion: tls.VersionTLS12, Time: c.now, Certificates: []tls.Certificate{webCert},
		NextProtos: []string{alpnHTTP1, alpnH2},
	}
	r.configs[routeTunnel] = &tls.Config{
		MinVersion: tls.VersionTLS12, Time: c.now, Certificates: []tls.Certificate{webCert},
		NextProtos: []string{alpnTunnel},
	}
	r.configs[routeOldSSH] = &tls.Config{
		MinVersion: tls.VersionTLS12, Time: c.now, Certificates: []tls.Certificate{proxyCert},
		NextProtos: []string{alpnOldSSH},
	}
	r.configs[routeAuth] = mutual(authCert)
	r.configs[routeAuthHTTP] = legacyTLS(r.configs[routeAuth])
	r.configs[routeSSH] = mutual(proxyCert)
	r.configs[routeSSH].NextProtos = []string{alpnH2, alpnSSH}
	if c.is14() {
		r.configs[routeSSH].NextProtos = nil // it answers with HTTP/2 all the same
	}
	return r, nil
}

// refuseChains: users have one certificate, signed by the authority itself.
func refuseChains(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) != 1 {
		return errors.New("client sent intermediate certificates")
	}
	return nil
}

// pick walks the client's list in its order; the first name that leads
// somewhere decides. inner is a connection to the auth server that the proxy
// carries, where nothing else can be reached.
func (r *tlsRouter) pick(hello *tls.ClientHelloInfo, inner bool) (route, error) {
	if inner {
		return routeAuth, nil
	}
	if len(hello.SupportedProtos) == 0 {
		return routeWeb, nil
	}
	for _, proto := range hello.SupportedProtos {
		if to, ok := map[string]route{alpnSSH: routeSSH, alpnTunnel: routeTunnel, alpnOldSSH: routeOldSSH}[proto]; ok {
			return to, nil
		}
		switch {
		case strings.HasPrefix(proto, alpnAuth):
			name, ok := decodeCluster(strings.TrimPrefix(proto, alpnAuth))
			switch {
			case ok && (name == "" || name == r.cluster):
				return routeAuth, nil
			case ok && name == r.leaf:
				return routeLeaf, nil
			}
			return 0, fmt.Errorf("no auth server for %q", proto)
		case proto == alpnH2, proto == alpnHTTP1:
			return routeWeb, nil
		}
	}
	return 0, fmt.Errorf("no service for %q", hello.SupportedProtos)
}

// serveTLS shakes hands and hands the connection to its service.
func (c *Cluster) serveTLS(raw net.Conn, inner bool) {
	if !c.conns.add(raw) {
		_ = raw.Close()
		return
	}
	defer c.conns.remove(raw)
	var to route
	conn := tls.Server(raw, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			var err error
			if to, err = c.router.pick(hello, inner); err != nil {
				return nil, err
			}
			to = c.older(to, hello)
			return c.router.configs[to], nil
		},
	})
	ctx, cancel := context.WithTimeout(c.ctx, helloTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		c.log.Info("handshake refused", "from", raw.RemoteAddr(), "reason", err)
		linger(raw)
		return
	}
	if to == routeTunnel {
		c.serveTunnel(conn)
		return
	}
	if to == routeOldSSH {
		c.serveSSHProxy(conn)
		return
	}
	c.queues[to].push(conn)
}

// linger closes a connection so that the alert arrives: what the client has
// sent meanwhile is read first, lest the reset overtakes it.
func linger(conn net.Conn) {
	defer conn.Close()
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || conn.SetReadDeadline(time.Now().Add(lingerTimeout)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, 1<<20)
}

// connQueue is a listener that is fed with connections.
type connQueue struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newConnQueue(addr net.Addr) *connQueue {
	return &connQueue{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (q *connQueue) push(conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.closed:
		_ = conn.Close()
	}
}

func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *connQueue) Addr() net.Addr { return q.addr }

// connSet is the connections that no service owns yet.
type connSet struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// add says whether the set is still open.
func (s *connSet) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[net.Conn]struct{})
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *connSet) remove(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

func (s *connSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
}
