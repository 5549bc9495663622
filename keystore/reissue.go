package keystore

import (
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"golang.org/x/crypto/ssh"
)

// extRoute is the extension of an SSH certificate that says where it leads.
const extRoute = "teleport-route-to-cluster"

// Reissued returns the identity with other certificates for the same keys, which
// lead to cluster, root or leaf. It returns what Check returns for them, and an
// error for certificates that another cluster has issued, that lead elsewhere, or
// that end later than those of id: a cluster never issues such.
func (id *Identity) Reissued(cluster string, sshCert *ssh.Certificate, tlsCert *x509.Certificate) (*Identity, error) {
	fresh := *id
	fresh.Cluster, fresh.SSHCert, fresh.TLSCert = cluster, sshCert, tlsCert
	if err := fresh.Check(); err != nil {
		return nil, err
	}
	if root := id.RootCluster(); fresh.RootCluster() != root {
		return nil, fmt.Errorf("TLS certificate: is issued by cluster %s, not %q", quoteShort(fresh.RootCluster()), root)
	}
	if err := fresh.CheckRoute(); err != nil {
		return nil, err
	}
	// Both are rounded to seconds, in different ways.
	before, known := id.Expiry()
	if after, _ := fresh.Expiry(); known && after.After(before.Add(time.Minute)) {
		return nil, errors.New("the certificates end later than those there are")
	}
	return &fresh, nil
}

// CheckRoute returns an error if the certificates lead to another cluster than
// the one that is selected.
func (id *Identity) CheckRoute() error {
	if route := id.TLSCert.Subject.StreetAddress; !slices.Equal(route, []string{id.Cluster}) {
		return fmt.Errorf("TLS certificate: leads to cluster %s, not %q", quoteShort(fmt.Sprint(route)), id.Cluster)
	}
	if route, ok := id.SSHCert.Extensions[extRoute]; ok && route != id.Cluster {
		return fmt.Errorf("SSH certificate: leads to cluster %s, not %q", quoteShort(route), id.Cluster)
	}
	return nil
}

// Knows reports whether id has a host authority of cluster, for SSH and for TLS.
func (id *Identity) Knows(cluster string) bool {
	for _, a := range id.Authorities {
		if a.Cluster == cluster && len(a.SSHKeys) > 0 && len(a.TLSCerts) > 0 {
			return true
		}
	}
	return false
}

// Trusting returns the identity with authorities in the place of those it has of
// the same clusters, less those of clusters that are none of its business: only
// keep has to be connected to.
func (id *Identity) Trusting(authorities []Authority, keep func(cluster string) bool) *Identity {
	trusting := *id
	trusting.Authorities = nil
	taken := map[string]bool{}
	for _, list := range [][]Authority{authorities, id.Authorities} {
		for _, a := range list {
			if !taken[a.Cluster] && keep(a.Cluster) {
				trusting.Authorities = append(trusting.Authorities, a)
				taken[a.Cluster] = true
			}
		}
	}
	return &trusting
}

// StageAuthorities adds to tx what stores the authorities of id and nothing else of
// it: those of other clusters stay. Proven has to be the proxy, because the
// authorities have come over a connection that the stored ones verified.
// Errors are those of Stage.
func (d Dir) StageAuthorities(tx *durable.Tx, id *Identity) error {
	p, err := newPaths(d.Home, id.Proxy, id.User, id.Cluster)
	if err != nil {
		return err
	}
	p.proven = d.Proven
	if err := id.Check(); err != nil {
		return err
	}
	return p.stageAuthorities(tx, id)
}

// StageRemoveOthers adds to tx the removal of the certificates and keys that id's
// user has at its proxy besides those that Stage stores: SSH certificates for other
// clusters, and everything for databases, applications and the like.
func (d Dir) StageRemoveOthers(tx *durable.Tx, id *Identity) error {
	p, err := newPaths(d.Home, id.Proxy, id.User, id.Cluster)
	if err != nil {
		return err
	}
	for _, suffix := range dirSuffixes() {
		if err := p.stageRemoveBelow(tx, p.file(suffix), p.sshCert()); err != nil {
			return err
		}
	}
	return nil
}

// stageRemoveBelow removes the files below a directory, but for one.
func (p *paths) stageRemoveBelow(tx *durable.Tx, dir, but string) error {
	entries, err := p.list(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		rel := dir + string(filepath.Separator) + e.Name()
		switch {
		case rel == but:
		case e.IsDir():
			err = p.stageRemoveBelow(tx, rel, but)
		default:
			tx.Remove(rel)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
