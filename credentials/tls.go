package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// errNoTLS: a nil *tls.Config is a mistake that would otherwise show far from its place.
var errNoTLS = errors.New("LoadTLS was given no TLS configuration (nil)")

// TLS are credentials that the caller has as a TLS configuration, for TLS alone. It is safe
// for concurrent use and prints as REDACTED.
type TLS struct {
	redacted
	config *tls.Config
}

// LoadTLS returns the credentials in config, which is copied at once: later changes of it
// have no effect. Nil is an error of each use.
func LoadTLS(config *tls.Config) *TLS {
	if config == nil {
		return &TLS{}
	}
	config = config.Clone()
	config.Certificates = slices.Clone(config.Certificates)
	config.NextProtos = slices.Clone(config.NextProtos)
	return &TLS{config: config}
}

// TLSConfig returns a copy of the configuration, made fit for a cluster: servers are verified
// as teleport.cluster.local unless it names one, HTTP/2 is among its protocols, and TLS is 1.2
// or newer. The certificate is given whatever the server asks for, the first that suits it
// if there are several; a GetClientCertificate that is set is left alone. So is all else,
// RootCAs in particular, which have to be the cluster's. A certificate that has expired is
// an error that matches *keystore.TimeError and says when; several, when all have.
func (t *TLS) TLSConfig() (*tls.Config, error) {
	if t.config == nil {
		return nil, errNoTLS
	}
	config := t.config.Clone()
	now := time.Now
	if config.Time != nil {
		now = config.Time
	}
	if end, ok := t.Expiry(); ok && !now().Before(end) {
		return nil, fmt.Errorf("TLS configuration: %w", &keystore.TimeError{At: end, Now: now()})
	}
	if config.ServerName == "" {
		config.ServerName = keystore.ServerName
	}
	if !slices.Contains(config.NextProtos, "h2") {
		config.NextProtos = append(slices.Clip(config.NextProtos), "h2")
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if certs := config.Certificates; config.GetClientCertificate == nil && len(certs) > 0 {
		config.Certificates = nil
		config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			for i := range certs {
				if request.SupportsCertificate(&certs[i]) == nil {
					return &certs[i], nil
				}
			}
			return &certs[0], nil
		}
	}
	return config, nil
}

// SSHClientConfig returns an *UnsupportedError.
func (t *TLS) SSHClientConfig() (*ssh.ClientConfig, error) { return nil, noSSH("LoadTLS") }

// DefaultAddrs returns an *UnsupportedError.
func (t *TLS) DefaultAddrs() ([]string, error) { return nil, noAddrs("LoadTLS") }

// Expiry is when the last one of the configuration's certificates ends. It is false when
// there is none, or when GetClientCertificate supplies it: that is not asked, because it may
// ask a person.
func (t *TLS) Expiry() (end time.Time, ok bool) {
	if t.config == nil || t.config.GetClientCertificate != nil {
		return time.Time{}, false
	}
	for _, cert := range t.config.Certificates {
		leaf := cert.Leaf
		if leaf == nil && len(cert.Certificate) > 0 {
			leaf, _ = x509.ParseCertificate(cert.Certificate[0])
		}
		if leaf != nil && leaf.NotAfter.After(end) {
			end, ok = leaf.NotAfter, true
		}
	}
	return end, ok
}
