package sshagent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"math/big"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Requests and answers of the agent protocol (draft-miller-ssh-agent).
const (
	askKeys       = 11
	askSignature  = 13
	askRemoval    = 18
	askCard       = 20 // loads a PKCS#11 library into the agent
	askCardGone   = 21
	askAdding     = 25 // with constraints
	askCardWith   = 26
	askExtension  = 27
	replyFailure  = 5
	replySuccess  = 6
	replyKeys     = 12
	replySigned   = 14
	limitLifetime = 1 // a constraint
)

// identity is a key that the agent has.
type identity struct {
	Blob    []byte // the public key or certificate in SSH's format
	Comment string
}

// list asks what the agent has.
func (a *Agent) list() ([]*identity, error) {
	reply, err := a.frames.ask(replyKeys, []byte{askKeys})
	if err != nil {
		return nil, a.failed("list its keys", err)
	}
	var list struct {
		N    uint32 `sshtype:"12"`
		Keys []byte `ssh:"rest"`
	}
	err = ssh.Unmarshal(reply, &list)
	var keys []*identity
	for range list.N {
		var key struct {
			Blob    []byte
			Comment string
			Rest    []byte `ssh:"rest"`
		}
		var blob struct {
			Type string
			Rest []byte `ssh:"rest"`
		}
		if err = errors.Join(ssh.Unmarshal(list.Keys, &key), ssh.Unmarshal(key.Blob, &blob)); err != nil {
			break
		}
		keys = append(keys, &identity{key.Blob, key.Comment})
		list.Keys = key.Rest
	}
	if err != nil {
		return nil, a.failed("list its keys", err)
	}
	return keys, nil
}

// sign has the agent sign with a key of its list.
func (a *Agent) sign(key *identity, data []byte) (*ssh.Signature, error) {
	reply, err := a.frames.ask(replySigned, ssh.Marshal(struct {
		Blob  []byte `sshtype:"13"`
		Data  []byte
		Flags uint32
	}{Blob: key.Blob, Data: data}))
	if err != nil {
		return nil, err
	}
	var signed struct {
		Signature []byte `sshtype:"14"`
	}
	if err := ssh.Unmarshal(reply, &signed); err != nil {
		return nil, err
	}
	sig := new(ssh.Signature)
	return sig, ssh.Unmarshal(signed.Signature, sig)
}

// do makes a request that is answered with success or failure.
func (a *Agent) do(request []byte) error {
	_, err := a.frames.ask(replySuccess, request)
	return err
}

func removeRequest(blob []byte) []byte {
	return ssh.Marshal(struct {
		Blob []byte `sshtype:"18"`
	}{blob})
}

// addRequest asks to take a key with its certificate for as many seconds.
func addRequest(key crypto.Signer, cert *ssh.Certificate, comment string, seconds uint32) ([]byte, error) {
	var private []byte
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if len(k.Primes) != 2 {
			return nil, errors.New("an RSA key for an ssh-agent is made of two primes, this one is not")
		}
		k.Precompute()
		private = ssh.Marshal(struct{ D, Qinv, P, Q *big.Int }{k.D, k.Precomputed.Qinv, k.Primes[0], k.Primes[1]})
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil {
			return nil, err
		}
		private = ssh.Marshal(struct{ D *big.Int }{new(big.Int).SetBytes(d)})
	case ed25519.PrivateKey:
		private = ssh.Marshal(struct{ Public, Private []byte }{k[len(k)-ed25519.PublicKeySize:], k})
	}
	head := ssh.Marshal(struct {
		Type string `sshtype:"25"`
		Cert []byte
	}{cert.Type(), cert.Marshal()})
	tail := ssh.Marshal(struct {
		Comment string
		Kind    byte
		Seconds uint32
	}{comment, limitLifetime, seconds})
	return slices.Concat(head, private, tail), nil
}
