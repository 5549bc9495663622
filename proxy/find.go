package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
)

const (
	defaultTunnelPort = 3024
	// tunnelVariable overrides the address of the tunnel that a proxy announces.
	tunnelVariable = "TELEPORT_TUNNEL_PUBLIC_ADDR"
)

// found is what a proxy says of where its tunnel is, beside what Ping has.
type found struct {
	Proxy struct {
		SSH struct {
			TunnelListenAddr string `json:"tunnel_listen_addr"`
			TunnelPublicAddr string `json:"tunnel_public_addr"`
		} `json:"ssh"`
	} `json:"proxy"`
}

// Find asks the proxy at WebAddr where it is reached (GET /webapi/find), and returns c
// with the addresses that it announces: for DialAuth, and for DialTunnel.
//
// They may be on other hosts, and whoever answers may be anyone that has a certificate
// for WebAddr: it is what is connected to that has to prove itself, as always.
// TELEPORT_TUNNEL_PUBLIC_ADDR overrides the tunnel's. Redirects are not followed. Errors
// are those of Client.Ping.
func (c *Config) Find(ctx context.Context) (web, tunnel *Config, err error) {
	addr, err := ParseAddr(c.WebAddr)
	if err != nil {
		return nil, nil, err
	}
	if !addr.WebPortGiven {
		return nil, nil, fmt.Errorf("address %s has no port", shortQuote(c.WebAddr))
	}
	client := NewClient(Options{Addr: addr, Insecure: c.Insecure, RootCAs: c.RootCAs, Dial: c.Dial, Headers: c.Headers})
	defer client.Close()
	l, _, err := client.reach(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	const op = "find"
	data, err := l.do(ctx, call{op: op, path: "/webapi/find", limit: maxSmallAnswer})
	if err != nil {
		return nil, nil, err
	}
	ping, err := decodePing(data)
	if err != nil {
		return nil, nil, l.malformed(op, data, err)
	}
	var more found
	if err := decodeJSON(data, &more); err != nil {
		return nil, nil, l.malformed(op, data, err)
	}
	at, err := tunnelAddr(ping, &more, c.WebAddr)
	if err != nil {
		return nil, nil, l.malformed(op, data, err)
	}
	settings := ping.Settings(c.WebAddr)
	w, t := *c, *c
	w.WebAddr, w.SSHAddr, w.TLSRouting = settings.WebAddr, settings.SSHAddr, settings.TLSRouting
	t.WebAddr, t.SSHAddr, t.TLSRouting = at, at, settings.TLSRouting
	return &w, &t, nil
}

// tunnelAddr is where the tunnel is, by what the proxy at webAddr announces.
func tunnelAddr(p *Ping, more *found, webAddr string) (string, error) {
	host, webPort, err := splitAddr(webAddr)
	if err != nil {
		return "", err
	}
	ssh, tunnel := &p.Proxy.SSH, &more.Proxy.SSH
	for _, announced := range []announcedAddr{
		{"ssh.web_listen_addr", ssh.WebListenAddr}, {"ssh.tunnel_listen_addr", tunnel.TunnelListenAddr}, {"ssh.tunnel_public_addr", tunnel.TunnelPublicAddr},
	} {
		if _, _, err := splitAddr(announced.value); announced.value != "" && err != nil {
			return "", fmt.Errorf("it announces a bad %s: %w", announced.name, err)
		}
	}
	_, listening, _ := announcement(tunnel.TunnelListenAddr)
	_, webListening, _ := announcement(ssh.WebListenAddr)
	port := orDefault(listening, defaultTunnelPort)
	a := addressBook{host: host}
	if set := os.Getenv(tunnelVariable); set != "" {
		if own := a.public(set, port); own != "" {
			return own, nil
		}
		return "", errors.New(tunnelVariable + " is no address host:port")
	}
	if p.Proxy.TLSRouting {
		return firstOf(a.public(ssh.PublicAddr, orDefault(webListening, httpsPort)), a.listens(ssh.WebListenAddr, webPort), webAddr), nil
	}
	return firstOf(a.public(tunnel.TunnelPublicAddr, port), a.hostOf(ssh.SSHPublicAddr, port), a.hostOf(ssh.PublicAddr, port),
		a.listens(tunnel.TunnelListenAddr, port), a.listens(ssh.WebListenAddr, webPort), joinHostPort(host, port)), nil
}

// hostOf is the host of an announced address with a port; empty if there is none.
func (a addressBook) hostOf(addr string, port int) string {
	host, _, ok := announcement(addr)
	if !ok {
		return ""
	}
	return joinHostPort(firstOf(host, a.host), port)
}

// listens is a listening address; one for all of the proxy's addresses is the one that
// it was reached at.
func (a addressBook) listens(addr string, port int) string {
	host, announced, ok := announcement(addr)
	if !ok {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = ""
	}
	return joinHostPort(firstOf(host, a.host), orDefault(announced, port))
}
