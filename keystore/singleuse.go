package keystore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// extMFAVerified is the extension of an SSH certificate that a second factor vouches
// for; its value is the device.
const extMFAVerified = "mfa-verified"

// MFAVerified reports whether a second factor vouches for the SSH certificate.
func (id *Identity) MFAVerified() bool {
	return id.SSHCert != nil && id.SSHCert.Extensions[extMFAVerified] != ""
}

// NewSSHKey makes a key of the kind that id has for SSH: the cluster takes it.
func (id *Identity) NewSSHKey() (crypto.Signer, error) {
	if id.SSHKey == nil {
		return nil, errors.New(id.owner() + " has no SSH key")
	}
	suite := SuiteLegacy
	switch id.SSHKey.Public().(type) {
	case ed25519.PublicKey:
		suite = SuiteBalanced
	case *ecdsa.PublicKey:
		suite = SuiteFIPS
	}
	key, _, err := GenerateKeys(suite)
	return key, err
}

// SingleUse returns the identity with another SSH key and the certificate that was
// issued for it, for one session as login on a node of cluster. It returns what Check
// returns for them, and an error for a certificate that no second factor vouches for,
// that is not for that login, that leads elsewhere, or that ends later than the one of
// id: a cluster never issues such. The result is not meant to be stored.
func (id *Identity) SingleUse(key crypto.Signer, cert *ssh.Certificate, login, cluster string) (*Identity, error) {
	once := *id
	once.SSHKey, once.SSHCert, once.InAgent = key, cert, false
	if err := checkHalves(key); err != nil {
		return nil, err
	}
	if err := once.checkSSH(); err != nil {
		return nil, fmt.Errorf("SSH certificate: %w", err)
	}
	route, routed := cert.Extensions[extRoute]
	switch {
	case routed && route != cluster:
		return nil, fmt.Errorf("SSH certificate: leads to cluster %s, not %q", quoteShort(route), cluster)
	case !once.MFAVerified():
		return nil, errors.New("SSH certificate: does not say that a second factor vouches for it")
	case !slices.Contains(cert.ValidPrincipals, login):
		return nil, fmt.Errorf("SSH certificate: is not for the login %q", login)
	case id.SSHCert != nil && cert.ValidBefore > id.SSHCert.ValidBefore+60: // seconds; clocks are rounded in different ways
		return nil, errors.New("SSH certificate: ends later than the login")
	}
	return &once, nil
}
