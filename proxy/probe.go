package proxy

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/rpc"
)

const (
	// probeTimeout limits the probe, connection included.
	probeTimeout = 5 * time.Second
	// probeALPN is the protocol that every proxy with TLS routing knows.
	probeALPN = "teleport-reversetunnel"
	// upgradeVariable overrides the probe.
	upgradeVariable = "TELEPORT_TLS_ROUTING_CONN_UPGRADE"
)

// UpgradeRequired reports whether something between us and the proxy, a load
// balancer say, takes ALPN out of TLS, so that connections with a certificate
// have to be upgraded from HTTP (Config.ConnUpgrade). It makes one short TLS
// connection to WebAddr, the address that has answered, and takes every doubt
// for a no. What a ping announces is not connected to: nobody has said yet that
// the login is to go there. TELEPORT_TLS_ROUTING_CONN_UPGRADE overrides the
// probe, for WebAddr or for the address that the last ping has announced.
func (c *Client) UpgradeRequired(ctx context.Context) bool {
	addr := c.WebAddr()
	c.mu.Lock()
	announced := c.announced
	c.mu.Unlock()
	if required, ok := upgradeOverride(os.Getenv(upgradeVariable), addr, announced); ok {
		return required
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := dialWeb(ctx, c.opts.Dial, webConfig{addr, c.opts.RootCAs, c.opts.Insecure, []string{probeALPN}})
	if err != nil {
		return refusesALPN(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().NegotiatedProtocol == ""
}

// UpgradeSetting is what TELEPORT_TLS_ROUTING_CONN_UPGRADE says of WebAddr; known is
// false if it says nothing.
func (c *Config) UpgradeSetting() (required, known bool) {
	return upgradeOverride(os.Getenv(upgradeVariable), c.WebAddr)
}

// refusesALPN reports whether a handshake failed because the server chose a
// protocol that was not offered, or none of those offered would do.
func refusesALPN(err error) bool {
	if rpc.IsAlert(err, rpc.AlertNoProtocol) {
		return true
	}
	// crypto/tls has no type for this one.
	return strings.Contains(err.Error(), "server selected unadvertised ALPN protocol")
}

// upgradeOverride reads the variable's tokens, separated by commas or
// semicolons: a boolean for all addresses, or "host:port=boolean" for one,
// which wins. ok is false if none applies.
func upgradeOverride(setting string, addrs ...string) (required, ok bool) {
	for _, token := range strings.FieldsFunc(setting, func(r rune) bool { return r == ',' || r == ';' }) {
		name, value, specific := strings.Cut(strings.TrimSpace(token), "=")
		if !specific {
			value = name
		}
		parsed, err := parseBool(value)
		isName := func(addr string) bool { return strings.EqualFold(name, addr) }
		if err != nil || specific && !slices.ContainsFunc(addrs, isName) {
			continue
		}
		required, ok = parsed, true
		if specific {
			return required, true
		}
	}
	return required, ok
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "yes", "on", "y":
		return true, nil
	case "no", "off", "n":
		return false, nil
	}
	return strconv.ParseBool(strings.ToLower(strings.TrimSpace(s)))
}
