package sshagent

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"golang.org/x/crypto/ssh"
)

// ErrMissing is returned when the agent does not hold a key, or does not show it
// because it is locked.
var ErrMissing = errors.New("the ssh-agent does not hold the key, or is locked")

const (
	// signLimit is for an agent that asks the person before it signs.
	signLimit = 10 * time.Second
	// findLimit is for one that only says what it has.
	findLimit = 500 * time.Millisecond
)

// Key is an ECDSA P-256 key that only the agent has. It is a crypto.MessageSigner
// for SHA-256, so crypto/tls signs with it; a tls.Certificate with it should allow
// only tls.ECDSAWithP256AndSHA256, or a server that prefers another hash gets an error
// instead of a signature. For SSH there is SSHSigner.
//
// Every signature is a connection to the agent of its own, of at most 10 seconds, so a
// Key may be kept and used by several goroutines. A signature is checked before it is
// returned.
type Key struct {
	pub   *ecdsa.PublicKey
	ssh   ssh.PublicKey
	limit time.Duration
}

// OpenKey returns the key that belongs to pub, which must be ECDSA P-256. The agent
// holds it alone or with any certificate, or the error wraps ErrMissing; the errors of
// Dial come as they are.
func OpenKey(pub crypto.PublicKey) (*Key, error) { return openKey(pub, signLimit) }

func openKey(pub crypto.PublicKey, limit time.Duration) (*Key, error) {
	p256, ok := pub.(*ecdsa.PublicKey)
	if !ok || p256.Curve != elliptic.P256() {
		return nil, errors.New("only ECDSA P-256 keys can be used from an ssh-agent")
	}
	sshPub, err := ssh.NewPublicKey(p256)
	if err != nil {
		return nil, err
	}
	k := &Key{p256, sshPub, limit}
	a, err := Dial(min(limit, findLimit))
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if _, err := a.find(sshPub); err != nil {
		return nil, err
	}
	return k, nil
}

// find looks for what the agent has for pub: it signs with a key only under the name
// it was added by, and that includes the certificate.
func (a *Agent) find(pub ssh.PublicKey) (*identity, error) {
	keys, err := a.list()
	if err != nil {
		return nil, err
	}
	blob := pub.Marshal()
	point := blob[len(blob)-65:] // of the certificate too, which need not be parsed without
	for _, k := range keys {
		if bytes.Equal(k.Blob, blob) {
			return k, nil
		}
		if !bytes.Contains(k.Blob, point) {
			continue
		}
		if cert := certificate(k); cert != nil && bytes.Equal(cert.Key.Marshal(), blob) {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w (at %s)", ErrMissing, a.path)
}

// Public returns the public key, an *ecdsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.pub }

// Sign is always an error: an agent hashes what it signs itself, so it has no use
// for a digest. Callers that have the message use SignMessage.
func (k *Key) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("a key in an ssh-agent signs messages, not their digests")
}

// SignMessage signs msg with ECDSA and SHA-256 and returns the signature in ASN.1.
func (k *Key) SignMessage(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil || opts.HashFunc() != crypto.SHA256 {
		return nil, errors.New("a P-256 key in an ssh-agent signs with SHA-256 only")
	}
	sig, err := k.sign(msg)
	if err != nil {
		return nil, err
	}
	return asn1Signature(sig.Blob)
}

// sign has the agent sign msg.
func (k *Key) sign(msg []byte) (*ssh.Signature, error) {
	a, err := Dial(k.limit)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	held, err := a.find(k.ssh)
	if err != nil {
		return nil, err
	}
	sig, err := a.sign(held, msg)
	if err != nil {
		return nil, a.failed("sign", err)
	}
	// Better here than as a riddle from the server.
	if len(sig.Rest) != 0 || k.ssh.Verify(msg, sig) != nil {
		return nil, fmt.Errorf("the signature of the ssh-agent at %s is wrong", a.path)
	}
	return sig, nil
}

// asn1Signature converts an ECDSA signature of SSH (RFC 5656, 3.1.2) to that of TLS
// (RFC 3279, 2.2.3): the same two numbers.
func asn1Signature(blob []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if err := ssh.Unmarshal(blob, &sig); err != nil {
		return nil, errors.New("an ECDSA signature is two numbers, this one is not")
	}
	n := elliptic.P256().Params().N
	for _, i := range []*big.Int{sig.R, sig.S} {
		if i.Sign() <= 0 || i.Cmp(n) >= 0 {
			return nil, errors.New("the numbers of an ECDSA signature are out of range")
		}
	}
	return asn1.Marshal(sig)
}

// SSHSigner returns the key for SSH; ssh.NewCertSigner joins it with a certificate.
func (k *Key) SSHSigner() ssh.Signer { return sshSigner{k} }

type sshSigner struct{ key *Key }

func (s sshSigner) PublicKey() ssh.PublicKey { return s.key.ssh }

func (s sshSigner) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) { return s.key.sign(data) }
