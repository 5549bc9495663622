package keystore

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/ssh"
)

// errNotWritable: a key that is in an ssh-agent stays there.
var errNotWritable = errors.New("the private key is in the ssh-agent and cannot be written to a file")

// IdentityFile returns the identity as one file, as ReadIdentityFile reads it: key, SSH
// certificate, TLS certificate, SSH authorities, TLS authorities. It is an error if SSH
// and TLS have different keys: there is room for one.
func (id *Identity) IdentityFile() ([]byte, error) {
	if err := id.checkWritable(); err != nil {
		return nil, err
	}
	if !samePublic(id.SSHKey.Public(), id.TLSKey.Public()) {
		return nil, errors.New("an identity file has one key, and this identity has one each for SSH and TLS")
	}
	key, cert, authorities, err := id.TLSFiles()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	var b bytes.Buffer
	b.Write(key)
	b.Write(ssh.MarshalAuthorizedKey(id.SSHCert))
	b.Write(cert)
	for _, a := range id.Authorities {
		for _, line := range hostLines(id.Proxy, a) {
			b.WriteString(line + "\n")
		}
	}
	b.Write(authorities)
	return b.Bytes(), nil
}

// OpenSSHFiles returns the SSH key in the form that ssh reads, and its certificate,
// which ssh looks for in a file beside it.
func (id *Identity) OpenSSHFiles() (key, cert []byte, err error) {
	if err := id.checkWritable(); err != nil {
		return nil, nil, err
	}
	if err := checkHalves(id.SSHKey); err != nil {
		return nil, nil, err
	}
	key, err = encodeSSHKey(id.SSHKey)
	return key, ssh.MarshalAuthorizedKey(id.SSHCert), err
}

// TLSFiles returns the TLS key, its certificate, and the certificates of the
// authorities, PEM each.
func (id *Identity) TLSFiles() (key, cert, authorities []byte, err error) {
	if err := id.checkWritable(); err != nil {
		return nil, nil, nil, err
	}
	for _, a := range id.Authorities {
		authorities = append(authorities, encodeCerts(a.TLSCerts, "")...)
	}
	key, err = encodeTLSKey(id.TLSKey)
	return key, encodePEM(pemCert, id.TLSCert.Raw), authorities, err
}

func (id *Identity) checkWritable() error {
	switch {
	case id.SSHKey == nil, id.TLSKey == nil, id.SSHCert == nil, id.TLSCert == nil:
		return errors.New(id.owner() + " is not complete")
	case agentSigner(id.SSHKey) != nil, agentSigner(id.TLSKey) != nil:
		return errNotWritable
	}
	return nil
}
