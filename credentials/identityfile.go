package credentials

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// IdentityFile is the identity in a file that tsh login --out, or a tool on the
// cluster's side, has written. The file is read when something is asked for, and kept
// once it could be read: a file that is renewed needs a new IdentityFile. It is safe for
// concurrent use.
type IdentityFile struct {
	path string
	now  func() time.Time

	mu     sync.Mutex
	loaded *keystore.Identity
}

// LoadIdentityFile returns the credentials in the file path. Errors appear at the first
// use and are those of keystore.ReadIdentityFile. There is no address in such a file.
func LoadIdentityFile(path string) *IdentityFile { return &IdentityFile{path: path, now: time.Now} }

// TLSConfig returns what keystore.Identity.TLSConfig does. An identity that has expired
// is an error that matches *keystore.TimeError and says when it ended.
func (f *IdentityFile) TLSConfig() (*tls.Config, error) {
	id, err := f.usable()
	if err != nil {
		return nil, err
	}
	return id.TLSConfig()
}

// SSHClientConfig returns what keystore.Identity.SSHClientConfig does, with the errors
// of TLSConfig.
func (f *IdentityFile) SSHClientConfig() (*ssh.ClientConfig, error) {
	id, err := f.usable()
	if err != nil {
		return nil, err
	}
	return id.SSHClientConfig()
}

// Expiry is when the identity ends, by the earlier one of its certificates. It is false
// when the file could not be read.
func (f *IdentityFile) Expiry() (time.Time, bool) {
	id, err := f.load()
	if err != nil {
		slog.Debug("expiry is not known", "error", err)
		return time.Time{}, false
	}
	return id.Expiry()
}

// load reads the file unless that was done.
func (f *IdentityFile) load() (*keystore.Identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loaded != nil {
		return f.loaded, nil
	}
	id, err := keystore.ReadIdentityFile(f.path)
	if err != nil {
		return nil, err
	}
	for _, warning := range id.Warnings {
		slog.Debug("identity file", "warning", warning)
	}
	f.loaded = id
	return id, nil
}

func (f *IdentityFile) usable() (*keystore.Identity, error) {
	id, err := f.load()
	if err != nil {
		return nil, err
	}
	when, ok := id.Expiry()
	if now := f.now(); ok && !now.Before(when) { // a beginning that is to come may be our clock
		return nil, fmt.Errorf("identity file %s: %w", f.path, &keystore.TimeError{At: when, Now: now})
	}
	return id, nil
}
