// Package profile is what tsh remembers about a login: which proxy, user and
// cluster, where the proxy is reached, and which of several logins is the current
// one. It shares its directory with other clients of the same layout.
//
//	store := profile.Open(home)
//	p, err := store.Load("") // the current profile
//	id, err := store.Identity(p)
//
// A login ends with Commit, which stores identity and profile as one change.
package profile

import (
	"errors"
	"net"
	"strings"
	"time"
)

var (
	// ErrNoCurrent means that no profile is the current one.
	ErrNoCurrent = errors.New("no current profile")
	// ErrNotFound means that there is no profile of that name, or an empty one.
	ErrNotFound = errors.New("no such profile")
	// ErrDamaged means that a profile file cannot be read for what it contains.
	ErrDamaged = errors.New("damaged profile")
)

// Defaults of keys that a profile file leaves out.
const defaultSSHDialTimeout = 30 * time.Second

// Profile is one profile file. Addresses are host:port, as the proxy announces
// them; an empty one means that the proxy does not offer the service. A Profile
// that was loaded keeps unknown keys and comments of its file for Commit.
type Profile struct {
	Name string // file name without .yaml: the host of WebProxyAddr

	WebProxyAddr, SSHProxyAddr, KubeProxyAddr         string
	PostgresProxyAddr, MySQLProxyAddr, MongoProxyAddr string
	RelayAddr, DefaultRelayAddr                       string // RelayAddr may be "none"

	User    string
	Cluster string // selected cluster, root or leaf

	DynamicForwardPorts []string
	TLSRouting          bool // the proxy serves everything on one port
	ConnUpgrade         bool // ... behind a balancer that needs the WebSocket upgrade
	AuthConnector       string
	LoadAllCAs          bool // trust every known cluster, not only root and selected
	MFAMode             string
	PrivateKeyPolicy    string
	PIVSlot             string
	PIVPINCacheTTL      time.Duration

	MissingClusterDetails bool // a stub: the proxy was not asked yet
	SAMLSLOEnabled        bool
	SSHDialTimeout        time.Duration // 30 s when the file has none
	SSOHost               string

	// Typed is what the person gave as proxy (host or host:port). Commit remembers
	// it when the proxy announces itself under another name; see Store.Resolve. It
	// is no part of the file.
	Typed string
	// Proven is the host whose web certificate was verified at this login, or that
	// was verified with the stored authorities; empty if none was. Only the host of
	// the profile itself may replace authorities of a login that is stored; see
	// Store.Commit. It is no part of the file.
	Proven string

	// Keystore is where the private keys of the next login are to be kept; see
	// Store.Commit, which remembers it. It is no part of the file.
	Keystore Keystore

	raw []byte // the file it was loaded from
}

// Host is the host of the web address, without port and brackets: the name of the
// key directory and of the proxy in known_hosts. Other clients use it and not the
// file's name where the two differ.
func (p *Profile) Host() string { return hostOf(p.WebProxyAddr) }

func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	if inner, ok := strings.CutPrefix(addr, "["); ok {
		return strings.TrimSuffix(inner, "]")
	}
	return addr
}
