package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// ErrExposed: the browser's answer would be waited for on an address that other
// machines reach, and nobody said that they should.
var ErrExposed = errors.New("the address to wait for the browser at is not of this machine alone")

// listen opens the listener that the browser brings the answer to: on the
// loopback interface, unless the request says where else and that browsers reach
// it as callbackURL. It returns the address for browsers, without a path, and the
// hosts that their requests may name.
func listen(ctx context.Context, bindAddr, callbackURL string) (l net.Listener, base string, hosts []string, err error) {
	if l, err = bind(ctx, bindAddr, callbackURL != ""); err != nil {
		return nil, "", nil, err
	}
	ours := l.Addr().String()
	port := ours[strings.LastIndexByte(ours, ':'):]
	hosts = []string{"127.0.0.1" + port, "localhost" + port, "[::1]" + port, ours}
	if callbackURL == "" {
		return l, "http://" + ours, hosts, nil
	}
	base, host, err := parseCallback(callbackURL)
	if err != nil {
		_ = l.Close()
		return nil, "", nil, err
	}
	return l, base, append(hosts, host), nil
}

// bind listens on addr, by default on any port of the loopback interface.
func bind(ctx context.Context, addr string, exposed bool) (net.Listener, error) {
	config := net.ListenConfig{Control: exclusive}
	if addr == "" {
		l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			l, err = config.Listen(ctx, "tcp", "[::1]:0")
		}
		return l, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("the address to wait for the browser at, %s, is not host:port", addr)
	}
	var ips []netip.Addr
	if host == "" {
		ips = []netip.Addr{netip.IPv6Unspecified()}
	} else if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if !exposed && !ip.Unmap().IsLoopback() {
			return nil, fmt.Errorf("%w: %s", ErrExposed, addr)
		}
	}
	if host != "" {
		host = ips[0].Unmap().String()
	}
	return config.Listen(ctx, "tcp", net.JoinHostPort(host, port))
}

// parseCallback takes an address that browsers reach the listener at apart:
// https unless it says otherwise, a host, perhaps a port, and nothing else.
func parseCallback(raw string) (base, host string, err error) {
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return "", "", errors.New("the address that browsers are to be sent to is not https://HOST[:PORT]")
	}
	// Browsers leave the port out that the scheme has anyway.
	host = strings.TrimSuffix(u.Host, map[string]string{"https": ":443", "http": ":80"}[u.Scheme])
	return u.Scheme + "://" + host, strings.ToLower(host), nil
}
