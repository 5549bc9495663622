package keystore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ServerName is the name that every TLS server of a cluster bears.
const ServerName = "teleport.cluster.local"

// TLSConfig returns the configuration for TLS connections to the cluster itself:
// the user's certificate, without a chain, whatever the server asks for; servers
// are verified as teleport.cluster.local against the authorities of the identity;
// TLS 1.2 or newer; HTTP/2. It is an error to have no key or no authority.
func (id *Identity) TLSConfig() (*tls.Config, error) {
	switch {
	case id.TLSKey == nil:
		return nil, errors.New(id.owner() + " has no TLS key")
	case id.TLSCert == nil:
		return nil, errors.New(id.owner() + " has no TLS certificate")
	}
	if !samePublic(id.TLSCert.PublicKey, id.TLSKey.Public()) {
		return nil, fmt.Errorf("%w: TLS certificate of %s at %s is not for the key", ErrDamaged, id.User, id.Proxy)
	}
	roots, empty := x509.NewCertPool(), true
	for _, a := range id.Authorities {
		for _, cert := range a.TLSCerts {
			roots.AddCert(cert)
			empty = false
		}
	}
	if empty {
		return nil, id.without("TLS")
	}
	cert := id.clientCertificate()
	return &tls.Config{
		RootCAs:    roots,
		ServerName: ServerName,
		NextProtos: []string{"h2"},
		MinVersion: tls.VersionTLS12,
		Time:       id.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil
		},
	}, nil
}
