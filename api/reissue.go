package api

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
)

const methodUserCerts = "/proto.AuthService/GenerateUserCerts"

// CertsRequest says what certificates to issue for keys that have some already.
type CertsRequest struct {
	// User is the one that the credentials are for.
	User string
	// Expires is when they shall end: never later than those that there are.
	Expires time.Time
	// Cluster is where they lead to, the root cluster or a leaf.
	Cluster string
	// AccessRequests are approved requests to assume, beside those that are assumed
	// already.
	AccessRequests []string
	// SSHKey and TLSKey are the public keys as keystore.PublicKeys returns them.
	SSHKey, TLSKey []byte
}

// ReissueCerts has certificates issued for the keys of a login: to lead to another
// cluster, or with access requests. They are what the cluster says; the caller
// has to check them (keystore.Identity.Reissued).
//
// Errors: *Error, which is ErrNotFound for a cluster that is not known there and
// ErrAccessDenied for a request that was not approved; and one for an answer
// without the certificates.
func (c *Client) ReissueCerts(ctx context.Context, req CertsRequest) (*ssh.Certificate, *x509.Certificate, error) {
	message := accesswire.UserCertsRequest{
		Username: req.User, Expires: accesswire.NewTimestamp(req.Expires), RouteToCluster: req.Cluster,
		AccessRequests: req.AccessRequests, SSHPublicKey: req.SSHKey, TLSPublicKey: req.TLSKey,
	}
	if oneKey(req.SSHKey, req.TLSKey) {
		message.PublicKey = req.SSHKey // servers of 14 know no other form
	}
	var reply accesswire.Certs
	if err := c.call(ctx, methodUserCerts, &message, &reply); err != nil {
		return nil, nil, err
	}
	sshCert, err := c.parseSSHCert(reply.SSH)
	if err != nil {
		return nil, nil, err
	}
	tlsCert, err := parseCertificate(reply.TLS)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.addr, err)
	}
	return sshCert, tlsCert, nil
}

// parseSSHCert reads a certificate that the server has issued.
func (c *Client) parseSSHCert(line []byte) (*ssh.Certificate, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return nil, fmt.Errorf("%s: SSH certificate: %w", c.addr, err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New(c.addr + ": SSH certificate: it is a plain key")
	}
	return cert, nil
}

// oneKey reports whether both public keys are of the same key.
func oneKey(sshKey, tlsKey []byte) bool {
	key, _, _, _, err := ssh.ParseAuthorizedKey(sshKey)
	if err != nil {
		return false
	}
	wrapped, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return false
	}
	block, _ := pem.Decode(tlsKey)
	if block == nil {
		return false
	}
	var der []byte
	if rsaKey, ok := wrapped.CryptoPublicKey().(*rsa.PublicKey); ok && block.Type == "RSA PUBLIC KEY" {
		der = x509.MarshalPKCS1PublicKey(rsaKey)
	} else if der, err = x509.MarshalPKIXPublicKey(wrapped.CryptoPublicKey()); err != nil {
		return false
	}
	return bytes.Equal(der, block.Bytes)
}
