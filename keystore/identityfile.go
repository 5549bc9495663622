package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"golang.org/x/crypto/ssh"
)

const (
	maxIdentityFile = 4 << 20 // with the authorities of thousands of clusters
	maxIdentityLine = 64 << 10
)

// ReadIdentityFile reads an identity file: one private key for both protocols, its
// certificates, and authorities. It finds by position, not by name: the first PEM block
// is the key, the second the TLS certificate, all others are authorities; the SSH
// certificate and the lines of SSH authorities may stand anywhere between them, and what
// is none of these is passed over. Without an SSH certificate in it, PATH-cert.pub is
// read. A link is followed: that is how files get into containers.
//
// A TLS certificate and authorities may be missing; TLSConfig and SSHClientConfig say so
// where they are needed. Time is not judged, see CheckTime. User and Cluster are those
// that the certificates name, Cluster being the one that issued them; Proxy is the host
// that the file's authorities are for, empty if it names none.
//
// Errors say which file and what is wrong with it. They match fs.ErrNotExist for one
// that is missing, *KeyError for a key that cannot be used, and ErrDamaged otherwise,
// unless the system refuses. That others can read the file is one of Warnings.
func ReadIdentityFile(path string) (*Identity, error) {
	origin := "identity file " + path
	data, exposed, err := readIdentity(path)
	if err != nil {
		return nil, unreadable(origin, err)
	}
	defer clear(data)
	parts, err := scanIdentity(data)
	if err == nil && parts.sshCert == nil {
		parts.sshCert, err = readCertBeside(path)
	}
	var id *Identity
	if err == nil {
		id, err = parts.identity()
	}
	if err != nil {
		return nil, unusable(origin, err)
	}
	id.origin = origin
	id.warnExposed(path, exposed)
	return id, nil
}

// SetIdentityFile makes id the identity that data, the content of an identity file,
// holds: the counterpart of IdentityFile. It reads as ReadIdentityFile does, except that
// there is no file beside it, so that the SSH certificate has to be in it. Errors are
// those of ReadIdentityFile. data may be cleared afterwards.
func (id *Identity) SetIdentityFile(data []byte) error {
	const origin = "identity in a string"
	if len(data) > maxIdentityFile {
		return unusable(origin, fmt.Errorf("has more than %d bytes", maxIdentityFile))
	}
	parts, err := scanIdentity(data)
	if err != nil {
		return unusable(origin, err)
	}
	read, err := parts.identity()
	if err != nil {
		return unusable(origin, err)
	}
	*id = *read
	id.origin = origin
	return nil
}

// warnExposed notes that others can read the private key.
func (id *Identity) warnExposed(path string, exposed fs.FileMode) {
	if exposed != 0 {
		id.Warnings = append(id.Warnings, fmt.Sprintf("other users can get at the private key in %s (mode %04o); chmod go= it", path, exposed))
	}
}

// unreadable says what the system has against a file.
func unreadable(what string, err error) error {
	var refused *fs.PathError
	if errors.As(err, &refused) {
		err = refused.Err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unusable says what is wrong with the content of something.
func unusable(what string, err error) error {
	var other *KeyError
	if errors.As(err, &other) {
		other.Path = what
		return other
	}
	return &contentError{what, err}
}

// contentError is an identity file, or one of a key pair, that cannot be used for what is
// in it.
type contentError struct {
	origin string
	err    error
}

func (e *contentError) Error() string { return e.origin + " " + e.err.Error() }

// Unwrap makes it ErrDamaged.
func (e *contentError) Unwrap() []error { return []error{ErrDamaged, e.err} }

// readIdentity reads a file that somebody named: through links, and whoever it belongs
// to. A group that shares the file of another user is meant to read it.
func readIdentity(path string) (data []byte, exposed fs.FileMode, err error) {
	if path == "" {
		return nil, 0, errors.New("has no name")
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, 0, err
	}
	data, exposed, err = durable.ReadPrivate(target, maxIdentityFile)
	var theirs *durable.OwnerError
	if errors.As(err, &theirs) {
		data, err = durable.ReadFile(target, maxIdentityFile)
	}
	return data, exposed, err
}

// readCertBeside is where OpenSSH has the certificate of a key in a file of its own.
func readCertBeside(path string) (*ssh.Certificate, error) {
	beside := path + sshCertSuffix
	data, _, err := readIdentity(beside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("has no SSH certificate, and there is no %s", beside)
	}
	if err != nil {
		return nil, fmt.Errorf("has no SSH certificate: %w", err)
	}
	cert, err := decodeSSHCert(data)
	if err != nil {
		return nil, fmt.Errorf("has no SSH certificate, and %s %w", beside, err)
	}
	return cert, nil
}

// identityParts is what an identity file holds.
type identityParts struct {
	key         crypto.Signer
	tlsCert     *x509.Certificate
	sshCert     *ssh.Certificate
	proxy       string
	authorities []Authority     // in the order of the file
	known       map[string]bool // keys of SSH authorities, after the name of the cluster and a zero
}

// scanIdentity reads an identity file line by line.
func scanIdentity(data []byte) (*identityParts, error) {
	parts := new(identityParts)
	var block []byte // the PEM block that has begun
	defer func() { clear(block) }()
	blocks := 0
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		n := i + 1
		if len(line) > maxIdentityLine {
			return nil, fmt.Errorf("line %d has more than %d bytes", n, maxIdentityLine)
		}
		line = bytes.TrimSpace(line)
		if block == nil && !bytes.HasPrefix(line, []byte("-----BEGIN")) {
			if err := parts.addLine(string(line)); err != nil {
				return nil, fmt.Errorf("line %d %w", n, err)
			}
			continue
		}
		if block == nil {
			block = make([]byte, 0, 4<<10)
		}
		block = append(append(block, line...), '\n')
		if !bytes.HasPrefix(line, []byte("-----END")) {
			continue
		}
		blocks++
		if err := parts.addBlock(blocks, block); err != nil {
			return nil, err
		}
		clear(block)
		block = nil
	}
	if block != nil {
		return nil, errors.New("ends in the middle of a PEM block")
	}
	return parts, nil
}

// addLine takes a line that is in no PEM block.
func (p *identityParts) addLine(line string) error {
	kind, _, _ := strings.Cut(line, " ")
	switch {
	case isSSHCertType(kind):
		cert, err := decodeSSHCert([]byte(line))
		if err != nil {
			return err
		}
		p.sshCert = cert // the last one counts
	case strings.HasPrefix(line, markAuthority):
		return p.addHostLine(line)
	}
	return nil
}

// isSSHCertType knows NAME-cert-vNN@openssh.com.
func isSSHCertType(s string) bool {
	s, ok := strings.CutSuffix(s, "@openssh.com")
	const version = "-cert-v00"
	if !ok || len(s) <= len(version) {
		return false
	}
	name, tail := s[:len(s)-len(version)], s[len(s)-len(version):]
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	if !strings.HasPrefix(tail, version[:7]) || !digit(tail[7]) || !digit(tail[8]) {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }) < 0
}

// addHostLine takes an SSH authority: "proxy,cluster,*.cluster", and without the proxy,
// which programs on the cluster's side do not know.
func (p *identityParts) addHostLine(line string) error {
	l, ok, _ := parseHostLine([]byte(line))
	if !ok || l.marker != markAuthority {
		return errors.New("is no line of an SSH authority")
	}
	key, err := l.parseKey()
	if err != nil {
		return errors.New("holds no SSH key of an authority")
	}
	cluster := strings.TrimPrefix(l.hosts[0], "*.")
	if proxy, named := l.proxyCluster(); proxy != "" {
		cluster = named
		if p.proxy == "" && CheckName("proxy", proxy) == nil {
			p.proxy = proxy
		}
	}
	if !l.isHost() {
		return nil
	}
	id := cluster + "\x00" + string(key.Marshal())
	if p.known[id] {
		return nil
	}
	if p.known == nil {
		p.known = make(map[string]bool)
	}
	p.known[id] = true
	a := p.authority(cluster)
	a.SSHKeys = append(a.SSHKeys, key)
	return p.checkSize(a)
}

// checkSize refuses early what Check would refuse: each line is compared with the names of
// all before it.
func (p *identityParts) checkSize(a *Authority) error {
	if len(p.authorities) > maxAuthorities || len(a.SSHKeys) > maxAuthorityKeys || len(a.TLSCerts) > maxAuthorityKeys {
		return fmt.Errorf("is one too many: there are %d authorities already, or keys of one", maxAuthorities)
	}
	return nil
}

func (p *identityParts) authority(cluster string) *Authority {
	for i := range p.authorities {
		if p.authorities[i].Cluster == cluster {
			return &p.authorities[i]
		}
	}
	p.authorities = append(p.authorities, Authority{Cluster: cluster})
	return &p.authorities[len(p.authorities)-1]
}

// addBlock takes the n-th PEM block.
func (p *identityParts) addBlock(n int, data []byte) (err error) {
	if n == 1 {
		if bytes.HasPrefix(data, []byte(armorBegin+pemCert)) {
			return errors.New("does not begin with a private key but with a certificate")
		}
		p.key, err = decodeKey(data)
		return err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fmt.Errorf("has a PEM block, number %d, that does not parse", n)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("has a certificate, PEM block number %d, that does not parse", n)
	}
	if n == 2 {
		p.tlsCert = cert
		return nil
	}
	a := p.authority(cert.Subject.CommonName)
	a.TLSCerts = append(a.TLSCerts, cert)
	if err := p.checkSize(a); err != nil {
		return fmt.Errorf("has a certificate, PEM block number %d, that %w", n, err)
	}
	return nil
}

// identity puts the parts together where they belong to each other.
func (p *identityParts) identity() (*Identity, error) {
	switch {
	case p.key == nil:
		return nil, errors.New("has no private key")
	case p.sshCert == nil:
		return nil, errors.New("has no SSH certificate")
	case !samePublic(sshPublic(p.sshCert), p.key.Public()):
		return nil, errors.New("has an SSH certificate that is not for its private key")
	case p.tlsCert != nil && !samePublic(p.tlsCert.PublicKey, p.key.Public()):
		return nil, errors.New("has a TLS certificate that is not for its private key")
	}
	id := &Identity{
		Proxy: p.proxy, User: p.sshCert.KeyId,
		SSHKey: p.key, SSHCert: p.sshCert, TLSKey: p.key, TLSCert: p.tlsCert, Authorities: p.authorities,
	}
	if p.tlsCert != nil {
		id.User, id.Cluster = p.tlsCert.Subject.CommonName, p.tlsCert.Issuer.CommonName
	}
	return id, nil
}

// owner is whose credentials these are, for errors.
func (id *Identity) owner() string {
	if id.origin != "" {
		return id.origin
	}
	return fmt.Sprintf("identity of %s at %s", id.User, id.Proxy)
}

// without is the error for an identity that no server can be verified with.
func (id *Identity) without(protocol string) error {
	if id.origin != "" {
		return fmt.Errorf("%w: %s has no %s authority", ErrDamaged, id.owner(), protocol)
	}
	return fmt.Errorf("%w: no %s authority is known for %s", ErrDamaged, protocol, id.Proxy)
}
