package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
)

const (
	// clusterSuffix ends the names that hosts of a cluster answer to.
	clusterSuffix = ".teleport.cluster.local"

	alpnTransport = "teleport-proxy-ssh-grpc"
	alpnAuth      = "teleport-auth@"
	alpnHTTP2     = "h2"
	alpnHTTP1     = "http/1.1"

	methodProxySSH     = "/teleport.transport.v1.TransportService/ProxySSH"
	methodProxyCluster = "/teleport.transport.v1.TransportService/ProxyCluster"
)

// Config says how to connect with an identity.
type Config struct {
	// WebAddr is the proxy's web address, where everything is reached with TLS
	// routing; SSHAddr is its SSH address, which is used without.
	WebAddr, SSHAddr string
	TLSRouting       bool
	// ConnUpgrade upgrades connections to WebAddr from HTTP, for networks in
	// which TLS routing does not get through (Client.UpgradeRequired).
	ConnUpgrade bool
	// Insecure turns off the verification of the certificate of the HTTP
	// server that upgrades, RootCAs replaces the system's authorities for it
	// and for an HTTP proxy that is spoken to over TLS. The identity's own
	// authorities always verify the connections inside.
	Insecure bool
	RootCAs  *x509.CertPool
	// TLS is the identity's configuration: its certificate and authorities.
	TLS *tls.Config
	// CurrentTLS returns what TLS is by now, for the connections that a Transport makes
	// after its first: authorities and certificates may have been replaced meanwhile.
	// Nil: TLS serves for all.
	CurrentTLS func() (*tls.Config, error)
	// SSH is the identity's configuration for the SSH server of a proxy without TLS
	// routing, which is used where it does not serve what newer ones do. Its user is a
	// principal of the certificate. Nil: it is not used.
	SSH func() (*ssh.ClientConfig, error)
	// Cluster is the root cluster, the one that issued the certificate.
	Cluster string
	// Leaf is the cluster whose auth server DialAuth connects to, where that is
	// not Cluster. TLS needs its host authority too.
	Leaf string
	// HTTP1 makes the connection to an auth server one that does not negotiate HTTP/2: some of
	// what servers of 14 can do is reached by HTTP/1.1 alone.
	HTTP1 bool
	// AnyCluster accepts a proxy of any cluster whose authority is in TLS and for which
	// its certificate is, instead of Cluster alone: see Transport.Cluster. Where none fits,
	// the error of Dial has a method ClaimedCluster, which is what the certificate says.
	AnyCluster bool
	// Dial makes TCP connections; nil for the network's own.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Headers returns the names and values of headers that the request to WebAddr
	// for an upgrade has besides; nil for none.
	Headers func(addr string) [][2]string
	// StreamBuffer limits, in bytes, what may come from a node before it is read, for
	// those who are connected to hundreds; 0 is 4 MiB.
	StreamBuffer int

	server string // cluster of the server that TLS is made with; empty for Cluster
}

// serverCluster is the cluster whose authority has to have certified the server.
func (c *Config) serverCluster() string { return firstOf(c.server, c.Cluster) }

func (c *Config) check() error {
	switch {
	case c.TLS == nil:
		return errors.New("no TLS configuration to connect with")
	case c.Cluster == "":
		return errors.New("no cluster to connect to")
	case c.TLSRouting && c.WebAddr == "":
		return errors.New("no web address of a proxy to connect to")
	case !c.TLSRouting && c.SSHAddr == "":
		return errors.New("no SSH address of a proxy to connect to")
	}
	return nil
}

// addr is the address that connections go to.
func (c *Config) addr() string {
	if c.TLSRouting {
		return c.WebAddr
	}
	return c.SSHAddr
}

// encodeCluster is the name under which hosts of a cluster are addressed:
// cluster names need not be host names.
func encodeCluster(name string) string { return hex.EncodeToString([]byte(name)) + clusterSuffix }

// clientTLS is the configuration for one connection with the identity.
func (c *Config) clientTLS(alpn ...string) *tls.Config {
	cfg := c.TLS.Clone()
	cfg.ServerName = encodeCluster(c.Cluster)
	cfg.NextProtos = alpn
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.InsecureSkipVerify = false // who verifies in VerifyConnection does that besides
	// All hosts of all clusters bear names under the same suffix, and the
	// identity may trust several clusters: which one it is shows in the authority.
	before := cfg.VerifyConnection
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		cluster := c.serverCluster()
		if c.AnyCluster && c.server == "" {
			cluster = claimedCluster(state.PeerCertificates[0])
		}
		if !certified(state.VerifiedChains, cluster) {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates,
				Err: errors.New("another cluster's authority has signed it")}
		}
		if before != nil {
			return before(state)
		}
		return nil
	}
	return cfg
}

// certified reports whether one of the chains ends at the cluster's authority.
func certified(chains [][]*x509.Certificate, cluster string) bool {
	return slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		return chain[len(chain)-1].Subject.CommonName == cluster
	})
}

// connect makes a TLS connection to what the proxy routes the ALPN names to.
func (c *Config) connect(ctx context.Context, alpn ...string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.raw(ctx)
	if err != nil {
		return nil, err
	}
	return c.secure(ctx, conn, alpn...)
}

// raw connects as far as the proxy's router.
func (c *Config) raw(ctx context.Context) (net.Conn, error) {
	addr := c.addr()
	if !c.TLSRouting || !c.ConnUpgrade {
		conn, err := dialFunc(c.Dial).tcp(ctx, addr, c.RootCAs)
		if err != nil {
			return nil, &netError{addr, causeOr(ctx, err)}
		}
		return conn, nil
	}
	inner, err := c.upgraded(ctx, upgrade)
	if errors.Is(err, errOldServer) {
		var old error
		if inner, old = c.upgraded(ctx, upgradeOld); old == nil {
			return inner, nil
		}
		err = fmt.Errorf("%w; %w", err, old)
	}
	var trust *TrustError
	switch {
	case err == nil:
		return inner, nil
	case errors.As(err, &trust):
		return nil, trust
	}
	return nil, &netError{addr, causeOr(ctx, err)}
}

// upgraded makes a connection to the web server and upgrades it in one form.
func (c *Config) upgraded(ctx context.Context, form upgradeForm) (net.Conn, error) {
	outer, err := dialWeb(ctx, c.Dial, webConfig{c.addr(), c.RootCAs, c.Insecure, nil})
	if err != nil {
		return nil, err
	}
	inner, err := form(ctx, outer, c.addr(), c.Headers)
	if err != nil {
		_ = outer.Close()
		return nil, err
	}
	return inner, nil
}

// secure runs the identity's TLS over conn.
func (c *Config) secure(ctx context.Context, conn net.Conn, alpn ...string) (net.Conn, error) {
	secured := tls.Client(conn, c.clientTLS(alpn...))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, c.explain(causeOr(ctx, err))
	}
	slog.Debug("connected", "addr", c.addr(), "for", alpn[0], "cluster", c.serverCluster(), "upgraded", c.ConnUpgrade)
	return secured, nil
}

// explain is the error for a connection to the proxy that failed with err.
func (c *Config) explain(err error) error {
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		by := ""
		if len(untrusted.UnverifiedCertificates) > 0 {
			by = " (its certificate is " + presented(certificateNames(untrusted.UnverifiedCertificates[0])) + ")"
		}
		err = fmt.Errorf("it does not prove to belong to cluster %s%s: %w", c.serverCluster(), by, err)
	}
	return &netError{c.addr(), err}
}

// Transport is a connection to a proxy over which nodes are reached.
type Transport struct {
	cfg  Config
	conn *rpc.Conn

	mu        sync.Mutex
	connected bool   // at least once
	cluster   string // of the proxy
	closed    bool
	overSSH   bool // there is no transport service, see sshProxy
	ssh       *sshProxy
	allSSH    []*sshProxy // that were made
}

// Dial connects to the proxy's transport service, or without TLS routing, where there is
// none, to its SSH server. Should the connection break
// later, the next use makes a new one.
//
// Errors name the address; ErrExpired is the certificate's age (a server may
// say so only later, then DialNode's connection has it), *TrustError concerns
// the upgrading web server alone.
func Dial(ctx context.Context, cfg Config) (*Transport, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	t := &Transport{cfg: cfg}
	t.conn = rpc.NewConn(func(ctx context.Context) (net.Conn, error) {
		return t.connect(ctx)
	})
	t.conn.StreamBuffer = cfg.StreamBuffer
	err := t.conn.Connect(ctx)
	if cfg.mayBeSSH(err) {
		if _, refused := t.connectSSH(ctx); refused == nil || errors.As(err, new(tls.RecordHeaderError)) {
			err = refused
		}
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// connect makes the connection that calls are made on.
func (t *Transport) connect(ctx context.Context) (net.Conn, error) {
	cfg := t.cfg
	t.mu.Lock()
	again := t.connected
	t.mu.Unlock()
	if again && cfg.CurrentTLS != nil {
		var err error
		if cfg.TLS, err = cfg.CurrentTLS(); err != nil {
			return nil, err
		}
	}
	conn, err := cfg.connect(ctx, alpnTransport, alpnHTTP2)
	if secured, ok := conn.(*tls.Conn); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.connected, t.cluster = true, claimedCluster(secured.ConnectionState().PeerCertificates[0])
	}
	return conn, err
}

// Close ends the connection and with it all those that DialNode has returned.
func (t *Transport) Close() error {
	t.closeSSH()
	return t.conn.Close()
}

// Renew has the next use make a new connection, unless the present one is younger than
// age: it may have died without a word. What goes over the old one stays there.
func (t *Transport) Renew(age time.Duration) {
	t.renewSSH(age)
	t.conn.Renew(age)
}

// DialNode asks the proxy to connect to a node's SSH server. hostport has the
// node's name, address or UUID and its port, 0 for whichever it has; cluster
// is never empty.
//
// It does not wait for the proxy: what is written follows the request at once,
// and must begin with an SSH version line. That the node could not be reached
// is a *NodeError of the first read. ctx ends the attempt to reach the node
// and has no effect afterwards. A deadline that passes ends the connection.
func (t *Transport) DialNode(ctx context.Context, hostport, cluster string) (net.Conn, error) {
	if t.asksSSH() {
		return t.dialOverSSH(ctx, hostport, "proxy:"+hostport+"@"+cluster)
	}
	return t.open(ctx, methodProxySSH, streamConfig{
		remote: hostport,
		first:  wire.Marshal(&wire.ProxySSHRequest{DialTarget: &wire.TargetHost{HostPort: hostport, Cluster: cluster}}),
		encode: func(p []byte) []byte { return wire.Marshal(&wire.ProxySSHRequest{SSH: &wire.Frame{Payload: p}}) },
		decode: func(message []byte) ([]byte, error) {
			var m wire.ProxySSHResponse
			if err := wire.Unmarshal(message, &m); err != nil || m.SSH == nil {
				return nil, err
			}
			return m.SSH.Payload, nil
		},
	})
}

// dialCluster asks the proxy to connect to an auth server of a cluster.
func (t *Transport) dialCluster(ctx context.Context, cluster string) (net.Conn, error) {
	if t.asksSSH() {
		return t.dialOverSSH(ctx, cluster, "proxy:@"+cluster)
	}
	return t.open(ctx, methodProxyCluster, streamConfig{
		remote: cluster,
		first:  wire.Marshal(&wire.ProxyClusterRequest{Cluster: cluster}),
		encode: func(p []byte) []byte { return wire.Marshal(&wire.ProxyClusterRequest{Frame: &wire.Frame{Payload: p}}) },
		decode: func(message []byte) ([]byte, error) {
			var m wire.ProxyClusterResponse
			if err := wire.Unmarshal(message, &m); err != nil || m.Frame == nil {
				return nil, err
			}
			return m.Frame.Payload, nil
		},
	})
}

// DialAuth connects to an auth server of cfg.Cluster, or cfg.Leaf, on which HTTP/2 starts at
// once. With TLS routing the proxy passes the connection on by its ALPN name;
// otherwise it goes through the transport service. Errors are those of Dial.
func DialAuth(ctx context.Context, cfg Config) (net.Conn, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	auth := cfg
	auth.server = cfg.Leaf
	if cfg.TLSRouting {
		return auth.connect(ctx, alpnAuth+encodeCluster(auth.serverCluster()), cfg.speaks())
	}
	t, err := Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := t.dialCluster(ctx, auth.serverCluster())
	if err == nil {
		carriedAlone(conn, t)
		conn, err = auth.secure(ctx, conn, cfg.speaks())
	}
	if err != nil {
		_ = t.Close()
		return nil, err
	}
	return &owningConn{conn, t}, nil
}

// speaks is what is spoken with the auth server.
func (c *Config) speaks() string {
	if c.HTTP1 {
		return alpnHTTP1
	}
	return alpnHTTP2
}

// owningConn closes the transport under it too.
type owningConn struct {
	net.Conn
	under *Transport
}

func (c *owningConn) Close() error {
	err := c.Conn.Close()
	return errors.Join(err, c.under.Close())
}
