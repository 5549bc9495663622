package sshclient

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds a host or login. Host names end at 253 bytes (RFC 1035);
// logins of directories are longer at times.
const maxName = 512

// Target says where to log in and as whom.
type Target struct {
	Login   string // user on the node; "" leaves the choice to the SSH configuration
	Host    string // host name, address or UUID, without brackets
	Port    int    // 0: whatever port the node has
	Cluster string // cluster of the node
}

// HostPort is the host and port in the form a proxy expects, "web-1:0" when
// no port was asked for; IPv6 addresses are bracketed.
func (t Target) HostPort() string { return net.JoinHostPort(t.Host, strconv.Itoa(t.Port)) }

// ParseTarget reads [login@]host[:port]. The last "@" splits, so that a login may
// contain one. An IPv6 address with a port stands in brackets, without one it may. Names
// that a shell, an ssh_config or a terminal could take for something else are refused:
// the error is a *TargetError.
func ParseTarget(s string) (Target, error) {
	var t Target
	t.Host = s
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		t.Login, t.Host = s[:at], s[at+1:]
		if t.Login == "" {
			return Target{}, &TargetError{Target: s, Reason: "there is no login before the @"}
		}
	}
	host, port, reason := splitHost(t.Host)
	if reason == "" {
		t.Host = host
		if port != "" {
			t.Port, reason = parsePort(port[1:])
		}
	}
	if reason == "" {
		reason = t.fault()
	}
	if reason != "" {
		return Target{}, &TargetError{Target: s, Reason: reason}
	}
	return t, nil
}

// splitHost takes the brackets off an IPv6 address and the port, with its colon, off
// any host. A non-empty reason says what is wrong.
func splitHost(s string) (host, port, reason string) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, after, closed := strings.Cut(rest, "]")
		addr, err := netip.ParseAddr(host)
		switch {
		case !closed || err != nil || !addr.Is6():
			return "", "", "brackets are for an IPv6 address"
		case after != "" && after[0] != ':':
			return "", "", "something follows the closing bracket"
		}
		return host, after, ""
	}
	colon := strings.IndexByte(s, ':')
	if colon < 0 {
		return s, "", ""
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return s, "", ""
	}
	if strings.Contains(s[colon+1:], ":") {
		return "", "", "it looks like an IPv6 address and is none"
	}
	return s[:colon], s[colon:], ""
}

// parsePort reads decimal digits; 0 is whatever port the node has.
func parsePort(s string) (port int, reason string) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, "after the colon there is no port, a number up to 65535"
	}
	return int(n), ""
}

// fault says what makes the target unusable, or "". It also stands guard over
// targets that were not parsed from text.
func (t Target) fault() string {
	switch {
	case t.Host == "":
		return "there is no host"
	case t.Port < 0 || t.Port > 65535:
		return "port " + strconv.Itoa(t.Port) + " does not exist"
	case strings.Contains(t.Host, "="):
		return "labels name any number of hosts, not one"
	}
	// What OpenSSH refuses, too: these names end up in commands and configuration files.
	if r := badName(t.Host, "'`\"$\\;&<>|(){}*?!#~^/,@%[] \t"); r != "" {
		return "the host " + r
	}
	if r := badName(t.Login, "'`\";&<>|(){}"); r != "" {
		return "the login " + r
	}
	if strings.HasSuffix(t.Login, `\`) {
		return `the login ends in a backslash`
	}
	return ""
}

func badName(s, forbidden string) string {
	switch {
	case len(s) > maxName:
		return "is longer than " + strconv.Itoa(maxName) + " bytes"
	case strings.HasPrefix(s, "-"):
		return "begins with a dash"
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	}
	for _, r := range s {
		if strings.ContainsRune(forbidden, r) || !unicode.IsPrint(r) {
			return "contains " + strconv.QuoteRune(r)
		}
	}
	return ""
}
