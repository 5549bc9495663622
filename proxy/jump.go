package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
)

// claimedCluster is the cluster that the certificate of a host of a cluster names: it
// says who the host wants to be, and its authority whether that is so.
func claimedCluster(cert *x509.Certificate) string {
	attribute := asn1.ObjectIdentifier{1, 3, 9999, 1, 7}
	for _, name := range cert.Subject.Names {
		if value, ok := name.Value.(string); ok && name.Type.Equal(attribute) {
			return value
		}
	}
	return ""
}

// Cluster is the cluster of the proxy at the other end, with Config.AnyCluster; its
// authority has certified that.
func (t *Transport) Cluster() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cluster
}

// ClaimedCluster is the cluster that a server said it belongs to whose certificate made
// Dial fail; empty if that is not why. Nothing vouches for the name.
func (e *netError) ClaimedCluster() string {
	var untrusted *tls.CertificateVerificationError
	if errors.As(e.err, &untrusted) && len(untrusted.UnverifiedCertificates) > 0 {
		return claimedCluster(untrusted.UnverifiedCertificates[0])
	}
	return ""
}
