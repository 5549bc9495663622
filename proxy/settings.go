package proxy

import (
	"net"
	"net/netip"
	"time"
)

// proxySettings says where the proxy's services are.
type proxySettings struct {
	_    [0]func() // never compared
	Kube struct {
		Enabled    bool   `json:"enabled"`
		PublicAddr string `json:"public_addr"`
		ListenAddr string `json:"listen_addr"`
	} `json:"kube"`
	SSH struct {
		ListenAddr    string        `json:"listen_addr"`
		WebListenAddr string        `json:"web_listen_addr"`
		PublicAddr    string        `json:"public_addr"`
		SSHPublicAddr string        `json:"ssh_public_addr"`
		DialTimeout   time.Duration `json:"dial_timeout"`
	} `json:"ssh"`
	DB struct {
		PostgresListenAddr string `json:"postgres_listen_addr"`
		PostgresPublicAddr string `json:"postgres_public_addr"`
		MySQLListenAddr    string `json:"mysql_listen_addr"`
		MySQLPublicAddr    string `json:"mysql_public_addr"`
		MongoListenAddr    string `json:"mongo_listen_addr"`
		MongoPublicAddr    string `json:"mongo_public_addr"`
	} `json:"db"`
	TLSRouting bool `json:"tls_routing_enabled"`
}

type announcedAddr struct{ name, value string }

// addresses are the announced addresses that are used.
func (s *proxySettings) addresses() []announcedAddr {
	return []announcedAddr{
		{"kube.public_addr", s.Kube.PublicAddr}, {"kube.listen_addr", s.Kube.ListenAddr},
		{"ssh.listen_addr", s.SSH.ListenAddr}, {"ssh.public_addr", s.SSH.PublicAddr},
		{"ssh.ssh_public_addr", s.SSH.SSHPublicAddr},
		{"db.postgres_public_addr", s.DB.PostgresPublicAddr}, {"db.postgres_listen_addr", s.DB.PostgresListenAddr},
		{"db.mysql_public_addr", s.DB.MySQLPublicAddr}, {"db.mysql_listen_addr", s.DB.MySQLListenAddr},
		{"db.mongo_public_addr", s.DB.MongoPublicAddr}, {"db.mongo_listen_addr", s.DB.MongoListenAddr},
	}
}

// maxSSHDialTimeout is the most that a proxy may make us wait for an SSH server.
const maxSSHDialTimeout = 5 * time.Minute

// Settings are the addresses that a profile stores about a proxy, host:port
// each, empty where the service is not there.
type Settings struct {
	WebAddr, SSHAddr, KubeAddr, PostgresAddr, MySQLAddr, MongoAddr string
	// TLSRouting: everything is reached at WebAddr.
	TLSRouting bool
	// SSHDialTimeout is zero if the proxy does not say, and 5 minutes at most.
	SSHDialTimeout time.Duration
}

// Settings works out the addresses from what the proxy announces and from
// webAddr, the address it was reached at. The announced ones win, also where
// they name another host.
func (p *Ping) Settings(webAddr string) Settings {
	var s Settings
	host, port, _ := splitAddr(webAddr)
	if h, announced, ok := announcement(p.Proxy.SSH.PublicAddr); ok {
		port = orDefault(announced, defaultWebPort)
		if h != "" {
			host = h
		}
	}
	a := addressBook{host: host, web: joinHostPort(host, port)}
	s.WebAddr = a.web
	s.TLSRouting = p.Proxy.TLSRouting
	s.SSHDialTimeout = min(max(p.Proxy.SSH.DialTimeout, 0), maxSSHDialTimeout)

	s.SSHAddr = a.public(p.Proxy.SSH.SSHPublicAddr, defaultSSHPort)
	if s.SSHAddr == "" {
		_, listening, _ := announcement(p.Proxy.SSH.ListenAddr)
		s.SSHAddr = joinHostPort(host, orDefault(listening, defaultSSHPort))
	}
	s.KubeAddr = a.kube(&p.Proxy)
	db := &p.Proxy.DB
	postgresListens := db.PostgresListenAddr
	if s.TLSRouting {
		postgresListens = ""
	}
	s.PostgresAddr = firstOf(a.public(db.PostgresPublicAddr, defaultPostgresPort), a.onHost(postgresListens, defaultPostgresPort), a.web)
	s.MySQLAddr = firstOf(a.public(db.MySQLPublicAddr, defaultMySQLPort), a.onHost(db.MySQLListenAddr, defaultMySQLPort))
	s.MongoAddr = firstOf(a.public(db.MongoPublicAddr, defaultMongoPort), a.onHost(db.MongoListenAddr, defaultMongoPort))
	return s
}

// Unproven is a copy that announces no hosts, only ports, for a proxy that has
// not proved to be who it claims to be (Options.Insecure, and not
// Client.Verified): its Settings and ProfileName stay with the host of webAddr.
func (p *Ping) Unproven() *Ping {
	q := *p
	ssh, db := &q.Proxy.SSH, &q.Proxy.DB
	for _, addr := range []*string{
		&q.Proxy.Kube.PublicAddr, &q.Proxy.Kube.ListenAddr,
		&ssh.ListenAddr, &ssh.WebListenAddr, &ssh.PublicAddr, &ssh.SSHPublicAddr,
		&db.PostgresListenAddr, &db.PostgresPublicAddr, &db.MySQLListenAddr, &db.MySQLPublicAddr, &db.MongoListenAddr, &db.MongoPublicAddr,
	} {
		_, port, ok := announcement(*addr)
		if *addr = ""; ok && port != 0 {
			*addr = joinHostPort("", port)
		}
	}
	return &q
}

// ProfileName is the name that a login to the proxy is stored under: the host
// that it announces, or else the one of webAddr, where it was reached.
func (p *Ping) ProfileName(webAddr string) string {
	host, _, err := net.SplitHostPort(p.Settings(webAddr).WebAddr)
	if err != nil {
		return ""
	}
	return host
}

// addressBook completes announced addresses.
type addressBook struct {
	host string // of the proxy
	web  string
}

// public is an announced public address with its port; empty if there is none.
func (a addressBook) public(addr string, port int) string {
	host, announced, ok := announcement(addr)
	if !ok {
		return ""
	}
	return joinHostPort(firstOf(host, a.host), orDefault(announced, port))
}

// onHost is the port of a listening address on the proxy's host.
func (a addressBook) onHost(addr string, port int) string {
	_, listening, ok := announcement(addr)
	if !ok {
		return ""
	}
	return joinHostPort(a.host, orDefault(listening, port))
}

func (a addressBook) kube(p *proxySettings) string {
	switch {
	case p.TLSRouting:
		return a.web
	case !p.Kube.Enabled:
		return ""
	}
	if public := a.public(p.Kube.PublicAddr, defaultKubePort); public != "" {
		return public
	}
	host, port, _ := announcement(p.Kube.ListenAddr)
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = ""
	}
	return joinHostPort(firstOf(host, a.host), orDefault(port, defaultKubePort))
}

// announcement splits an announced address; ok is false if there is none, or
// it is none.
func announcement(addr string) (host string, port int, ok bool) {
	if addr == "" {
		return "", 0, false
	}
	host, port, err := splitAddr(addr)
	return host, port, err == nil
}

func orDefault(port, fallback int) int {
	if port == 0 {
		return fallback
	}
	return port
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
