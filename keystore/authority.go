package keystore

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/seed-087d674e/tsh/internal/durable"
)

const (
	casDir     = "cas"
	certsFile  = "certs.pem"
	maxCAFiles = 1024
)

// ConflictError is returned when a proxy brings an authority for a cluster that
// another proxy, to which a login exists, already brought with other keys: one of
// the two is not the cluster it says it is. Without OtherProxy, a host that did not
// prove to be the proxy it announces brings other keys than the login that exists
// there has.
type ConflictError struct {
	Proxy, Cluster           string // what is being stored
	OtherProxy, OtherCluster string // what is there
	Reached                  string // host whose certificate was verified; "" for none
}

func (e *ConflictError) Error() string {
	if e.OtherProxy == "" {
		reached := e.Reached
		if reached == "" {
			reached = "unverified"
		}
		return fmt.Sprintf("the host reached (%s) calls itself proxy %s of cluster %q, but its keys are not those of the login stored for that proxy; if it is the same one all the same, run: tsh logout --proxy=%s",
			reached, e.Proxy, e.Cluster, e.Proxy)
	}
	if e.Proxy == e.OtherProxy {
		return fmt.Sprintf("proxy %s brings the cluster %q and earlier brought %q, which differs only in case; if it was renamed, run: tsh logout --proxy=%s",
			e.Proxy, e.Cluster, e.OtherCluster, e.Proxy)
	}
	return fmt.Sprintf("proxy %s claims to be cluster %q, which proxy %s already is with other keys; if it moved, run: tsh logout --proxy=%s",
		e.Proxy, e.Cluster, e.OtherProxy, e.OtherProxy)
}

// certsByCluster groups authority certificates by the cluster they are for.
type certsByCluster map[string][]*x509.Certificate

func (m certsByCluster) add(certs []*x509.Certificate, wanted func(cluster string) bool) {
	for _, c := range certs {
		name := c.Subject.CommonName
		if wanted(name) && !slices.ContainsFunc(m[name], c.Equal) {
			m[name] = append(m[name], c)
		}
	}
}

// loadAuthorities reads the authorities of the clusters named, or all of them
// when all is set. Clusters whose trust is missing or unreadable are left out:
// that is noticed where it is needed.
func (p *paths) loadAuthorities(clusters []string, all bool) ([]Authority, trust, error) {
	wanted := wantedClusters(clusters, all)
	data, err := p.view.ReadFile(knownHostsFile, maxKnownHosts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, trust{}, damaged(err)
	}
	t := readTrust(data, p.proxy, wanted)
	certs := certsByCluster{}
	if err := p.loadCerts(certs, clusters, all); err != nil {
		return nil, trust{}, err
	}
	names := slices.Clone(clusters)
	names = append(names, t.clusters...)
	for c := range certs {
		names = append(names, c)
	}
	slices.Sort(names[len(clusters)+len(t.clusters):])
	var out []Authority
	for i, c := range names {
		if slices.Index(names, c) == i && len(t.keys[c])+len(certs[c]) > 0 {
			out = append(out, Authority{Cluster: c, SSHKeys: t.keys[c], TLSCerts: certs[c]})
		}
	}
	return out, t, nil
}

// wantedClusters says which authorities to load. Other clients also store hosts
// that somebody accepted without verifying them; those names are no clusters.
func wantedClusters(clusters []string, all bool) func(string) bool {
	return func(c string) bool {
		return slices.Contains(clusters, c) || all && CheckName("cluster", c) == nil
	}
}

// loadCerts prefers the file that bears the cluster's name. Only when that is
// missing it looks into all others, and into the flat file of old releases only
// when there is no directory.
func (p *paths) loadCerts(certs certsByCluster, clusters []string, all bool) error {
	wanted := wantedClusters(clusters, all)
	if info, err := os.Lstat(p.abs(p.dir(casDir))); err == nil && !info.IsDir() {
		return damaged(fmt.Errorf("%s is not a directory", p.abs(p.dir(casDir))))
	}
	if !all {
		missing := false
		for _, c := range clusters {
			certs.add(p.readCerts(p.cas(c)), wanted)
			missing = missing || len(certs[c]) == 0
		}
		if !missing {
			return nil
		}
	}
	entries, err := p.view.ReadDir(p.dir(casDir))
	if errors.Is(err, fs.ErrNotExist) {
		certs.add(p.readCerts(p.dir(certsFile)), wanted)
		return nil
	}
	if err != nil {
		return damaged(err)
	}
	if len(entries) > maxCAFiles {
		return damaged(fmt.Errorf("%s holds more than %d files", p.abs(p.dir(casDir)), maxCAFiles))
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			certs.add(p.readCerts(p.dir(casDir, e.Name())), wanted)
		}
	}
	return nil
}

func (p *paths) readCerts(rel string) []*x509.Certificate {
	data, err := p.view.ReadFile(rel, maxCAFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			slog.Debug("authority file not used", "error", err)
		}
		return nil
	}
	return decodeAuthorities(rel, data)
}

// stageAuthorities puts what the identity trusts in cas, certs.pem and
// known_hosts, in this order, unless what is stored may not be changed by it.
func (p *paths) stageAuthorities(tx *durable.Tx, id *Identity) error {
	old, err := p.view.ReadFile(knownHostsFile, maxKnownHosts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.checkOwners(old, id); err != nil {
		return err
	}
	if takes, err := p.takesTrust(old, id); err != nil || !takes {
		return err
	}
	var certs []*x509.Certificate
	saved := map[string]bool{}
	for _, a := range id.Authorities {
		if len(a.TLSCerts) > 0 {
			saved[a.Cluster] = true
			certs = append(certs, a.TLSCerts...)
			p.stageBytes(tx, p.cas(a.Cluster), encodeCerts(a.TLSCerts, ""))
		}
	}
	stored, err := p.view.ReadFile(p.dir(certsFile), maxCAFile)
	var refused syscall.Errno
	if errors.As(err, &refused) && !errors.Is(err, fs.ErrNotExist) {
		return err // it is not to be written anew without those of other clusters
	}
	for _, c := range decodeAuthorities(p.dir(certsFile), stored) {
		if !saved[c.Subject.CommonName] {
			certs = append(certs, c)
		}
	}
	p.stageBytes(tx, p.dir(certsFile), encodeCerts(certs, "\n"))
	if bytes.Equal(mergeHosts(old, p.proxy, id.Authorities), old) {
		return nil
	}
	// Others change lines too: what is written is made again under the lock.
	tx.Lock(knownHostsFile, hostsLockTimeout, hostsLockRetry)
	tx.Update(knownHostsFile, secretMode, maxKnownHosts, func(old []byte) ([]byte, error) {
		return p.editHosts(old, id)
	})
	return nil
}

func (p *paths) checkOwners(knownHosts []byte, id *Identity) error {
	active := func(proxy string) bool {
		users, err := Dir{Home: p.home}.Users(proxy)
		return err != nil || len(users) > 0
	}
	for _, a := range id.Authorities {
		if proxy, cluster := otherOwner(knownHosts, p.proxy, a, active); proxy != "" {
			return &ConflictError{Proxy: p.proxy, Cluster: a.Cluster, OtherProxy: proxy, OtherCluster: cluster}
		}
	}
	return nil
}

// stageBytes writes a file that has no key in it when its content changes.
func (p *paths) stageBytes(tx *durable.Tx, rel string, data []byte) {
	if old, err := p.view.ReadFile(rel, maxCAFile); err == nil && string(old) == string(data) {
		return
	}
	tx.Write(rel, data, secretMode)
}

// paths are the names of one login's files, relative to home.
type paths struct {
	home, proxy, user, cluster string
	view                       *durable.View
	proven                     string   // host that was verified, see Dir.Proven
	exposed                    []string // see Identity.Exposed
	noticed                    []string // see Identity.Warnings
	keyring                    Keyring  // opens sealed keys
	seal                       *Seal    // see Dir.Seal
	withoutKeys                bool     // see Dir.WithoutKeys
	clusters                   []string // see Dir.Clusters
	sealKeys                   map[string][]byte
}

func (p *paths) abs(rel string) string { return durable.Below(p.home, rel) }

// dir joins names, each of which is one element of a path.
func (p *paths) dir(elem ...string) string {
	const sep = string(filepath.Separator)
	rel := keysDir + sep + p.proxy
	for _, e := range elem {
		rel += sep + e
	}
	return rel
}

func (p *paths) cas(cluster string) string { return p.dir(casDir, cluster+".pem") }

func (p *paths) sshCert() string { return p.dir(p.user+sshDirSuffix, p.cluster+sshCertSuffix) }

func (p *paths) file(suffix string) string { return p.dir(p.user + suffix) }

// newPaths checks the names: nothing else stands between them and the disk.
func newPaths(home, proxy, user, cluster string) (*paths, error) {
	for _, n := range []struct{ kind, name, suffix string }{
		{"proxy", proxy, ".yaml"}, {"user", user, oldTLSCertSuffix}, {"cluster", cluster, sshCertSuffix},
	} {
		if err := CheckName(n.kind, n.name); err != nil {
			return nil, err
		}
		if len(n.name)+len(n.suffix) > maxFileName {
			return nil, fmt.Errorf("%s name of %d bytes is too long for a file name", n.kind, len(n.name))
		}
	}
	return barePaths(home, proxy, user, cluster), nil
}

// barePaths is newPaths without a check.
func barePaths(home, proxy, user, cluster string) *paths {
	return &paths{home: home, proxy: proxy, user: user, cluster: cluster, view: durable.Look(home)}
}

// twinUser returns a user of the proxy whose name differs from ours only in the
// case of letters, and so shares our files on some systems.
func twinUser(users []string, user string) string {
	for _, u := range users {
		if u != user && strings.EqualFold(u, user) {
			return u
		}
	}
	return ""
}
