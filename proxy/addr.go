package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Ports that are meant where an address names none.
const (
	defaultWebPort      = 3080
	defaultSSHPort      = 3023
	defaultKubePort     = 3026
	defaultPostgresPort = 5432
	defaultMySQLPort    = 3036
	defaultMongoPort    = 27017
	httpsPort           = 443
)

// Addr is a proxy's address as a person gives it.
type Addr struct {
	Host         string // DNS name or IP address, without brackets
	WebPort      int    // 3080 if none was given
	SSHPort      int    // 3023 if none was given
	WebPortGiven bool   // otherwise the port has to be found out
}

// Web is the address of the proxy's HTTPS listener, host:port.
func (a Addr) Web() string { return joinHostPort(a.Host, a.WebPort) }

// SSH is the address of the proxy's SSH listener, host:port.
func (a Addr) SSH() string { return joinHostPort(a.Host, a.SSHPort) }

// ParseAddr reads "host[:web_port[,ssh_port]]", optionally after "https://" and
// before one slash. The host is a DNS name in ASCII, an IPv4 address, or an
// IPv6 address, which needs brackets only if a port follows.
//
// It refuses what could make a person believe that they talk to somebody else,
// naming the host it has understood: user names ("good.example@evil.example"),
// paths, zones, control characters, names outside ASCII and odd ways to write
// an IPv4 address.
func ParseAddr(s string) (Addr, error) {
	addr, err := parseAddr(s)
	if err != nil {
		return Addr{}, fmt.Errorf("proxy address %s: %w", shortQuote(s), err)
	}
	return addr, nil
}

func parseAddr(s string) (Addr, error) {
	addr := Addr{WebPort: defaultWebPort, SSHPort: defaultSSHPort}
	rest := s
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		if !strings.EqualFold(scheme, "https") {
			return addr, fmt.Errorf("the scheme %s is not understood, only https is", shortQuote(scheme))
		}
		rest = strings.TrimSuffix(after, "/")
	}
	if err := checkAuthority(rest); err != nil {
		return addr, err
	}
	host, ports := splitPorts(rest)
	if err := checkHost(host); err != nil {
		return addr, err
	}
	addr.Host = strings.Trim(host, "[]")
	if ports == "" {
		return addr, nil
	}
	web, ssh, _ := strings.Cut(ports, ",")
	var err error
	if web != "" {
		addr.WebPortGiven = true
		if addr.WebPort, err = parsePort(web); err != nil {
			return addr, fmt.Errorf("host %s: %w", host, err)
		}
	}
	if ssh != "" {
		if addr.SSHPort, err = parsePort(ssh); err != nil {
			return addr, fmt.Errorf("host %s: SSH %w", host, err)
		}
	}
	return addr, nil
}

// splitPorts cuts the ports off a host; a bare IPv6 address has none.
func splitPorts(s string) (host, ports string) {
	if i := strings.LastIndexByte(s, ']'); strings.HasPrefix(s, "[") && i > 0 {
		if ports, ok := strings.CutPrefix(s[i+1:], ":"); ok {
			return s[:i+1], ports
		}
		return s, ""
	}
	if strings.Count(s, ":") > 1 {
		return s, ""
	}
	host, ports, _ = strings.Cut(s, ":")
	return host, ports
}

// checkAuthority refuses what a URL may have around a host, naming the host
// that a browser would go to.
func checkAuthority(s string) error {
	authority, what := s, ""
	if i := strings.IndexAny(s, "/\\?#"); i >= 0 {
		authority, what = s[:i], "it has a path"
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority, what = authority[i+1:], "it has a user name before an @"
	}
	if what == "" {
		return nil
	}
	return fmt.Errorf("%s; the host would be %s", what, shortQuote(authority))
}

// checkHost says why host may not be one that a connection is made to.
func checkHost(host string) error {
	if strings.Contains(host, "%") {
		return fmt.Errorf("the host %s has a zone or an escape", shortQuote(host))
	}
	if inner, ok := strings.CutPrefix(host, "["); ok || strings.Contains(host, ":") {
		ip, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !ip.Is6() || ok != strings.HasSuffix(host, "]") {
			return fmt.Errorf("the host %s is no IPv6 address", shortQuote(host))
		}
		return nil
	}
	return checkName(host)
}

// checkName accepts DNS names (RFC 1123, and underscores) and dotted IPv4
// addresses.
func checkName(host string) error {
	if host == "" {
		return errors.New("the host is missing")
	}
	if len(host) > 253 {
		return fmt.Errorf("the host has %d characters; a name has at most 253", len(host))
	}
	for _, r := range host {
		if r >= 0x80 {
			return fmt.Errorf("the host %s has a character outside ASCII; give its name in the form xn--… if you mean it", strconv.QuoteToASCII(host))
		}
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !validLabel(label) {
			return fmt.Errorf("the host %s is no valid name", shortQuote(host))
		}
	}
	// "127.1", "0x7f.1" and "2130706433" are addresses to some resolvers.
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("the host %s is no valid IPv4 address", shortQuote(host))
		}
	}
	return nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		c := label[i] | 0x20
		if (c < 'a' || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' && label[i] != '_' {
			return false
		}
	}
	return true
}

func parsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("port %s is not between 1 and 65535", shortQuote(s))
	}
	return int(port), nil
}

func joinHostPort(host string, port int) string {
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// splitAddr reads an address that a proxy announces, "host[:port]", under the
// rules of ParseAddr. The port is 0 if there is none; the host is empty if the
// address is only a port.
func splitAddr(s string) (host string, port int, err error) {
	s = strings.TrimPrefix(s, "https://")
	if err := checkAuthority(s); err != nil {
		return "", 0, err
	}
	host, ports := splitPorts(s)
	if ports != "" {
		if port, err = parsePort(ports); err != nil {
			return "", 0, err
		}
	}
	if host == "" && ports != "" {
		return "", port, nil
	}
	if err := checkHost(host); err != nil {
		return "", 0, err
	}
	return strings.Trim(host, "[]"), port, nil
}

// shortQuote is s as it can be shown: on one line, in quotes, not endless.
func shortQuote(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "..."
	}
	return `"` + text.Line(s) + `"`
}
