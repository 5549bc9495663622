// Package api is a client of a cluster's auth server: who answers there (Ping), which
// nodes there are (Nodes), what its users may do (Role) and ask for (CreateAccessRequest).
// Use Connect with what package credentials loads; Dial where it is known how the proxy
// is reached:
//
//	client, err := api.Connect(ctx, api.Config{
//		Credentials: []credentials.Credentials{credentials.LoadProfile("", "")},
//	})
package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/proxy"
)

// callTimeout limits a call whose context has no deadline.
const callTimeout = 30 * time.Second

const (
	methodPing          = "/proto.AuthService/Ping"
	methodListUnified   = "/proto.AuthService/ListUnifiedResources"
	methodListResources = "/proto.AuthService/ListResources"
)

// Config says how to connect.
type Config struct {
	// Addrs are addresses (host:port) of a proxy's web server, of an auth server, or
	// of a proxy's SSH tunnel: which of them each is turns out when they are tried. If
	// there are none, credentials that know their proxy (LoadProfile) supply it.
	Addrs []string
	// Credentials to try: Connect tries all, Dial and DialTransport use the first.
	Credentials []credentials.Credentials
	// DialTimeout limits Connect, altogether; 30 seconds if zero. No way gets more than
	// 30. Dial and DialTransport do not look at it.
	DialTimeout time.Duration

	// Cluster is the cluster to connect to, where that is not the one that issued
	// the credentials but one of its leaves.
	Cluster string
	// SSHAddr is the SSH address of a proxy without TLS routing; empty with, or to
	// have Connect find it.
	SSHAddr string
	// TunnelAddr is the address of the proxy's SSH tunnel; empty to have Connect find it.
	// Only Connect uses it.
	TunnelAddr string
	// ConnUpgrade upgrades connections from HTTP, where a load balancer in
	// front of the proxy takes ALPN out of TLS. Connect notices that by itself.
	ConnUpgrade bool
	// Insecure and RootCAs concern the certificate of the web server that is asked for
	// addresses and that upgrades: not to verify it, or against these authorities instead
	// of the system's. The auth server's is always verified against the credentials.
	Insecure bool
	RootCAs  *x509.CertPool
	// Dial makes TCP connections; nil for the network's own.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Headers returns headers, as pairs of name and value, to add to the HTTP requests
	// to an address; nil for none.
	Headers func(addr string) [][2]string

	headStart time.Duration // of a way that is known to work; headStart if zero
}

// Client is a connection to the auth server of the cluster that issued the
// credentials, or of the one that Config.Cluster names. Should the connection break, the
// next call makes a new one. Its methods may be called from several goroutines.
type Client struct {
	conn *rpc.Conn
	addr string // that it was connected to at first
	root string // the cluster that issued the credentials
	dial func(ctx context.Context, http1 bool) (net.Conn, error)
}

// Dial connects the one way that cfg says, for programs that know it: through the proxy at
// the first of Addrs, a web address, with the first of Credentials; without addresses the
// way is the one that those credentials know (those of LoadProfile do). Connect finds out.
//
// Should the connection break, the next one is made with what the credentials had at
// first. A certificate that has expired may show only with the first call. Errors are those
// of package proxy and those of the credentials.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	route, err := cfg.route()
	if err != nil {
		return nil, err
	}
	return newClient(ctx, Client{addr: route.WebAddr, root: route.Cluster, dial: func(ctx context.Context, http1 bool) (net.Conn, error) {
		by := *route
		by.HTTP1 = http1
		return proxy.DialAuth(ctx, by)
	}})
}

// newClient is c, connected with its dial.
func newClient(ctx context.Context, c Client) (*Client, error) {
	c.conn = rpc.NewConn(func(ctx context.Context) (net.Conn, error) { return c.dial(ctx, false) })
	if err := c.conn.Connect(ctx); err != nil {
		return nil, err
	}
	return &c, nil
}

// route is the one way that cfg says, or that the first of its credentials know.
func (cfg *Config) route() (*proxy.Config, error) {
	if len(cfg.Credentials) == 0 {
		return nil, errNoCredentials
	}
	c := cfg.Credentials[0]
	tlsConfig, err := tlsOf(c)
	if err != nil {
		return nil, err
	}
	route, err := cfg.base(tlsConfig, c)
	if err != nil {
		return nil, err
	}
	r, knows := c.(routed)
	switch {
	case len(cfg.Addrs) > 0:
		route.WebAddr = cfg.Addrs[0]
	case knows:
		known, err := r.Route()
		if err != nil {
			return nil, err
		}
		follow(route, known)
	default:
		return nil, errNoAddress
	}
	return route, nil
}

// base is what cfg says of every way with credentials c, whose TLS configuration is
// tlsConfig.
func (cfg *Config) base(tlsConfig *tls.Config, c credentials.Credentials) (*proxy.Config, error) {
	cluster, err := rootCluster(tlsConfig)
	if err != nil {
		return nil, err
	}
	route := &proxy.Config{
		SSHAddr: cfg.SSHAddr, TLSRouting: cfg.SSHAddr == "", ConnUpgrade: cfg.ConnUpgrade,
		Insecure: cfg.Insecure, RootCAs: cfg.RootCAs, Dial: cfg.Dial, Headers: cfg.Headers,
		TLS: tlsConfig, SSH: c.SSHClientConfig, Cluster: cluster,
	}
	if cfg.Cluster != cluster {
		route.Leaf = cfg.Cluster
	}
	return route, nil
}

// rootCluster is the cluster that issued the client certificate of cfg.
func rootCluster(cfg *tls.Config) (string, error) {
	var cert *tls.Certificate
	if len(cfg.Certificates) > 0 {
		cert = &cfg.Certificates[0]
	}
	if cfg.GetClientCertificate != nil {
		var err error
		cert, err = cfg.GetClientCertificate(&tls.CertificateRequestInfo{
			Version: tls.VersionTLS13,
			SignatureSchemes: []tls.SignatureScheme{
				tls.Ed25519, tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.PSSWithSHA256,
			},
		})
		if err != nil {
			return "", err
		}
	}
	if cert == nil || len(cert.Certificate) == 0 {
		return "", errors.New("the credentials have no client certificate")
	}
	leaf := cert.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return "", fmt.Errorf("client certificate: %w", err)
		}
	}
	if leaf.Issuer.CommonName == "" {
		return "", errors.New("the client certificate does not name the cluster that issued it")
	}
	return leaf.Issuer.CommonName, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// call makes a unary call with the messages that request and reply point to.
func (c *Client) call(ctx context.Context, method string, request, reply any) error {
	data, err := c.exchange(ctx, method, request)
	if err != nil {
		return err
	}
	if err := wire.Unmarshal(data, reply); err != nil {
		return &Error{Method: method, Addr: c.addr, err: err}
	}
	return nil
}

// exchange makes a unary call and returns the message that came back.
func (c *Client) exchange(ctx context.Context, method string, request any) ([]byte, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	data, err := c.conn.Invoke(ctx, method, wire.Marshal(request))
	if err != nil {
		return nil, &Error{Method: method, Addr: c.addr, err: err}
	}
	return data, nil
}

// limited is the context of a call, with a deadline of its own if the caller gave none.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, callTimeout)
}

// PingResponse is what the auth server says about itself. Its text comes from
// the server as it is.
type PingResponse struct {
	ClusterName     string
	ServerVersion   string
	ProxyPublicAddr string // host:port
	RemoteAddr      string // ours, as the server sees it
	FIPS            bool
}

// Ping asks the auth server what it is.
func (c *Client) Ping(ctx context.Context) (*PingResponse, error) {
	var reply wire.PingResponse
	if err := c.call(ctx, methodPing, &wire.Empty{}, &reply); err != nil {
		return nil, err
	}
	return &PingResponse{
		ClusterName:     reply.ClusterName,
		ServerVersion:   reply.ServerVersion,
		ProxyPublicAddr: reply.ProxyPublicAddr,
		RemoteAddr:      reply.RemoteAddr,
		FIPS:            reply.FIPS,
	}, nil
}
