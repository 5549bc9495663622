package credentials

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// KeyPair are a key, its certificate and authorities in three files, for TLS alone. The
// files are read each time, so that a renewed pair is picked up, and nothing of them is kept
// in between. It is safe for concurrent use and prints as REDACTED.
type KeyPair struct {
	redacted
	certPath, keyPath, caPath string
	now                       func() time.Time
	pause                     func(time.Duration)
	notices                   *notices
}

// Whoever renews a pair writes one file after the other.
const (
	pairTries = 3
	pairWait  = 30 * time.Millisecond // doubled for the second wait
	pairFresh = 2 * time.Second       // since the last change: somebody may be at work
)

// LoadKeyPair returns the credentials in the files that tsh login --out --format=tls writes,
// and other tools: PEM, the certificate first in its file, the key in any encoding. Errors
// appear at each use and are those of keystore.Identity.ReadTLSFiles. A link is followed.
func LoadKeyPair(certPath, keyPath, caPath string, opts ...Option) *KeyPair {
	k := &KeyPair{certPath: certPath, keyPath: keyPath, caPath: caPath, now: time.Now, pause: time.Sleep, notices: new(notices)}
	k.notices.apply(opts)
	return k
}

// TLSConfig reads the files and returns what keystore.Identity.TLSConfig does. Files that do
// not fit together and have just changed are read again, for 90 ms at most. A
// certificate that has expired is an error that matches *keystore.TimeError and says when.
func (k *KeyPair) TLSConfig() (*tls.Config, error) {
	id, err := k.read()
	if err != nil {
		return nil, err
	}
	k.notices.warn(slices.Concat(id.Warnings, exposedDirs(k.keyPath), exposedFile(k.certPath), exposedFile(k.caPath))...)
	k.notices.deliver()
	if err := checkExpiry("key pair "+k.certPath, id, k.now()); err != nil {
		return nil, err
	}
	id.Now = k.now
	return id.TLSConfig()
}

func (k *KeyPair) read() (*keystore.Identity, error) {
	for try := 1; ; try++ {
		id := new(keystore.Identity)
		err := id.ReadTLSFiles(k.keyPath, k.certPath, k.caPath)
		if err == nil {
			return id, nil
		}
		fresh := stampOf(k.certPath).changedAfter(time.Now().Add(-pairFresh)) || stampOf(k.keyPath).changedAfter(time.Now().Add(-pairFresh))
		if !fresh || try == pairTries {
			return nil, err
		}
		k.pause(pairWait << (try - 1))
	}
}

// SSHClientConfig returns an *UnsupportedError.
func (k *KeyPair) SSHClientConfig() (*ssh.ClientConfig, error) { return nil, noSSH("LoadKeyPair") }

// DefaultAddrs returns an *UnsupportedError.
func (k *KeyPair) DefaultAddrs() ([]string, error) { return nil, noAddrs("LoadKeyPair") }

// Expiry is when the certificate ends, false when it could not be read. The key is not read
// for it.
func (k *KeyPair) Expiry() (time.Time, bool) {
	id := new(keystore.Identity)
	if err := id.ReadTLSCert(k.certPath); err != nil {
		slog.Debug("expiry is not known", "error", err)
		return time.Time{}, false
	}
	return id.Expiry()
}

// checkExpiry is the error for an identity that has ended. A beginning that is to come may
// be a matter of our clock, and is the server's to judge.
func checkExpiry(what string, id *keystore.Identity, now time.Time) error {
	if when, ok := id.Expiry(); ok && !now.Before(when) {
		return fmt.Errorf("%s: %w", what, &keystore.TimeError{At: when, Now: now})
	}
	return nil
}
