package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"

	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// joinPrincipal is among the principals of every certificate that a cluster issues to a
// user, and is nobody's account.
const joinPrincipal = "-teleport-internal-join"

// TLSConfig returns a configuration that follows renewals: each handshake uses the
// certificate, and the authorities to verify the server with, that are in force then. An
// identity that has expired is an error that matches *keystore.TimeError, now and at each
// handshake.
//
// VerifyConnection verifies the server, as the standard library would, which
// InsecureSkipVerify keeps from doing it with old authorities: a program that sets
// VerifyConnection has to call this one in its own. The server has to be the one of the
// connection's server name, or teleport.cluster.local if that is empty, which it is also
// where ServerName is an IP address. RootCAs are the authorities in force now, for programs
// that ask for a configuration for each connection and verify by themselves.
func (d *DynamicIdentityFile) TLSConfig() (*tls.Config, error) {
	g, err := d.usable()
	if err != nil {
		return nil, err
	}
	config := g.tls.Clone()
	config.InsecureSkipVerify = true // VerifyConnection does it, with what is in force then
	config.VerifyConnection = d.verify
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		g, err := d.usable()
		if err != nil {
			return nil, err
		}
		return g.cert, nil
	}
	return config, nil
}

// verify is what crypto/tls does for a client, with the authorities in force.
func (d *DynamicIdentityFile) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server has shown no certificate")
	}
	g, err := d.usable()
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{
		DNSName: state.ServerName, Roots: g.tls.RootCAs, Intermediates: x509.NewCertPool(), CurrentTime: d.set.now(),
	}
	if options.DNSName == "" {
		options.DNSName = keystore.ServerName
	}
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// SSHClientConfig returns a configuration that follows renewals: each handshake has the
// certificate, and the authorities to verify the host with, that are in force then. The user
// is -teleport-internal-join, which every certificate of a cluster is good for, because a
// renewal can change accounts and not the user of this configuration; nodes need another,
// which the program sets. In a certificate without it the user is the first principal.
// An identity that has expired is an error as with TLSConfig.
func (d *DynamicIdentityFile) SSHClientConfig() (*ssh.ClientConfig, error) {
	g, err := d.usable()
	if err != nil {
		return nil, err
	}
	config := *g.ssh
	if slices.Contains(g.id.SSHCert.ValidPrincipals, joinPrincipal) {
		config.User = joinPrincipal
	}
	config.Auth = []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		g, err := d.usable()
		if err != nil {
			return nil, err
		}
		return []ssh.Signer{g.signer}, nil
	})}
	config.HostKeyCallback = func(host string, remote net.Addr, key ssh.PublicKey) error {
		g, err := d.usable()
		if err != nil {
			return err
		}
		return g.ssh.HostKeyCallback(host, remote, key)
	}
	return &config, nil
}
