package keystore

import (
	"crypto/x509"
	"errors"
	"fmt"
)

// maxChain limits the certificates between a user's and its authority.
const maxChain = 8

// ReadTLSFiles makes id the identity in three files, PEM each: a private key in any
// encoding, its certificate, which others that lead to its authority may follow, and the
// certificates of the authorities that servers are verified with. It can do TLS alone:
// there is no SSH certificate. Files are read as ReadIdentityFile reads its own, links
// included; time is not judged.
//
// Errors say which file and what is wrong with it. They match fs.ErrNotExist for one that
// is missing, *KeyError for a key that cannot be used, and ErrDamaged otherwise, unless the
// system refuses. That others can read the key is one of Warnings. After an error id is as
// it was.
func (id *Identity) ReadTLSFiles(key, cert, authorities string) error {
	const secret = "private key "
	read := Identity{origin: "key pair " + cert}
	for _, part := range []struct {
		what, path string
		take       func(data []byte) error
	}{
		{"certificate ", cert, read.setTLSCerts}, {secret, key, read.setTLSKey}, {"authorities ", authorities, read.setTLSAuthorities},
	} {
		data, exposed, err := readIdentity(part.path)
		if err != nil {
			return unreadable(part.what+part.path, err)
		}
		err = part.take(data)
		clear(data)
		if err != nil {
			return unusable(part.what+part.path, err)
		}
		if part.what == secret {
			read.warnExposed(key, exposed)
		}
	}
	if !samePublic(read.TLSCert.PublicKey, read.TLSKey.Public()) {
		return unusable(secret+key, errors.New("is not that of the certificate "+cert))
	}
	*id = read
	return nil
}

// ReadTLSCert makes id the certificate in a file, without a key: what ReadTLSFiles makes of
// it, for looking only.
func (id *Identity) ReadTLSCert(cert string) error {
	data, _, err := readIdentity(cert)
	if err != nil {
		return unreadable("certificate "+cert, err)
	}
	read := Identity{origin: "key pair " + cert}
	if err := read.setTLSCerts(data); err != nil {
		return unusable("certificate "+cert, err)
	}
	*id = read
	return nil
}

func (id *Identity) setTLSKey(data []byte) (err error) {
	id.TLSKey, err = decodeKey(data)
	if err != nil {
		return err
	}
	return checkHalves(id.TLSKey)
}

// setTLSCerts takes the first certificate as the user's. What is no certificate, a key for
// instance, is passed over.
func (id *Identity) setTLSCerts(data []byte) error {
	certs, err := decodeCerts(data, 1+maxChain)
	if err != nil {
		return err
	}
	id.TLSCert = certs[0]
	for _, between := range certs[1:] {
		id.chain = append(id.chain, between.Raw)
	}
	id.User, id.Cluster = id.TLSCert.Subject.CommonName, id.TLSCert.Issuer.CommonName
	return nil
}

func (id *Identity) setTLSAuthorities(data []byte) error {
	certs, err := decodeCerts(data, maxCACerts)
	if err != nil {
		return err
	}
	id.Authorities = []Authority{{Cluster: id.Cluster, TLSCerts: certs}}
	return nil
}

// decodeCerts reads the certificates of a PEM file, at least one and not more than most.
func decodeCerts(data []byte, most int) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		block, rest := decodePEM(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != pemCert {
			clear(block.Bytes) // it may be a key
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("holds a certificate that does not parse")
		}
		if len(certs) == most {
			return nil, fmt.Errorf("holds more than %d certificates", most)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no certificate")
	}
	return certs, nil
}
