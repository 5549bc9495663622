package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed-087d674e/tsh/internal/durable"
	"golang.org/x/crypto/ssh"
)

// read returns the content of a file. Missing is ErrNotFound; so is an empty
// file, which another client's lock makes, but there a writer may be at work.
func (p *paths) read(rel string, limit int64, read func(string, int64) ([]byte, error)) ([]byte, error) {
	data, err := read(rel, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s is missing", ErrNotFound, p.abs(rel))
	case err != nil:
		return nil, damaged(err)
	case len(data) == 0:
		return nil, &tornError{fmt.Errorf("%w: %s is empty", ErrNotFound, p.abs(rel))}
	}
	return data, nil
}

// readLinked allows the one link that other layouts need: <user>.key to <user>,
// <user>.crt to <user>-x509.pem.
func (p *paths) readLinked(rel, target string, limit int64, read func(string, int64) ([]byte, error)) ([]byte, error) {
	data, err := p.read(rel, limit, read)
	if !errors.Is(err, durable.ErrLink) {
		return data, err
	}
	to, linkErr := os.Readlink(p.abs(rel))
	if linkErr != nil || to != filepath.Base(target) {
		return nil, err
	}
	return p.read(target, limit, read)
}

func (p *paths) readKey(suffix string) ([]byte, error) {
	return p.readLinked(p.file(suffix), p.file(""), maxKeyFile, func(rel string, limit int64) ([]byte, error) {
		data, exposed, err := p.view.ReadPrivate(rel, limit)
		if exposed != 0 {
			p.exposed = append(p.exposed, p.abs(rel))
		}
		return data, err
	})
}

func (p *paths) decodeKey(suffix string, data []byte) (crypto.Signer, error) {
	key, err := p.openAndDecode(suffix, data)
	var locked *KeyringError
	if errors.As(err, &locked) {
		return nil, err
	}
	var other *KeyError
	if errors.As(err, &other) {
		other.Path = p.abs(p.file(suffix))
		return nil, other
	}
	if err != nil {
		return nil, torn(fmt.Errorf("%s %w", p.abs(p.file(suffix)), err))
	}
	return key, nil
}

func (p *paths) openAndDecode(suffix string, data []byte) (crypto.Signer, error) {
	if !bytes.Contains(data, []byte(pemSealed)) {
		return decodeKey(data)
	}
	block, _ := pem.Decode(data)
	if !sealed(block) {
		return decodeKey(data)
	}
	plain, err := p.openKey(block, suffix)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	key, err := decodeKey(plain)
	if err == nil && !samePublic(key.Public(), sealedPublic(block)) {
		err = errors.New("is sealed under the name of another key")
	}
	return key, err
}

func (p *paths) readTLSCert(suffix string) (*x509.Certificate, error) {
	data, err := p.readLinked(p.file(suffix), p.file(oldTLSCertSuffix), maxCertFile, p.view.ReadFile)
	if err != nil {
		return nil, err
	}
	cert, err := decodeCert(data)
	if err != nil {
		return nil, torn(fmt.Errorf("%s %w", p.abs(p.file(suffix)), err))
	}
	return cert, nil
}

func (p *paths) readSSHCert() (*ssh.Certificate, error) {
	data, err := p.read(p.sshCert(), maxCertFile, p.view.ReadFile)
	if err != nil {
		return nil, err
	}
	cert, err := decodeSSHCert(data)
	if err != nil {
		return nil, torn(fmt.Errorf("%s %w", p.abs(p.sshCert()), err))
	}
	return cert, nil
}
