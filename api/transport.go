package api

import (
	"context"

	"github.com/seed-087d674e/tsh/proxy"
)

// DialTransport connects to the proxy over which nodes are reached: proxy.Transport is
// what sshclient.Dial takes. Of cfg it takes the first of Credentials and the first of
// Addrs, a web address, with SSHAddr for a proxy without TLS routing; if there are no
// addresses the credentials have to know how their proxy is reached (those of LoadProfile
// do).
//
// Errors are those of proxy.Dial and those of the credentials.
func DialTransport(ctx context.Context, cfg Config) (*proxy.Transport, error) {
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
	return proxy.Dial(ctx, *route)
}
