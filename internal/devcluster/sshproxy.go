package devcluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// serveSSHPort looks at how a connection to the port for SSH begins: with SSH, or with
// the TLS of the transport service.
func (c *Cluster) serveSSHPort(conn net.Conn) {
	if c.sshOnly {
		c.serveSSHProxy(conn)
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(helloTimeout))
	r := bufio.NewReader(conn)
	first, err := r.Peek(1)
	_ = conn.SetReadDeadline(time.Time{})
	if err != nil {
		_ = conn.Close()
		return
	}
	peeked := &peekedConn{conn, r}
	switch first[0] {
	case 'S':
		c.serveSSHProxy(peeked)
	case 0x16: // a TLS handshake
		c.serveTLS(peeked, false)
	default:
		_ = conn.Close()
	}
}

func (c *Cluster) serveWebPort(conn net.Conn) { c.serveTLS(conn, false) }

// sshProxyKey is the host key of the proxy's SSH server, made when the first client comes.
type sshProxyKey struct {
	proxyKey     sync.Once
	proxyHostKey ssh.Signer
	proxyKeyErr  error
}

// peekedConn is a connection of which the beginning has been looked at.
type peekedConn struct {
	net.Conn
	r *bufio.Reader
}

func (p *peekedConn) Read(b []byte) (int, error) { return p.r.Read(b) }

// CloseWrite is what linger needs.
func (p *peekedConn) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// proxySigner is the certified host key of the proxy's SSH server.
func (c *Cluster) proxySigner() (ssh.Signer, error) {
	c.proxyKey.Do(func() {
		host, _, err := net.SplitHostPort(c.settings.PublicAddr)
		if err != nil {
			c.proxyKeyErr = err
			return
		}
		id, cluster := c.settings.HostID, c.settings.Name
		principals := []string{host, "localhost", "127.0.0.1", "::1", id, id + "." + cluster}
		c.proxyHostKey, c.proxyKeyErr = c.auths.host.hostKey(c.settings.Suite, cluster, id+"."+cluster, principals)
	})
	return c.proxyHostKey, c.proxyKeyErr
}

// permCert is where the user's certificate is in the permissions.
const permCert permKey = "certificate"

// proxyAuth accepts a user certificate of this cluster. What name it is used with only
// matters to 14.x.
func (c *Cluster) proxyAuth(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	cert, ok := key.(*ssh.Certificate)
	if !ok || cert.CertType != ssh.UserCert || len(cert.ValidPrincipals) == 0 {
		return nil, errors.New("not a user certificate with principals")
	}
	authority := string(c.auths.user.sshSigner.PublicKey().Marshal())
	if string(cert.SignatureKey.Marshal()) != authority {
		return nil, errors.New("of another authority")
	}
	name := cert.ValidPrincipals[0]
	if c.is14() {
		name = meta.User()
	}
	checker := &ssh.CertChecker{Clock: c.now, SupportedCriticalOptions: []string{"source-address"}}
	if err := checker.CheckCert(name, cert); err != nil {
		return nil, err
	}
	return &ssh.Permissions{CriticalOptions: cert.CriticalOptions, ExtraData: map[any]any{permCert: cert}, Extensions: map[string]string{
		"route": cert.Extensions["teleport-route-to-cluster"],
	}}, nil
}

// sshHandlers serve what a client asks for once it has logged in.
type sshHandlers struct {
	requests func(<-chan *ssh.Request) // the global ones, until there are no more
	channel  func(ssh.NewChannel)
}

// serveUserSSH serves a user's connection to an SSH server of the proxy until it ends. The
// server's name is for the log.
func (c *Cluster) serveUserSSH(conn net.Conn, server string, begin func(*ssh.ServerConn) sshHandlers) {
	defer conn.Close()
	if !c.conns.add(conn) {
		return
	}
	defer c.conns.remove(conn)
	signer, err := c.proxySigner()
	if err != nil {
		c.log.Error("no host certificate of the proxy", "reason", err)
		return
	}
	config := &ssh.ServerConfig{ServerVersion: nodeVersionLine, PublicKeyCallback: c.proxyAuth}
	config.AddHostKey(signer)
	_ = conn.SetDeadline(time.Now().Add(sshHandshakeTimeout))
	sc, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		if !errors.Is(err, io.EOF) { // a look whether the server can be reached
			c.log.Info("ssh to the "+server+" refused", "from", conn.RemoteAddr(), "reason", err)
		}
		return
	}
	_ = conn.SetDeadline(time.Time{})
	c.log.Info("ssh to the "+server, "login", sc.User())
	handle := begin(sc)
	var wg sync.WaitGroup
	wg.Go(func() { handle.requests(requests) })
	for ch := range channels {
		wg.Go(func() { handle.channel(ch) })
	}
	_ = sc.Close()
	wg.Wait()
}

// serveSSHProxy is the SSH server of the proxy, for OpenSSH and for clients from before
// the transport service.
func (c *Cluster) serveSSHProxy(conn net.Conn) {
	c.serveUserSSH(conn, "proxy", func(sc *ssh.ServerConn) sshHandlers {
		p := &sshProxyConn{cluster: c, conn: sc, route: or(sc.Permissions.Extensions["route"], c.settings.Name)}
		return sshHandlers{p.globalRequests, p.serveChannel}
	})
}

// sshProxyConn is a connection of a user to the SSH server of the proxy.
type sshProxyConn struct {
	cluster *Cluster
	conn    *ssh.ServerConn
	route   string // where targets without a cluster are
}

func (p *sshProxyConn) globalRequests(requests <-chan *ssh.Request) {
	for req := range requests {
		var payload []byte
		ok := true
		switch req.Type {
		case "keepalive@openssh.com":
		case "cluster-details@goteleport.com":
			payload = ssh.Marshal(struct{ Recording, FIPS bool }{})
		case "x-teleport-version":
			payload = []byte(p.cluster.version())
		default:
			ok = false
		}
		if req.WantReply {
			_ = req.Reply(ok, payload)
		}
	}
}

func (p *sshProxyConn) serveChannel(ch ssh.NewChannel) {
	switch ch.ChannelType() {
	case "session":
		channel, requests, err := ch.Accept()
		if err == nil {
			p.serveSession(channel, requests)
		}
	case "direct-tcpip":
		p.jump(ch)
	default:
		_ = ch.Reject(ssh.UnknownChannelType, "unknown channel type: "+ch.ChannelType())
	}
}

// jump is what OpenSSH's ProxyJump asks for.
func (p *sshProxyConn) jump(ch ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(ch.ExtraData(), &to); err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	far, err := p.dialNode(net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))), p.route)
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, reasonOf(err))
		return
	}
	channel, requests, err := ch.Accept()
	if err != nil {
		_ = far.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	join(channel, far)
}

func (p *sshProxyConn) serveSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for req := range requests {
		switch req.Type {
		case "env", "envs@goteleport.com", "auth-agent-req@openssh.com":
			if req.WantReply {
				_ = req.Reply(true, nil)
			}
		case "simple@putty.projects.tartarus.org":
		case "subsystem":
			var name struct{ Name string }
			err := ssh.Unmarshal(req.Payload, &name)
			var run func()
			if err == nil {
				run, err = p.subsystem(channel, name.Name)
			}
			if err != nil {
				fmt.Fprintln(channel.Stderr(), reasonOf(err))
				_ = req.Reply(false, nil)
				return
			}
			_ = req.Reply(true, nil)
			go ssh.DiscardRequests(requests)
			run()
			return
		default:
			if req.WantReply {
				_ = req.Reply(false, nil)
			}
		}
	}
}

// subsystem is what a name asks for, ready to run.
func (p *sshProxyConn) subsystem(channel ssh.Channel, name string) (func(), error) {
	if name == "proxysites" {
		return func() { p.writeSites(channel) }, nil
	}
	target, ok := strings.CutPrefix(name, "proxy:")
	if !ok {
		return nil, fmt.Errorf("subsystem %q does not exist", name)
	}
	parts := strings.Split(target, "@")
	cluster := p.route
	switch len(parts) {
	case 1:
	case 2, 3: // the one in the middle is of no meaning
		cluster = parts[len(parts)-1]
	default:
		return nil, fmt.Errorf("invalid format for proxy request: %q", name)
	}
	var far net.Conn
	var err error
	if parts[0] == "" && len(parts) > 1 {
		far, err = p.dialAuth(cluster)
	} else {
		far, err = p.dialNode(parts[0], cluster)
	}
	if err != nil {
		return nil, err
	}
	return func() { join(channel, far) }, nil
}

func (p *sshProxyConn) dialNode(hostport, cluster string) (net.Conn, error) {
	if p.cluster.member(cluster) == nil {
		return nil, fmt.Errorf("invalid format for proxy request: unknown cluster %q", cluster)
	}
	if host, port, err := net.SplitHostPort(hostport); err == nil && port == "" {
		hostport = net.JoinHostPort(host, "0")
	}
	at, n, err := p.cluster.routedTarget(&pb.TargetHost{HostPort: hostport, Cluster: cluster})
	if err != nil {
		return nil, err
	}
	if n.sshd {
		return p.dialSSHD(at, n)
	}
	client, server := newPipe(p.conn.RemoteAddr(), n.tcpAddr())
	at.goFunc(func() { at.serveNode(n, server) })
	return client, nil
}

// dialSSHD connects to an OpenSSH server, for those of whom mayDial is true.
func (p *sshProxyConn) dialSSHD(at *Cluster, n *node) (net.Conn, error) {
	cert, ok := p.conn.Permissions.ExtraData[permCert].(*ssh.Certificate)
	if !ok {
		return nil, errors.New("access denied: no certificate")
	}
	roles, err := at.certRoles(cert)
	if err != nil {
		return nil, err
	}
	if len(roles.loginsFor(n.labels)) == 0 {
		return nil, noLogin(cert.KeyId, n)
	}
	return at.dialSSHD(n)
}

func (p *sshProxyConn) dialAuth(cluster string) (net.Conn, error) {
	member := p.cluster.member(cluster)
	if member == nil {
		return nil, fmt.Errorf("invalid format for proxy request: unknown cluster %q", cluster)
	}
	client, server := newPipe(p.conn.RemoteAddr(), p.cluster.listener.Addr())
	member.goFunc(func() { member.serveTLS(server, true) })
	return client, nil
}

// writeSites lists the clusters there are.
func (p *sshProxyConn) writeSites(channel ssh.Channel) {
	type site struct {
		Name          string    `json:"name"`
		LastConnected time.Time `json:"lastconnected"`
		Status        string    `json:"status"`
	}
	now := p.cluster.now().UTC().Truncate(time.Second)
	sites := []site{{p.cluster.settings.Name, now, "online"}}
	if leaf := p.cluster.Leaf(); leaf != "" {
		sites = append(sites, site{leaf, now, "online"})
	}
	_ = json.NewEncoder(channel).Encode(sites)
}

// reasonOf is what a client is told of an error.
func reasonOf(err error) string { return status.Convert(err).Message() }

// join copies in both directions until one of them ends.
func join(channel ssh.Channel, far net.Conn) {
	done := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(far, channel)
		done <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(channel, far)
		done <- struct{}{}
	}()
	<-done
	_ = far.Close()
	_ = channel.Close()
	<-done
}
