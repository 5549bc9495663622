package api

import (
	"context"

	"github.com/seed-087d674e/tsh/proxy"
)

// DialTransport connects to the proxy over which nodes are reached: proxy.Transport is
// what sshclient.Dial takes. Of cfg it takes the first of Credentials and the first of
// Addrs, a web address, with SSHAddr for a proxy without TLS routing; if there are no
// addresses the credentials have to know how their proxy is reached (those of LoadProfile
// do). Connections that it makes later are made with what the credentials have then.
//
// Errors are those of proxy.Dial and those of the credentials.
func DialTransport(ctx context.Context, cfg Config) (*proxy.Transport, error) {
	route, err := cfg.route()
	if err != nil {
		return nil, err
	}
	route.CurrentTLS = cfg.Credentials[0].TLSConfig
	return proxy.Dial(ctx, *route)
}
