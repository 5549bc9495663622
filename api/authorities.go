package api

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
)

const methodCertAuthorities = "/teleport.trust.v1.TrustService/GetCertAuthorities"

// maxAuthorities limits the clusters of one answer.
const maxAuthorities = 1024

// Authority is the host authority of one cluster: what certifies its nodes and
// its servers. Values convert to keystore.Authority.
type Authority struct {
	Cluster  string
	SSHKeys  []ssh.PublicKey
	TLSCerts []*x509.Certificate
}

// HostAuthorities returns the host authorities of the client's cluster and, on a
// root cluster, of its leaves, each with the keys that are being rotated in or
// out. They are what the cluster says: keystore checks them before they are stored.
//
// Errors: *Error; and one for an answer that names a cluster twice or has keys
// that cannot be read.
func (c *Client) HostAuthorities(ctx context.Context) ([]Authority, error) {
	var reply accesswire.CertAuthoritiesResponse
	if err := c.call(ctx, methodCertAuthorities, &accesswire.CertAuthoritiesRequest{Type: "host"}, &reply); err != nil {
		return nil, err
	}
	if len(reply.Authorities) > maxAuthorities {
		return nil, fmt.Errorf("%s names more than %d authorities", c.addr, maxAuthorities)
	}
	var all []Authority
	for _, ca := range reply.Authorities {
		a, err := newAuthority(&ca.Spec)
		if err == nil && slices.ContainsFunc(all, func(b Authority) bool { return b.Cluster == a.Cluster }) {
			err = errors.New("it comes twice")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: host authority of cluster %q: %w", c.addr, ca.Spec.ClusterName, err)
		}
		all = append(all, a)
	}
	return all, nil
}

func newAuthority(spec *accesswire.CertAuthoritySpec) (Authority, error) {
	a := Authority{Cluster: spec.ClusterName}
	for _, set := range []*accesswire.CAKeySet{&spec.ActiveKeys, &spec.AdditionalKeys} {
		for _, pair := range set.SSH {
			key, _, _, _, err := ssh.ParseAuthorizedKey(pair.PublicKey)
			if err != nil {
				return a, fmt.Errorf("SSH key: %w", err)
			}
			a.SSHKeys = append(a.SSHKeys, key)
		}
		for _, pair := range set.TLS {
			cert, err := parseCertificate(pair.Cert)
			if err != nil {
				return a, err
			}
			a.TLSCerts = append(a.TLSCerts, cert)
		}
	}
	return a, nil
}

// parseCertificate reads one certificate in PEM.
func parseCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("TLS certificate: no PEM block of type CERTIFICATE")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	return cert, nil
}
