// Package api is a client of a cluster's auth server: who answers there
// (Ping) and which nodes there are (Nodes). Use Connect with what package
// credentials loads:
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
	// Addrs are web addresses (host:port) of the proxy; the first that can be
	// connected to is used. If there are none, credentials that know the
	// proxy's address (a profile) supply it.
	Addrs []string
	// Credentials are tried in their order.
	Credentials []credentials.Credentials

	// Cluster is the cluster to connect to, where that is not the one that issued
	// the credentials but one of its leaves.
	Cluster string
	// SSHAddr is the SSH address of a proxy without TLS routing; empty with.
	SSHAddr string
	// ConnUpgrade upgrades connections from HTTP, where a load balancer in
	// front of the proxy takes ALPN out of TLS.
	ConnUpgrade bool
	// Insecure and RootCAs concern the certificate of the web server that
	// upgrades: not to verify it, or against these authorities instead of the
	// system's. The auth server's is always verified against the credentials.
	Insecure bool
	RootCAs  *x509.CertPool
	// Dial makes TCP connections; nil for the network's own.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Headers returns the names and values of headers that the request to an
	// address for an upgrade has besides; nil for none.
	Headers func(addr string) [][2]string
}

// routed are credentials that know how their proxy is reached.
type routed interface {
	Route() (credentials.Route, error)
}

// addressed are credentials that know their proxy's address.
type addressed interface {
	DefaultAddrs() ([]string, error)
}

// Client is a connection to the auth server of the cluster that issued the
// credentials, or of the one that Config.Cluster names. Should the connection break, the next call makes a new one. Its
// methods may be called from several goroutines.
type Client struct {
	conn  *rpc.Conn
	addr  string
	route proxy.Config
}

// Connect connects to an auth server, through the proxy. A certificate that
// has expired may show only with the first call.
//
// Errors say, for each attempt, what failed; see also the errors of package
// proxy and those of the credentials, which are wrapped.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if len(cfg.Credentials) == 0 {
		return nil, errors.New("no credentials to connect with")
	}
	var failures []error
	for _, c := range cfg.Credentials {
		client, err := cfg.connectWith(ctx, c)
		if err == nil {
			return client, nil
		}
		failures = append(failures, err)
	}
	if len(failures) == 1 {
		return nil, failures[0]
	}
	return nil, errors.Join(failures...)
}

func (cfg *Config) connectWith(ctx context.Context, c credentials.Credentials) (*Client, error) {
	tlsConfig, err := c.TLSConfig()
	if err != nil {
		return nil, err
	}
	cluster, err := rootCluster(tlsConfig)
	if err != nil {
		return nil, err
	}
	routes, err := cfg.routes(c)
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, route := range routes {
		route.TLS, route.SSH, route.Cluster = tlsConfig, c.SSHClientConfig, cluster
		if cfg.Cluster != cluster {
			route.Leaf = cfg.Cluster
		}
		client := &Client{addr: route.WebAddr, route: route}
		client.conn = rpc.NewConn(func(ctx context.Context) (net.Conn, error) { return proxy.DialAuth(ctx, route) })
		if err = client.conn.Connect(ctx); err == nil {
			return client, nil
		}
		failures = append(failures, err)
	}
	if len(failures) == 1 {
		return nil, failures[0]
	}
	return nil, errors.Join(failures...)
}

// routes are the ways to the proxy, one for each address.
func (cfg *Config) routes(c credentials.Credentials) ([]proxy.Config, error) {
	base := proxy.Config{
		SSHAddr: cfg.SSHAddr, TLSRouting: cfg.SSHAddr == "", ConnUpgrade: cfg.ConnUpgrade,
		Insecure: cfg.Insecure, RootCAs: cfg.RootCAs, Dial: cfg.Dial, Headers: cfg.Headers,
	}
	addrs := cfg.Addrs
	if r, ok := c.(routed); ok && len(addrs) == 0 {
		route, err := r.Route()
		if err != nil {
			return nil, err
		}
		addrs = []string{route.WebAddr}
		base.SSHAddr, base.TLSRouting, base.ConnUpgrade = route.SSHAddr, route.TLSRouting, route.ConnUpgrade
	}
	if a, ok := c.(addressed); ok && len(addrs) == 0 {
		var err error
		if addrs, err = a.DefaultAddrs(); err != nil {
			return nil, err
		}
	}
	if len(addrs) == 0 {
		return nil, errors.New("no address to connect to: the credentials do not know the proxy's, and none was given")
	}
	var routes []proxy.Config
	for _, addr := range addrs {
		route := base
		route.WebAddr = addr
		routes = append(routes, route)
	}
	return routes, nil
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
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	data, err := c.conn.Invoke(ctx, method, wire.Marshal(request))
	if err != nil {
		return nil, &Error{Method: method, Addr: c.addr, err: err}
	}
	return data, nil
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
