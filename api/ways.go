package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/proxy"
)

// routed are credentials that know how their proxy is reached.
type routed interface {
	Route() (credentials.Route, error)
}

// addressed are credentials that know their proxy's address.
type addressed interface {
	DefaultAddrs() ([]string, error)
}

// way is one way to an auth server, with one of the credentials.
type way struct {
	kind  string // WayAuth, WayProxy, WayTunnel
	route proxy.Config
	creds credentials.Credentials
	place int // of creds in Config.Credentials
	// greeting has dial wait until the server shows that it accepts the certificate.
	greeting bool
}

// dial connects.
func (w *way) dial(ctx context.Context) (conn net.Conn, err error) {
	switch w.kind {
	case WayAuth:
		conn, err = w.route.DialDirect(ctx)
	case WayProxy:
		conn, err = proxy.DialAuth(ctx, w.route)
	default:
		conn, err = w.route.DialTunnel(ctx)
	}
	if err != nil || !w.greeting {
		return conn, err
	}
	return greeted(ctx, conn, w.addr())
}

// addr is the address that is connected to.
func (w *way) addr() string {
	if w.kind == WayAuth || w.route.TLSRouting {
		return w.route.WebAddr
	}
	return w.route.SSHAddr
}

// renewed is the same way with what the credentials have now.
func (w *way) renewed() (*way, error) {
	tlsConfig, err := tlsOf(w.creds)
	if err != nil {
		return nil, err
	}
	fresh := *w
	fresh.route.TLS = tlsConfig
	return &fresh, nil
}

// try is the try of this way.
func (w *way) try() *try {
	return &try{Attempt: Attempt{Addr: w.addr(), Way: w.kind, Credentials: w.place}, way: w}
}

// again is the try of a way that has worked before; others begin if it fails or takes long.
func (w *way) again(others []*try) *try {
	fresh, err := w.renewed()
	if err != nil { // others ask the credentials again, and report what is wrong with them
		return &try{find: func(context.Context) ([]*try, error) { return others, nil }}
	}
	t := fresh.try()
	t.next = others
	return t
}

// tries are what to begin with: asking each of the credentials for what it has.
func (cfg *Config) tries() []*try {
	var tries []*try
	for i, c := range cfg.Credentials {
		m := &means{cfg: cfg, creds: c, place: i}
		tries = append(tries, &try{
			Attempt: Attempt{Credentials: i},
			find:    func(context.Context) ([]*try, error) { return m.tries() },
		})
	}
	return tries
}

// means are credentials to connect with.
type means struct {
	cfg   *Config
	creds credentials.Credentials
	place int
	base  *proxy.Config
}

func (m *means) tries() ([]*try, error) {
	tlsConfig, err := tlsOf(m.creds)
	if err != nil {
		return nil, err
	}
	if m.base, err = m.cfg.base(tlsConfig, m.creds); err != nil {
		return nil, err
	}
	addrs := m.cfg.Addrs
	if r, ok := m.creds.(routed); ok && len(addrs) == 0 {
		known, err := r.Route()
		if err != nil {
			return nil, err
		}
		return m.known(known), nil
	}
	if a, ok := m.creds.(addressed); ok && len(addrs) == 0 && m.cfg.TunnelAddr == "" {
		if addrs, err = a.DefaultAddrs(); err != nil {
			return nil, err
		}
	}
	if len(addrs) == 0 && m.cfg.TunnelAddr == "" {
		return nil, errNoAddress
	}
	var tries []*try
	for i, addr := range addrs {
		tries = append(tries, m.at(addr, i == 0)...)
	}
	return append(tries, m.givenTunnel()...), nil
}

// known is the way that the credentials know, and what to try if it fails.
func (m *means) known(route credentials.Route) []*try {
	w := m.way(WayProxy, route.WebAddr)
	follow(&w.route, route)
	first := w.try()
	if route.TLSRouting {
		other := *w
		other.route.ConnUpgrade = !route.ConnUpgrade
		first.next = append(first.next, other.try())
	}
	first.next = append(first.next, m.found(route.WebAddr, w.route.TLSRouting))
	first.next = append(first.next, m.givenTunnel()...)
	return []*try{first}
}

// follow copies what credentials know of the way to their proxy into route.
func follow(route *proxy.Config, known credentials.Route) {
	route.WebAddr, route.SSHAddr, route.TLSRouting, route.ConnUpgrade = known.WebAddr, known.SSHAddr, known.TLSRouting, known.ConnUpgrade
}

// at are the tries of an address that may be anything.
func (m *means) at(addr string, first bool) []*try {
	tries := []*try{m.way(WayAuth, addr).try()}
	given := m.cfg.SSHAddr != ""
	switch {
	case !given:
		tries = append(tries, m.tlsRouting(addr))
	case first: // Config.SSHAddr is that of the first address
		tries = append(tries, m.way(WayProxy, addr).try())
	}
	return append(tries, m.tunnel(addr, false), m.found(addr, given))
}

// tlsRouting is the try of TLS routing, upgraded from HTTP if that is said or turns out to be needed.
func (m *means) tlsRouting(addr string) *try {
	w := m.way(WayProxy, addr)
	upgrade, known := w.route.UpgradeSetting()
	w.route.ConnUpgrade = w.route.ConnUpgrade || known && upgrade
	t := w.try()
	if !known && !w.route.ConnUpgrade {
		upgraded := *w
		upgraded.route.ConnUpgrade = true
		t.next, t.worth = []*try{upgraded.try()}, mayBeStripped
	}
	return t
}

// mayBeStripped reports whether a failure of TLS routing may be due to something on the
// way that ends TLS: somebody was there.
func mayBeStripped(err error) bool {
	var op *net.OpError
	return !(errors.As(err, &op) && op.Op == "dial") && !errors.Is(err, ErrExpired)
}

// givenTunnel are the tries of the tunnel whose address was given: with TLS and without.
func (m *means) givenTunnel() []*try {
	addr := m.cfg.TunnelAddr
	if addr == "" {
		return nil
	}
	if slices.Contains(m.cfg.Addrs, addr) {
		return []*try{m.tunnel(addr, true)}
	}
	return []*try{m.tunnel(addr, false), m.tunnel(addr, true)}
}

// tunnel is the try of a tunnel at addr.
func (m *means) tunnel(addr string, tlsRouting bool) *try {
	w := m.way(WayTunnel, addr)
	w.route.SSHAddr, w.route.TLSRouting = addr, tlsRouting
	return m.tunnelBy(w)
}

func (m *means) tunnelBy(w *way) *try {
	t := w.try()
	if leaf := w.route.Leaf; leaf != "" {
		t.way, t.find = nil, func(context.Context) ([]*try, error) {
			return nil, fmt.Errorf("the tunnel leads to the root cluster %s, not to %s", w.route.Cluster, leaf)
		}
	}
	return t
}

// found asks a web proxy for what it has besides: an SSH address where it does not do
// TLS routing, unless that one is known, and a tunnel.
func (m *means) found(addr string, sshKnown bool) *try {
	asked := m.way(WayTunnel, addr)
	asked.route.TLSRouting = true
	t := asked.try()
	t.way, t.find = nil, func(ctx context.Context) ([]*try, error) {
		web, tunnel, err := asked.route.Find(ctx)
		if err != nil {
			return nil, fmt.Errorf("its address is not found: %w", err)
		}
		var more []*try
		if !web.TLSRouting && !sshKnown {
			more = append(more, m.by(WayProxy, web).try())
		}
		if w := m.by(WayTunnel, tunnel); tunnel.TLSRouting || !slices.Contains(m.cfg.Addrs, w.addr()) {
			more = append(more, m.tunnelBy(w))
		}
		return more, nil
	}
	return t
}

// way is a way at addr, and otherwise as the configuration has it.
func (m *means) way(kind, addr string) *way {
	route := *m.base
	route.WebAddr = addr
	return m.by(kind, &route)
}

func (m *means) by(kind string, route *proxy.Config) *way {
	return &way{kind, *route, m.creds, m.place, len(m.cfg.Credentials) > 1}
}
