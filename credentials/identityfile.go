package credentials

import (
	"crypto/tls"
	"log/slog"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// IdentityFile is the identity in a file that tsh login --out, or a tool on the
// cluster's side, has written, or in a string with the content of one. It is read when
// something is asked for, and kept once it could be read: for a file that is renewed
// there is NewDynamicIdentityFile. It is safe for concurrent use and prints as REDACTED.
type IdentityFile struct {
	redacted
	loader string
	what   string // for errors
	now    func() time.Time

	mu      sync.Mutex
	read    func() (*keystore.Identity, error) // nil once it worked
	loaded  *keystore.Identity
	notices *notices
}

// LoadIdentityFile returns the credentials in the file path. Errors appear at the first
// use and are those of keystore.ReadIdentityFile: a link is followed, an SSH certificate
// that is not in the file is looked for in PATH-cert.pub, and a file has at most 4 MiB, of
// lines of at most 64 KiB. There is no address in such a file.
func LoadIdentityFile(path string, opts ...Option) *IdentityFile {
	f := &IdentityFile{loader: "LoadIdentityFile", what: "identity file " + path, now: time.Now, notices: new(notices)}
	f.notices.apply(opts)
	f.read = func() (*keystore.Identity, error) {
		id, err := keystore.ReadIdentityFile(path)
		if err == nil {
			f.notices.warn(append(id.Warnings, exposedDirs(path)...)...)
		}
		return id, err
	}
	return f
}

// LoadIdentityString returns the credentials in s, which has the content of an identity
// file, all of it: there is no file beside it. Errors appear at the first use and are those
// of keystore.Identity.SetIdentityFile.
func LoadIdentityString(s string) *IdentityFile {
	return &IdentityFile{loader: "LoadIdentityString", what: "identity in a string", now: time.Now, notices: new(notices),
		read: func() (*keystore.Identity, error) {
			id, data := new(keystore.Identity), []byte(s)
			defer clear(data)
			return id, id.SetIdentityFile(data)
		}}
}

// TLSConfig returns what keystore.Identity.TLSConfig does: it is an error to have no TLS
// certificate or no TLS authority. An identity that has expired is an error that matches
// *keystore.TimeError and says when it ended.
func (f *IdentityFile) TLSConfig() (*tls.Config, error) {
	id, err := f.usable()
	if err != nil {
		return nil, err
	}
	return id.TLSConfig()
}

// SSHClientConfig returns what keystore.Identity.SSHClientConfig does, with the errors
// of TLSConfig. The TLS parts may be missing.
func (f *IdentityFile) SSHClientConfig() (*ssh.ClientConfig, error) {
	id, err := f.usable()
	if err != nil {
		return nil, err
	}
	return id.SSHClientConfig()
}

// Expiry is when the identity ends, by the earlier one of its certificates. It is false
// when it could not be read.
func (f *IdentityFile) Expiry() (time.Time, bool) {
	id, err := f.load()
	if err != nil {
		slog.Debug("expiry is not known", "error", err)
		return time.Time{}, false
	}
	return id.Expiry()
}

// DefaultAddrs returns an *UnsupportedError.
func (f *IdentityFile) DefaultAddrs() ([]string, error) { return nil, noAddrs(f.loader) }

// load reads the identity unless that was done.
func (f *IdentityFile) load() (*keystore.Identity, error) {
	defer f.notices.deliver()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loaded != nil {
		return f.loaded, nil
	}
	id, err := f.read()
	if err != nil {
		return nil, err
	}
	id.Now = f.now
	f.loaded, f.read = id, nil // the string is free to go
	return id, nil
}

func (f *IdentityFile) usable() (*keystore.Identity, error) {
	id, err := f.load()
	if err != nil {
		return nil, err
	}
	return id, checkExpiry(f.what, id, f.now())
}
