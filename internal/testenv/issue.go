package testenv

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"golang.org/x/crypto/ssh"
)

// SSHSigner is key as SSH uses it.
func SSHSigner(t testing.TB, key crypto.Signer) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Issuer is a certificate authority.
type Issuer struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Sign returns the certificate of tmpl for pub.
func (i Issuer) Sign(t testing.TB, tmpl *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, i.Cert, pub, i.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
