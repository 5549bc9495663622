package keystore

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
)

// Names below keys/<proxy>.
const (
	keysDir          = "keys"
	kubeLockFile     = "kube_credentials.lock"
	tlsKeySuffix     = ".key"
	tlsCertSuffix    = ".crt"
	oldTLSCertSuffix = "-x509.pem" // up to 16, for the key <user>
	pubSuffix        = ".pub"
	puttySuffix      = ".ppk"
	sshDirSuffix     = "-ssh"
	sshCertSuffix    = "-cert.pub"
)

// Dir is the key directory of a profile directory, in the layout of 18. The zero
// value of the other fields is the usual one.
type Dir struct {
	Home string
	// AllAuthorities loads every authority known for the proxy instead of those
	// of the root and the selected cluster.
	AllAuthorities bool
	// Clusters are more clusters whose authorities Load loads.
	Clusters []string
	// Proven is, for Stage, the host whose web certificate was verified at the
	// login, or that was verified with the stored authorities. It is empty when
	// nothing was verified.
	Proven string
	// Seal is, for Stage, how new private keys are stored; nil means in the clear.
	Seal *Seal
	// WithoutKeys leaves, for Stage, private keys out: they are in an ssh-agent. Those
	// of an earlier login are removed.
	WithoutKeys bool
	// Keyring opens sealed private keys, for Load. It is asked at most once for an
	// identity; nil means the operating system's.
	Keyring Keyring

	wait func(time.Duration) // between reads of files that are being written
}

// Writers put one file after the other. What does not fit together is read again,
// then with the lock that other clients hold while they write the TLS pair, and we
// while we replace anything. All waits together take no more than 200 ms.
const (
	readTries = 3
	readWait  = 30 * time.Millisecond // doubled for the second wait
	lockTries = 10
	lockWait  = 5 * time.Millisecond
)

// tornError is a state that a writer leaves for a moment. Unless it goes away the
// cause in it is returned.
type tornError struct{ cause error }

func (e *tornError) Error() string { return "being written: " + e.cause.Error() }

// damaged marks what a new login repairs. What the operating system refuses is
// not among it.
func damaged(err error) error {
	var errno syscall.Errno
	var owner *durable.OwnerError
	if errors.Is(err, ErrDamaged) || errors.As(err, &errno) || errors.As(err, &owner) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// Load returns the identity of a user at a proxy for a cluster, with private
// keys. It never changes a file. Certificates are not judged by time or against
// Check; that they carry the keys beside them is made sure. Errors match
// ErrNotFound (files missing or empty), ErrDamaged, *KeyError, or *KeyringError;
// other errors come from the names, the disk, or files that belong to another user.
//
// Sealed private keys are opened with the keyring. Where there are certificates for
// one ECDSA key and no private keys, the ssh-agent has to have that key: it then
// signs, and the identity holds no key.
func (d Dir) Load(proxy, user, cluster string) (*Identity, error) {
	return d.load(proxy, user, cluster, (*paths).readPrivate)
}

// LoadPublic is Load for looking only: certificates without private keys and
// without authorities. It opens at most three files.
func (d Dir) LoadPublic(proxy, user, cluster string) (*Identity, error) {
	return d.load(proxy, user, cluster, (*paths).readPublic)
}

func (d Dir) load(proxy, user, cluster string, read func(*paths, *Identity, bool) error) (*Identity, error) {
	p, err := newPaths(d.Home, proxy, user, cluster)
	if err != nil {
		return nil, err
	}
	if err := durable.PlainDirs(p.home, p.dir(p.user+sshDirSuffix)); err != nil {
		return nil, damaged(err)
	}
	p.keyring, p.clusters = d.Keyring, d.Clusters
	defer p.forgetSealKeys()
	release := func() {}
	for try := 1; ; try++ {
		id := &Identity{Proxy: proxy, User: user, Cluster: cluster}
		p.exposed, p.noticed = nil, nil
		if try > 1 {
			p.view = durable.Look(p.home)
		}
		seen := p.stamp()
		err := read(p, id, d.AllAuthorities)
		if err == nil && !seen.same(p.stamp()) {
			err = &tornError{errReplaced}
		}
		id.Exposed, id.Warnings = p.exposed, p.noticed
		release()
		var torn *tornError
		if !errors.As(err, &torn) {
			if err != nil {
				return nil, err
			}
			return id, nil
		}
		if try == readTries {
			if torn.cause == nil {
				return id, nil
			}
			return nil, torn.cause
		}
		d.pause(readWait << (try - 1))
		release = d.waitForWriter(p)
	}
}

// errReplaced: each time we looked, another login came in between.
var errReplaced = errors.New("the stored login is being replaced again and again; try again")

// stamp tells one login's certificates from another's, from outside.
type stamp [2]fs.FileInfo

// stamp looks anew each time: new certificates may have been put in place meanwhile.
func (p *paths) stamp() (s stamp) {
	view := durable.Look(p.home)
	for i, rel := range []string{p.sshCert(), p.file(tlsCertSuffix)} {
		if info, err := view.Lstat(rel); err == nil {
			s[i] = info
		}
	}
	return s
}

// same reports whether nothing was replaced or rewritten between the two looks. Parts of
// two logins, each in order for itself, must not become one identity.
func (s stamp) same(other stamp) bool {
	for i, info := range s {
		now := other[i]
		if (info == nil) != (now == nil) {
			return false
		}
		if info != nil && (!os.SameFile(info, now) || !info.ModTime().Equal(now.ModTime()) || info.Size() != now.Size()) {
			return false
		}
	}
	return true
}

// waitForWriter takes the readers' lock, or does without it when a writer keeps it
// for long.
func (d Dir) waitForWriter(p *paths) (release func()) {
	for try := 1; ; try++ {
		release, ok := durable.TryShared(p.abs(p.file(tlsKeySuffix)))
		if ok || try == lockTries {
			return release
		}
		d.pause(lockWait)
	}
}

func (d Dir) pause(t time.Duration) {
	if d.wait != nil {
		d.wait(t)
		return
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	<-timer.C
}

// readPublic reads the certificates.
func (p *paths) readPublic(id *Identity, _ bool) error {
	var err error
	if id.SSHCert, err = p.readSSHCert(); err != nil {
		return err
	}
	sshKey := sshPublic(id.SSHCert)
	old, err := p.readOldCert(sshKey)
	if err != nil {
		return err
	}
	cert, certErr := p.readTLSCert(tlsCertSuffix)
	if certErr == nil && p.inAgent(id.SSHCert, cert) {
		id.TLSCert, id.InAgent = cert, true
		return nil
	}
	if err := p.haveKey(""); err != nil {
		return err
	}
	err = certErr
	if err == nil {
		err = p.haveKey(tlsKeySuffix)
	}
	if old == nil {
		id.TLSCert = cert
		return err
	}
	if err != nil {
		cert = nil
	}
	id.TLSCert = laterCert(cert, old, sshKey)
	return nil
}

// haveKey looks at a private key from outside: without it a certificate is of no
// use.
func (p *paths) haveKey(suffix string) error {
	path := p.abs(p.file(suffix))
	info, err := p.view.Stat(p.file(suffix))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is missing", ErrNotFound, path)
	case err != nil:
		return err
	case info.Size() == 0:
		return &tornError{fmt.Errorf("%w: %s is empty", ErrNotFound, path)}
	}
	return nil
}

// readPrivate reads keys, certificates and authorities.
func (p *paths) readPrivate(id *Identity, all bool) error {
	loose, err := durable.CheckOwners(p.home, p.abs(keysDir), p.abs(p.dir()), p.abs(knownHostsFile))
	if err != nil {
		return err
	}
	p.exposed = append(p.exposed, loose...)
	keyData, err := p.readKey("")
	if errors.Is(err, ErrNotFound) && p.readFromAgent(id) {
		return p.takeFromAgent(id, all)
	}
	if err != nil {
		return err
	}
	defer clear(keyData)
	if id.SSHKey, err = p.decodeKey("", keyData); err != nil {
		return err
	}
	if id.SSHCert, err = p.readSSHCert(); err != nil {
		return err
	}
	if !samePublic(sshPublic(id.SSHCert), id.SSHKey.Public()) {
		return torn(fmt.Errorf("%s is not for the key %s", p.abs(p.sshCert()), p.abs(p.file(""))))
	}
	if err := p.readTLSPair(id, keyData); err != nil {
		return err
	}
	return p.readAuthorities(id, all)
}

func (p *paths) readAuthorities(id *Identity, all bool) error {
	root := id.RootCluster()
	if err := CheckName("cluster", root); err != nil {
		return damaged(fmt.Errorf("%s: issuer: %w", p.abs(p.file(tlsCertSuffix)), err))
	}
	clusters := []string{root}
	for _, c := range append([]string{p.cluster}, p.clusters...) {
		if !slices.Contains(clusters, c) && CheckName("cluster", c) == nil {
			clusters = append(clusters, c)
		}
	}
	authorities, t, err := p.loadAuthorities(clusters, all)
	if err != nil {
		return err
	}
	id.Authorities, id.revoked = authorities, t.revoked
	p.noticed = append(p.noticed, t.warnings(p.abs(knownHostsFile))...)
	// A writer may have emptied the files to fill them again. If they stay like
	// this the identity is returned without that trust, and connecting fails.
	if !id.Knows(root) && p.anyEmpty(knownHostsFile, p.cas(root)) {
		return &tornError{} // no cause
	}
	return nil
}

func (p *paths) anyEmpty(rel ...string) bool {
	return slices.ContainsFunc(rel, func(r string) bool {
		info, err := p.view.Lstat(r)
		return err == nil && info.Size() == 0
	})
}

// readTLSPair reads the TLS key and certificate of this generation and, for the
// RSA keys of older ones, the certificate they keep under another name.
func (p *paths) readTLSPair(id *Identity, sshKeyData []byte) error {
	key, cert, err := p.readNewPair(id.SSHKey, sshKeyData)
	old, oldErr := p.readOldCert(id.SSHKey.Public())
	if oldErr != nil {
		return oldErr
	}
	if old == nil {
		id.TLSKey, id.TLSCert = key, cert
		return err
	}
	if err != nil {
		cert = nil
	}
	id.TLSKey, id.TLSCert = id.SSHKey, laterCert(cert, old, id.SSHKey.Public())
	return nil
}

// readNewPair reads <user>.key and <user>.crt.
func (p *paths) readNewPair(sshKey crypto.Signer, sshKeyData []byte) (crypto.Signer, *x509.Certificate, error) {
	keyData, err := p.readKey(tlsKeySuffix)
	if err != nil {
		return nil, nil, err
	}
	defer clear(keyData)
	key := sshKey
	// With the legacy suite both files are the same; parsing RSA is slow.
	if string(keyData) != string(sshKeyData) {
		if key, err = p.decodeKey(tlsKeySuffix, keyData); err != nil {
			return nil, nil, err
		}
	}
	cert, err := p.readTLSCert(tlsCertSuffix)
	if err != nil {
		return nil, nil, err
	}
	if !samePublic(cert.PublicKey, key.Public()) {
		return nil, nil, torn(fmt.Errorf("%s is not for the key %s", p.abs(p.file(tlsCertSuffix)), p.abs(p.file(tlsKeySuffix))))
	}
	return key, cert, nil
}

// readOldCert returns the certificate in the layout up to 16, if there is one for
// the SSH key. That layout has RSA keys only.
func (p *paths) readOldCert(sshKey crypto.PublicKey) (*x509.Certificate, error) {
	if _, ok := sshKey.(*rsa.PublicKey); !ok {
		return nil, nil
	}
	cert, err := p.readTLSCert(oldTLSCertSuffix)
	if err != nil || !samePublic(cert.PublicKey, sshKey) {
		return nil, nil
	}
	return cert, nil
}

// laterCert chooses between the certificates of both layouts. The old one is for
// the SSH key; the new one competes only if it is too, otherwise it is left from
// another login.
func laterCert(cert, old *x509.Certificate, sshKey crypto.PublicKey) *x509.Certificate {
	if cert != nil && samePublic(cert.PublicKey, sshKey) && !cert.NotAfter.Before(old.NotAfter) {
		return cert
	}
	return old
}

func torn(err error) error { return &tornError{damaged(err)} }
