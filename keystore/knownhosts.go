package keystore

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	knownHostsFile = "known_hosts"
	maxKnownHosts  = 16 << 20
	maxHostLine    = 64 << 10 // longer lines are kept, never read

	markAuthority = "@cert-authority"
	markRevoked   = "@revoked"

	maxRevokedWarnings = 8
)

// hostLine is one line of known_hosts: [marker] hosts type key [comment].
type hostLine struct {
	marker  string
	hosts   []string
	key     string // base64
	comment string
}

// parseHostLine splits a line. ok is false for what is no entry: blank lines,
// comments, and lines that other clients would stumble over (bad).
func parseHostLine(line []byte) (l hostLine, ok, bad bool) {
	line, _, _ = bytes.Cut(line, []byte{'\r'})
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '#' {
		return l, false, false
	}
	if len(line) > maxHostLine || bytes.IndexByte(line, 0) >= 0 {
		return l, false, true
	}
	fields := strings.Fields(string(line))
	if strings.HasPrefix(fields[0], "@") {
		l.marker, fields = fields[0], fields[1:]
	}
	// A key is revoked whatever somebody wrote behind it about the reason.
	if len(fields) < 3 || len(fields) > 4 && l.marker != markRevoked {
		return l, false, true
	}
	l.hosts, l.key = strings.Split(fields[0], ","), fields[2]
	l.comment = strings.Join(fields[3:], " ")
	return l, true, false
}

// proxyCluster says for which proxy and cluster the line holds an authority. Only
// lines with three hosts name a proxy.
func (l *hostLine) proxyCluster() (proxy, cluster string) {
	if len(l.hosts) != 3 || l.marker != "" && l.marker != markAuthority {
		return "", ""
	}
	return l.hosts[0], l.hosts[1]
}

// isHost reports whether the comment, a query string, leaves the type at "host".
func (l *hostLine) isHost() bool {
	if l.comment == "" || l.comment == "type=host" {
		return true
	}
	q, err := url.ParseQuery(l.comment)
	return err == nil && (!q.Has("type") || q.Get("type") == "host")
}

// eachHostLine calls f for every entry, with the number of its line. Lines that
// are none never make the file unusable: they are skipped and reported on the
// debug log. It returns the numbers of those that mean to revoke a key.
func eachHostLine(data []byte, f func(n int, l *hostLine)) (lost []int) {
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		n := i + 1
		l, ok, bad := parseHostLine(line)
		if bad {
			slog.Debug("skipped a line that is no known_hosts entry", "file", knownHostsFile, "line", n)
			if meansRevoked(line) {
				lost = append(lost, n)
			}
		}
		if ok {
			f(n, &l)
		}
	}
	return lost
}

// meansRevoked reports whether a line begins like one that revokes a key.
func meansRevoked(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\x00")
	return len(line) >= len(markRevoked) && strings.EqualFold(string(line[:len(markRevoked)]), markRevoked)
}

// trust is what known_hosts says about one proxy.
type trust struct {
	clusters []string // in the order of the file
	keys     map[string][]ssh.PublicKey
	revoked  map[string]bool
	lost     []int // lines that mean to revoke a key and cannot be read
}

// warnings says which lines of the file path do not revoke what they should.
func (t *trust) warnings(path string) []string {
	var out []string
	for i, n := range t.lost {
		if i == maxRevokedWarnings {
			return append(out, fmt.Sprintf("%s has %d more such lines", path, len(t.lost)-i))
		}
		out = append(out, fmt.Sprintf("%s line %d is to revoke a key but cannot be read: the key is not revoked", path, n))
	}
	return out
}

// revoke notes the key of a line that marks it as revoked, if it is one.
func (t *trust) revoke(l *hostLine) bool {
	key, err := l.parseKey()
	if err != nil {
		return false
	}
	if t.revoked == nil {
		t.revoked = map[string]bool{}
	}
	t.revoked[string(key.Marshal())] = true
	return true
}

// readTrust collects the authority keys of one proxy. Keys that any line marks as
// revoked are left out, whatever hosts that line names.
func readTrust(data []byte, proxy string, wanted func(cluster string) bool) trust {
	t := trust{keys: map[string][]ssh.PublicKey{}}
	var mine []hostLine
	var unread []int
	lost := eachHostLine(data, func(n int, l *hostLine) {
		if meansRevoked([]byte(l.marker)) {
			if l.marker != markRevoked || !t.revoke(l) {
				unread = append(unread, n)
			}
			return
		}
		if p, c := l.proxyCluster(); p == proxy && p != "" && wanted(c) && l.isHost() {
			mine = append(mine, *l)
		}
	})
	t.lost = append(unread, lost...)
	slices.Sort(t.lost)
	seen := make(map[string]bool, len(mine)) // keys, after the name of the cluster and a zero
	for _, l := range mine {
		cluster := l.hosts[1]
		key, err := l.parseKey()
		if err != nil {
			slog.Debug("skipped a known_hosts key", "cluster", cluster, "error", err)
			continue
		}
		blob := string(key.Marshal())
		if t.revoked[blob] || seen[cluster+"\x00"+blob] {
			continue
		}
		seen[cluster+"\x00"+blob] = true
		if t.keys[cluster] == nil {
			t.clusters = append(t.clusters, cluster)
		}
		t.keys[cluster] = append(t.keys[cluster], key)
	}
	return t
}

func (l *hostLine) parseKey() (ssh.PublicKey, error) {
	blob, err := base64.StdEncoding.DecodeString(l.key)
	if err != nil {
		return nil, errors.New("bad base64")
	}
	return ssh.ParsePublicKey(blob)
}

func containsKey(keys []ssh.PublicKey, key ssh.PublicKey) bool {
	blob := key.Marshal()
	for _, k := range keys {
		if bytes.Equal(k.Marshal(), blob) {
			return true
		}
	}
	return false
}

// hostLines returns the lines that make other clients trust an authority. Where the
// proxy is not known, which only identity files allow, they do without.
func hostLines(proxy string, a Authority) []string {
	hosts := a.Cluster + ",*." + a.Cluster
	if proxy != "" {
		hosts = proxy + "," + hosts
	}
	var lines []string
	for _, key := range a.SSHKeys {
		text := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n")
		lines = append(lines, markAuthority+" "+hosts+" "+text+" type=host")
	}
	return lines
}

// addHostLines returns old with the lines added that it lacks. When nothing is
// missing old comes back as it is. Otherwise entries that occur twice go, and old
// entries of the form "cluster key" go once the key has a modern line; those that
// remain move to the end. What is no entry stays, byte for byte.
func addHostLines(old []byte, add []string) []byte {
	var lines [][]byte
	present := map[string]bool{}
	for _, line := range bytes.SplitAfter(old, []byte("\n")) {
		if len(line) == 0 {
			break // behind the last line
		}
		line = bytes.TrimSuffix(line, []byte{'\n'})
		lines = append(lines, line)
		present[strings.TrimRight(string(line), "\r")] = true
	}
	missing := false
	for _, l := range add {
		if !present[l] {
			present[l], missing = true, true
			lines = append(lines, []byte(l))
		}
	}
	if !missing {
		return old
	}
	return joinHostLines(lines)
}

func joinHostLines(lines [][]byte) []byte {
	type oldStyle struct{ host, key string }
	modern := map[oldStyle]bool{}
	parsed := make([]*hostLine, len(lines))
	for i, line := range lines {
		l, ok, _ := parseHostLine(line)
		if !ok {
			continue
		}
		parsed[i] = &l
		for _, h := range l.hosts {
			if host, wild := strings.CutPrefix(h, "*."); wild && l.marker == markAuthority {
				modern[oldStyle{host, l.key}] = true
			}
		}
	}
	var out, tail bytes.Buffer
	seen := map[string]bool{}
	for i, line := range lines {
		to := &out
		if l := parsed[i]; l != nil {
			if seen[string(line)] {
				continue
			}
			seen[string(line)] = true
			if l.marker == "" && len(l.hosts) == 1 && l.comment == "" {
				if modern[oldStyle{l.hosts[0], l.key}] {
					continue
				}
				to = &tail
			}
		}
		to.Write(line)
		to.WriteByte('\n')
	}
	out.Write(tail.Bytes())
	return out.Bytes()
}

// otherOwner looks for another proxy, among those for which active is true, that
// brought a cluster of the same name (in any case of letters) and shares no key
// with a. It also finds a cluster of this proxy that differs only in case, which
// would share its files on some systems.
func otherOwner(data []byte, proxy string, a Authority, active func(proxy string) bool) (owner, cluster string) {
	type claim struct{ proxy, cluster string }
	var order []claim
	shared := map[claim]bool{}
	eachHostLine(data, func(_ int, l *hostLine) {
		p, c := l.proxyCluster()
		if p == "" || !strings.EqualFold(c, a.Cluster) || p == proxy && c == a.Cluster {
			return
		}
		if _, known := shared[claim{p, c}]; !known {
			order = append(order, claim{p, c})
			shared[claim{p, c}] = false
		}
		if key, err := l.parseKey(); err == nil && p != proxy && containsKey(a.SSHKeys, key) {
			shared[claim{p, c}] = true
		}
	})
	for _, c := range order {
		if !shared[c] && active(c.proxy) {
			return c.proxy, c.cluster
		}
	}
	return "", ""
}
