package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// What the SSH server of the reverse tunnel is asked for.
const (
	channelTransport = "teleport-transport"
	requestDial      = "teleport-transport-dial"
	// dialAuthServer is for any auth server of the cluster that the proxy belongs to.
	dialAuthServer = `{"address":"@remote-auth-server","conn_type":"node"}`
)

// strippedError: something on the way has taken the protocol names out of TLS.
type strippedError struct{ err error }

func (e *strippedError) Error() string {
	const said = "it does not route by protocol names (ALPN): something on the way has taken them out"
	if e.err == nil {
		return said
	}
	return said + " (" + e.err.Error() + ")"
}

func (e *strippedError) Unwrap() error { return e.err }

// DialDirect connects to the auth server itself, which listens at WebAddr. Errors are
// those of Dial.
func (c *Config) DialDirect(ctx context.Context) (net.Conn, error) {
	direct := *c
	direct.TLSRouting, direct.ConnUpgrade = true, false // as far as addresses go
	if err := direct.check(); err != nil {
		return nil, err
	}
	direct.server = c.Leaf
	return direct.connect(ctx, c.speaks())
}

// DialTunnel connects to an auth server of Cluster through the SSH server that the
// proxy has for reverse tunnels: with TLS routing at WebAddr, otherwise at SSHAddr. The
// server has to prove by a host certificate that SSH accepts that it is the host of that
// address; TLS to the auth server runs inside.
//
// Errors: those of SSH as they are, before there is any connection; otherwise those of
// Dial, or *NodeError if the tunnel does not lead to the auth server.
func (c *Config) DialTunnel(ctx context.Context) (net.Conn, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.SSH == nil {
		return nil, errors.New("no SSH configuration to connect with")
	}
	config, err := c.SSH()
	switch {
	case err != nil:
		return nil, err
	case config == nil || config.HostKeyCallback == nil:
		return nil, errors.New("the SSH configuration does not say which hosts to trust")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := c.rawTunnel(ctx)
	if err != nil {
		return nil, err
	}
	changed := *config
	server, err := logInSSH(ctx, raw, c.addr(), &changed)
	if err != nil {
		return nil, err
	}
	conn, err := server.open(ctx, "the auth server", channelTransport, requestDial, []byte(dialAuthServer))
	if err != nil {
		_ = server.client.Close()
		return nil, err
	}
	carriedAlone(conn, server.client)
	return c.secure(ctx, conn, c.speaks())
}

// rawTunnel connects as far as where SSH begins.
func (c *Config) rawTunnel(ctx context.Context) (net.Conn, error) {
	if !c.TLSRouting {
		return c.raw(ctx)
	}
	conn, err := c.routeTunnel(ctx)
	if !errors.As(err, new(*strippedError)) || c.ConnUpgrade {
		return conn, err
	}
	upgraded := *c
	upgraded.ConnUpgrade = true
	conn, again := upgraded.routeTunnel(ctx)
	if again != nil {
		return nil, fmt.Errorf("%w; upgraded: %w", err, again)
	}
	return conn, nil
}

// routeTunnel is TLS to the proxy that its protocol name routes to the SSH server.
func (c *Config) routeTunnel(ctx context.Context) (net.Conn, error) {
	host, _, err := net.SplitHostPort(c.WebAddr)
	if err != nil {
		return nil, err
	}
	conn, err := c.raw(ctx)
	if err != nil {
		return nil, err
	}
	// It is there for the routing: what proves itself is the SSH server inside. All the
	// same nobody is spoken to whom neither the cluster nor the web's authorities know.
	secured := tls.Client(conn, &tls.Config{
		ServerName: host, NextProtos: []string{probeALPN}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error { return c.knowsTunnel(host, state) },
	})
	if err = secured.HandshakeContext(ctx); err == nil && secured.ConnectionState().NegotiatedProtocol != probeALPN {
		err = &strippedError{}
	}
	if err == nil {
		return secured, nil
	}
	_ = conn.Close()
	if refusesALPN(err) {
		err = &strippedError{err}
	}
	return nil, &netError{c.addr(), causeOr(ctx, err)}
}

// knowsTunnel says why the server that ends the TLS around SSH is not to be spoken to. It
// may have a certificate of the cluster's, which need not name the host, or one of the web's.
func (c *Config) knowsTunnel(host string, state tls.ConnectionState) error {
	if state.NegotiatedProtocol != probeALPN || c.Insecure {
		return nil // of no use; nothing is sent
	}
	shown := state.PeerCertificates
	chains, err := shown[0].Verify(x509.VerifyOptions{Roots: c.TLS.RootCAs, Intermediates: intermediates(shown)})
	if err == nil && certified(chains, c.Cluster) {
		return nil
	}
	return verifyWeb(host, shown, c.RootCAs)
}
