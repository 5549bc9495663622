package keystore

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A proxy says itself under which name its login is stored. What is stored under
// a name may be replaced only by the host that proved it is that name, or as long
// as nobody is logged in there. Authorities are public: that a stranger brings the
// stored ones proves nothing, so that such a login never adds any.

// Vet returns the error that Stage would return because of the authorities of id, for
// an identity that is not to be stored, and has it refuse the keys that known_hosts
// revokes, as a stored one does.
func (d Dir) Vet(id *Identity) error {
	p, err := newPaths(d.Home, id.Proxy, id.User, id.Cluster)
	if err != nil {
		return err
	}
	p.proven = d.Proven
	if err := id.Check(); err != nil {
		return err
	}
	hosts, err := p.view.ReadFile(knownHostsFile, maxKnownHosts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.checkOwners(hosts, id); err != nil {
		return err
	}
	if _, err := p.takesTrust(hosts, id); err != nil {
		return err
	}
	t := readTrust(hosts, p.proxy, wantedClusters(nil, false))
	id.revoked, id.Warnings = t.revoked, t.warnings(p.abs(knownHostsFile))
	return nil
}

// takesTrust judges, for the known_hosts given, whether the authorities of id take
// the place of the stored ones. If not, they must be the stored ones: a
// *ConflictError says that they are not.
func (p *paths) takesTrust(knownHosts []byte, id *Identity) (bool, error) {
	if p.proven != "" && strings.EqualFold(p.proven, p.proxy) {
		return true, nil
	}
	if used, err := p.inUse(); err != nil || !used {
		return !used, err // the first login, or the first one after a logout
	}
	root := id.RootCluster()
	stored := readTrust(knownHosts, p.proxy, wantedClusters([]string{root}, false)).keys[root]
	certs := certsByCluster{}
	if err := p.loadCerts(certs, []string{root}, false); err != nil {
		return false, err
	}
	for _, a := range id.Authorities {
		if a.Cluster == root && sharesSSHKey(stored, a.SSHKeys) && sharesTLSKey(certs[root], a.TLSCerts) {
			return false, nil
		}
	}
	return false, &ConflictError{Proxy: p.proxy, Cluster: root, Reached: p.proven}
}

// inUse reports whether somebody is logged in at the proxy. The empty files and
// directories that a commit makes first, ours too, are no login.
func (p *paths) inUse() (bool, error) {
	users, err := Dir{Home: p.home}.Users(p.proxy)
	if err != nil {
		return true, err
	}
	for _, user := range users {
		q := barePaths(p.home, p.proxy, user, "")
		for _, suffix := range []string{"", tlsKeySuffix} {
			if info, err := q.view.Lstat(q.file(suffix)); err == nil && info.Size() > 0 {
				return true, nil
			}
		}
		if certs, err := q.list(q.file(sshDirSuffix)); err != nil || len(certs) > 0 {
			return true, err
		}
	}
	return false, nil
}

func sharesSSHKey(a, b []ssh.PublicKey) bool {
	for _, k := range a {
		if containsKey(b, k) {
			return true
		}
	}
	return false
}

func sharesTLSKey(a, b []*x509.Certificate) bool {
	return slices.ContainsFunc(a, func(x *x509.Certificate) bool {
		return slices.ContainsFunc(b, func(y *x509.Certificate) bool { return samePublic(x.PublicKey, y.PublicKey) })
	})
}

// editHosts returns known_hosts with the authorities of id in the place of those
// stored for the same proxy and clusters. It runs under the lock and judges again:
// another login may have come in between.
func (p *paths) editHosts(old []byte, id *Identity) ([]byte, error) {
	if err := p.checkOwners(old, id); err != nil {
		return nil, err
	}
	takes, err := p.takesTrust(old, id)
	if err != nil {
		return nil, err
	}
	merged := mergeHosts(old, p.proxy, id.Authorities)
	if !takes && !bytes.Equal(merged, old) {
		return nil, &ConflictError{Proxy: p.proxy, Cluster: id.RootCluster(), Reached: p.proven}
	}
	return merged, nil
}

// mergeHosts drops the keys of proxy and the clusters of the authorities that did
// not come along and adds those that are new. When both are none, old comes back.
func mergeHosts(old []byte, proxy string, authorities []Authority) []byte {
	var lines []string
	brought := map[string][]ssh.PublicKey{}
	for _, a := range authorities {
		lines = append(lines, hostLines(proxy, a)...)
		if len(a.SSHKeys) > 0 {
			brought[a.Cluster] = a.SSHKeys
		}
	}
	return addHostLines(dropHostLines(old, func(l *hostLine) bool {
		p, cluster := l.proxyCluster()
		keys := brought[cluster]
		if p != proxy || keys == nil || !l.isHost() {
			return false
		}
		key, err := l.parseKey()
		return err == nil && !containsKey(keys, key)
	}), lines)
}

// dropHostLines returns data without the entries that drop chooses. All other
// lines stay, byte for byte.
func dropHostLines(data []byte, drop func(*hostLine) bool) []byte {
	var out []byte
	kept := 0 // what is before it is in out, once something was dropped
	at := 0
	for _, line := range bytes.SplitAfter(data, []byte("\n")) {
		if l, ok, _ := parseHostLine(line); ok && drop(&l) {
			out = append(out, data[kept:at]...)
			kept = at + len(line)
		}
		at += len(line)
	}
	if kept == 0 {
		return data
	}
	return append(out, data[kept:]...)
}
