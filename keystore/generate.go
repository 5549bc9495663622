package keystore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Suite is a signature algorithm suite as a proxy announces it.
type Suite string

// The suites that clusters announce. An empty suite means legacy.
const (
	SuiteLegacy   Suite = "legacy"      // one RSA key for both protocols
	SuiteBalanced Suite = "balanced-v1" // Ed25519 for SSH, ECDSA P-256 for TLS
	SuiteFIPS     Suite = "fips-v1"     // two ECDSA P-256 keys
	SuiteHSM      Suite = "hsm-v1"      // user keys as in balanced-v1
)

const rsaBits = 2048

// GenerateKeys makes new user keys for a suite. With the legacy suite both are
// the same key. An unknown suite is an error: guessing could weaken the keys.
func GenerateKeys(suite Suite) (sshKey, tlsKey crypto.Signer, err error) {
	switch suite {
	case "", SuiteLegacy:
		key, err := rsa.GenerateKey(rand.Reader, rsaBits)
		if err != nil {
			return nil, nil, err
		}
		return key, key, nil
	case SuiteBalanced, SuiteHSM:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		sshKey = key
	case SuiteFIPS:
		if sshKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, fmt.Errorf("signature algorithm suite %q is not known", string(suite))
	}
	tlsKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return sshKey, tlsKey, err
}

// ErrNeedsRSA: a cluster's suite leaves no choice but RSA keys.
var ErrNeedsRSA = errors.New("the cluster needs RSA keys (signature algorithm suite legacy), which an ssh-agent cannot use for TLS here")

// GenerateOneKey makes one ECDSA P-256 key for both protocols: of the keys that
// clusters take, the kind with which an ssh-agent can sign for TLS, too. With the
// legacy suite it is ErrNeedsRSA.
func GenerateOneKey(suite Suite) (crypto.Signer, error) {
	switch suite {
	case "", SuiteLegacy:
		return nil, ErrNeedsRSA
	case SuiteBalanced, SuiteHSM, SuiteFIPS:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("signature algorithm suite %q is not known", string(suite))
}

// PublicKeys returns the public keys in the forms that the login calls carry: an
// authorized_keys line with its newline, and PEM, PKCS#1 (RSA PUBLIC KEY) for RSA
// and PKIX (PUBLIC KEY) for the others. Of a key that is nil there is none.
func PublicKeys(sshKey, tlsKey crypto.Signer) (authorizedKey, tlsPEM []byte, err error) {
	if sshKey != nil {
		pub, err := ssh.NewPublicKey(sshKey.Public())
		if err != nil {
			return nil, nil, err
		}
		authorizedKey = ssh.MarshalAuthorizedKey(pub)
	}
	if tlsKey == nil {
		return authorizedKey, nil, nil
	}
	block := &pem.Block{Type: "PUBLIC KEY"}
	if key, ok := tlsKey.Public().(*rsa.PublicKey); ok {
		block.Type, block.Bytes = "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(key)
	} else if block.Bytes, err = x509.MarshalPKIXPublicKey(tlsKey.Public()); err != nil {
		return nil, nil, err
	}
	return authorizedKey, pem.EncodeToMemory(block), nil
}
