package keystore

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"golang.org/x/crypto/ssh"
)

// secretMode is the mode of every file: nobody else has business there.
const secretMode fs.FileMode = 0o600

// How long we wait for the locks of others. Other clients give up on a key file
// after 0.2 s; a login that cost a one-time code is worth more patience, as many
// processes may be logging in at once.
const (
	hostsLockTimeout = 5 * time.Second
	hostsLockRetry   = 10 * time.Millisecond
	keyLockTimeout   = 5 * time.Second
	keyLockRetry     = 10 * time.Millisecond
)

// Stage adds to tx what makes id the stored identity of its user, proxy and
// cluster: keys and certificates, then cas, certs.pem and known_hosts. Files that
// say the same already are left alone; a private key is compared by its public
// half, because rewriting it would look like a new login to other clients. With
// a new SSH key the certificates of the old one are removed.
//
// Authorities take the place of those stored for the same proxy and clusters when
// Proven is the proxy, or when nobody is logged in there. Otherwise those of the
// root cluster must share an SSH key and a TLS key with the stored ones, and what
// is stored stays as it is.
//
// It returns what Check returns, and a *ConflictError when another proxy is known
// as the cluster or the keys are not those of the login that is stored. Nothing is
// written before tx is committed; Commit may return a *ConflictError too.
func (d Dir) Stage(tx *durable.Tx, id *Identity) error {
	p, err := newPaths(d.Home, id.Proxy, id.User, id.Cluster)
	if err != nil {
		return err
	}
	p.proven = d.Proven
	p.seal, p.withoutKeys = d.Seal, d.WithoutKeys
	if err := id.Check(); err != nil {
		return err
	}
	users, err := d.Users(p.proxy)
	if err != nil {
		return err
	}
	if twin := twinUser(users, p.user); twin != "" {
		return fmt.Errorf("user %q differs only in case from %q, who is logged in to %s; to take over, run: tsh logout --proxy=%s --user=%s",
			p.user, twin, p.proxy, p.proxy, twin)
	}
	for _, rel := range []string{p.dir(), p.file(""), p.file(tlsKeySuffix), p.cas(id.RootCluster())} {
		if err := p.checkFolded(rel, os.Lstat); err != nil {
			return err
		}
	}
	if err := p.stageTLS(tx, id); err != nil {
		return err
	}
	if err := p.stageSSH(tx, id); err != nil {
		return err
	}
	p.stageOldLayout(tx, id)
	return p.stageAuthorities(tx, id)
}

// checkFolded refuses a name that the file system takes for another one that is there,
// because it folds the case of letters or the forms of Unicode, or knows short names: it
// is found, and not listed. The files would be shared.
func (p *paths) checkFolded(rel string, lstat func(string) (fs.FileInfo, error)) error {
	if _, err := lstat(p.abs(rel)); err != nil {
		return nil // it is new, or writing it says what is wrong
	}
	entries, err := os.ReadDir(filepath.Dir(p.abs(rel)))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == filepath.Base(rel) {
			return nil
		}
	}
	return fmt.Errorf("the file system takes %s for another name that is there; log out of that one first: tsh logout", p.abs(rel))
}

func (p *paths) stageTLS(tx *durable.Tx, id *Identity) error {
	newKey, newCert := !p.hasKey(tlsKeySuffix, id.TLSKey), !p.hasCert(tlsCertSuffix, id.TLSCert)
	if newKey || newCert {
		tx.Lock(p.file(tlsKeySuffix), keyLockTimeout, keyLockRetry)
	}
	if newKey {
		if err := p.stageKey(tx, tlsKeySuffix, id.TLSKey, encodeTLSKey); err != nil {
			return err
		}
	}
	if newCert {
		tx.Write(p.file(tlsCertSuffix), encodePEM(pemCert, id.TLSCert.Raw), secretMode)
	}
	return nil
}

// stageKey stores a private key as the login wants it.
func (p *paths) stageKey(tx *durable.Tx, suffix string, key crypto.Signer, encode func(crypto.Signer) ([]byte, error)) error {
	if p.withoutKeys {
		tx.Remove(p.file(suffix))
		return nil
	}
	if agentSigner(key) != nil {
		return errNoKeys
	}
	data, err := encode(key)
	if err == nil && p.seal != nil {
		plain := data
		data, err = p.sealKey(p.seal, suffix, key.Public(), plain)
		clear(plain)
	}
	if err != nil {
		return err
	}
	tx.Write(p.file(suffix), data, secretMode)
	return nil
}

func (p *paths) stageSSH(tx *durable.Tx, id *Identity) error {
	newKey := !p.hasKey("", id.SSHKey)
	if newKey {
		if err := p.stageKey(tx, "", id.SSHKey, encodeSSHKey); err != nil {
			return err
		}
	}
	// Other clients compare the public key file byte for byte.
	p.stageBytes(tx, p.file(pubSuffix), ssh.MarshalAuthorizedKey(id.SSHCert.Key))
	p.stageBytes(tx, p.sshCert(), ssh.MarshalAuthorizedKey(id.SSHCert))
	if newKey || p.withoutKeys {
		p.stageStale(tx, id)
	}
	return nil
}

// stageStale removes what belongs to the SSH key that is being replaced. One
// certificate for another key makes other clients refuse to connect.
func (p *paths) stageStale(tx *durable.Tx, id *Identity) {
	dir := p.file(sshDirSuffix)
	entries, err := os.ReadDir(p.abs(dir))
	if err != nil {
		entries = nil
	}
	key := id.SSHKey.Public()
	for _, e := range entries {
		cluster, ok := strings.CutSuffix(e.Name(), sshCertSuffix)
		if !ok || cluster == p.cluster || !e.Type().IsRegular() {
			continue
		}
		other := *p
		other.cluster = cluster
		if cert, err := other.readSSHCert(); err != nil || !samePublic(sshPublic(cert), key) {
			tx.Remove(other.sshCert())
		}
	}
	for _, rel := range []string{p.file(puttySuffix), p.dir(kubeLockFile)} {
		if p.exists(rel) {
			tx.Remove(rel)
		}
	}
}

// stageOldLayout keeps clients up to 16 going where they can: they have one RSA
// key and another name for the certificate. A certificate that is left there from
// a login with another key would only break them, so it goes.
func (p *paths) stageOldLayout(tx *durable.Tx, id *Identity) {
	_, isRSA := id.SSHKey.(*rsa.PrivateKey)
	switch {
	case isRSA && p.seal == nil && !p.withoutKeys && samePublic(id.SSHKey.Public(), id.TLSKey.Public()):
		if !p.hasCert(oldTLSCertSuffix, id.TLSCert) {
			tx.Write(p.file(oldTLSCertSuffix), encodePEM(pemCert, id.TLSCert.Raw), secretMode)
		}
	case p.exists(p.file(oldTLSCertSuffix)):
		tx.Remove(p.file(oldTLSCertSuffix))
	}
}

// hasKey reports whether a file holds the key already, in the way the login wants it
// stored.
func (p *paths) hasKey(suffix string, key crypto.Signer) bool {
	p.exposed = nil
	data, err := p.readKey(suffix)
	if err != nil {
		return p.withoutKeys && errors.Is(err, ErrNotFound) && !p.exists(p.file(suffix))
	}
	defer clear(data)
	// A key that others can read is written anew, readable by nobody else.
	if p.withoutKeys || len(p.exposed) > 0 {
		return false
	}
	block, _ := pem.Decode(data)
	if sealed(block) {
		return p.seal != nil && block.Headers[headerSlot] == p.seal.Slot && samePublic(sealedPublic(block), key.Public())
	}
	if p.seal != nil {
		return false
	}
	old, err := p.decodeKey(suffix, data)
	return err == nil && samePublic(old.Public(), key.Public()) && checkHalves(old) == nil
}

func (p *paths) hasCert(suffix string, cert *x509.Certificate) bool {
	old, err := p.readTLSCert(suffix)
	return err == nil && bytes.Equal(old.Raw, cert.Raw)
}

func (p *paths) exists(rel string) bool {
	_, err := os.Lstat(p.abs(rel))
	return err == nil
}

// UserFiles lists what a user has at a proxy, relative to Home: keys and
// certificates of every layout and the directories with certificates for
// resources, secrets first. It looks at names only, so that it works whatever the
// files contain. What it lists is what a logout removes.
func (d Dir) UserFiles(proxy, user string) ([]string, error) {
	if !isElement(proxy) || !isElement(user) || user == casDir || user == certsFile {
		return nil, fmt.Errorf("user %q at proxy %q cannot be a file name", user, proxy)
	}
	p := barePaths(d.Home, proxy, user, "")
	if err := durable.PlainDirs(p.home, p.dir()); err != nil {
		return nil, err
	}
	var found []string
	look := func(rel string, wantDir bool) {
		// One user's name can be another's with a suffix: the kind decides.
		if info, err := p.view.Lstat(rel); err == nil && (info.IsDir() == wantDir || info.Mode()&fs.ModeSymlink != 0) {
			found = append(found, rel)
		}
	}
	look(p.file(""), false)
	for _, s := range fileSuffixes() {
		look(p.file(s), false)
	}
	for _, s := range dirSuffixes() {
		look(p.file(s), true)
	}
	if len(found) > 0 {
		look(p.dir(kubeLockFile), false)
	}
	return found, nil
}

// Users lists the users who have keys or SSH certificates at a proxy, sorted. They
// are recognised by file names, whatever the files contain, except that a file
// without a suffix must look like a private key: it could be anybody's. A proxy
// without files is an empty list.
func (d Dir) Users(proxy string) ([]string, error) {
	if !isElement(proxy) {
		return nil, fmt.Errorf("proxy %q cannot be a file name", proxy)
	}
	p := barePaths(d.Home, proxy, "", "")
	entries, err := p.list(p.dir())
	if err != nil {
		return nil, err
	}
	var users []string
	for _, e := range entries {
		if user := p.userOf(e); user != "" && !slices.Contains(users, user) {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	return users, nil
}

func (p *paths) userOf(e fs.DirEntry) string {
	name := e.Name()
	if strings.HasPrefix(name, ".") {
		return "" // no user's name begins like this
	}
	if e.IsDir() {
		user, ok := strings.CutSuffix(name, sshDirSuffix)
		if !ok {
			return ""
		}
		return user
	}
	if user, ok := strings.CutSuffix(name, tlsKeySuffix); ok {
		return user
	}
	data, err := p.view.ReadFile(p.dir(name), maxKeyFile)
	if err == nil && bytes.HasPrefix(data, []byte("-----BEGIN ")) && bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		clear(data)
		return name
	}
	return ""
}

// Proxies lists the proxies that have a key directory, sorted.
func (d Dir) Proxies() ([]string, error) {
	p := barePaths(d.Home, "", "", "")
	entries, err := p.list(keysDir)
	if err != nil {
		return nil, err
	}
	var proxies []string
	for _, e := range entries {
		if e.IsDir() {
			proxies = append(proxies, e.Name())
		}
	}
	return proxies, nil
}

func (p *paths) list(rel string) ([]fs.DirEntry, error) {
	if err := durable.PlainDirs(p.home, rel); err != nil {
		return nil, err
	}
	entries, err := p.view.ReadDir(rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
