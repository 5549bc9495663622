package keystore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/seed-087d674e/tsh/internal/sshagent"
	"golang.org/x/crypto/ssh"
)

// A login whose key is in the ssh-agent alone has one ECDSA P-256 key for SSH and
// TLS, certificates in their usual files, and no private key in a file.

// AgentError is returned when the private key is in the ssh-agent alone and the agent
// does not answer now. Later it may.
type AgentError struct{ Err error }

func (e *AgentError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the agent.
func (e *AgentError) Unwrap() error { return e.Err }

// inAgent reports whether certificates are of such a login.
func (p *paths) inAgent(sshCert *ssh.Certificate, cert *x509.Certificate) bool {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || !samePublic(key, sshPublic(sshCert)) {
		return false
	}
	// Other clients make empty key files when they look.
	for _, suffix := range []string{"", tlsKeySuffix} {
		if info, err := p.view.Lstat(p.file(suffix)); err == nil && info.Size() > 0 {
			return false
		}
	}
	return true
}

// readFromAgent reads the certificates if they are of such a login.
func (p *paths) readFromAgent(id *Identity) bool {
	sshCert, err := p.readSSHCert()
	if err != nil {
		return false
	}
	cert, err := p.readTLSCert(tlsCertSuffix)
	if err != nil || !p.inAgent(sshCert, cert) {
		return false
	}
	id.SSHCert, id.TLSCert, id.InAgent = sshCert, cert, true
	return true
}

// takeFromAgent completes the identity with a key that signs through the agent.
func (p *paths) takeFromAgent(id *Identity, all bool) error {
	key, err := sshagent.OpenKey(id.TLSCert.PublicKey)
	if err != nil {
		err = fmt.Errorf("the private key of %s at %s is kept in the ssh-agent alone: %w", p.user, p.proxy, err)
	}
	switch {
	case errors.Is(err, sshagent.ErrMissing), errors.Is(err, sshagent.ErrNone):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case err != nil:
		return &AgentError{err}
	}
	id.SSHKey, id.TLSKey = key, key
	return p.readAuthorities(id, all)
}

// agentSigner is a key that signs through an agent, nil if it is none.
func agentSigner(key any) *sshagent.Key {
	signer, _ := key.(*sshagent.Key)
	return signer
}

// clientCertificate is what a TLS client shows. An agent signs with SHA-256 only.
func (id *Identity) clientCertificate() *tls.Certificate {
	cert := &tls.Certificate{Certificate: append([][]byte{id.TLSCert.Raw}, id.chain...), PrivateKey: id.TLSKey, Leaf: id.TLSCert}
	if agentSigner(id.TLSKey) != nil {
		cert.SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
	}
	return cert
}

// errNoKeys: private keys are to be stored, and there are none.
var errNoKeys = errors.New("the private key is in the ssh-agent and cannot be stored elsewhere; log in again")
