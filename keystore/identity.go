// Package keystore holds what a cluster issued to a user: private keys,
// certificates and the authorities to trust. It reads and writes them in the
// directory layout of tsh 18 (and reads that of 14), checks what a cluster
// delivers before anything is stored, and turns an identity into the TLS and SSH
// configurations that connect with it.
//
// A Dir is the store; an Identity is what comes out of it. Most programs want
// the credentials package instead.
package keystore

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"golang.org/x/crypto/ssh"
)

var (
	// ErrNotFound means that there is no identity: files are missing or empty.
	ErrNotFound = errors.New("not logged in")
	// ErrDamaged means that files are there and cannot be used. A new login
	// replaces them.
	ErrDamaged = errors.New("stored login is damaged")
)

// Identity is what a cluster issued to a user: keys, certificates and the
// authorities to trust. It holds private keys and prints as REDACTED.
type Identity struct {
	Proxy   string // host name of the proxy, names the key directory
	User    string
	Cluster string // selected cluster, root or leaf; names the SSH certificate
	// SSHKey and TLSKey are nil in an identity from LoadPublic. They may be the
	// same key.
	SSHKey, TLSKey crypto.Signer
	SSHCert        *ssh.Certificate
	TLSCert        *x509.Certificate
	Authorities    []Authority
	// InAgent says that the private key, one for both, is in the ssh-agent alone: SSHKey
	// and TLSKey sign through it.
	InAgent bool
	// Now is the clock by which host certificates and servers are judged; nil
	// means time.Now.
	Now func() time.Time
	// Warnings are what was noticed while loading that the person should mend: lines
	// of known_hosts that mean to revoke a key and cannot be read.
	Warnings []string
	// Exposed are private keys that other users can read, and directories around them
	// that others can write to; see profile.Store.Protect.
	Exposed []string

	origin  string          // where it comes from, for errors; empty if it is stored
	chain   [][]byte        // certificates between TLSCert and its authority, which a server may want to see
	revoked map[string]bool // wire form of keys that known_hosts marks @revoked
}

// Authority is the host authority of one cluster: what signs the host
// certificates of its nodes and the TLS certificates of its servers.
type Authority struct {
	Cluster  string
	SSHKeys  []ssh.PublicKey
	TLSCerts []*x509.Certificate
}

// RootCluster is the cluster that issued the certificates: the issuer's common
// name in the TLS certificate. It is empty without one.
func (id *Identity) RootCluster() string {
	if id.TLSCert == nil {
		return ""
	}
	return id.TLSCert.Issuer.CommonName
}

// Expiry is the time from which the identity is of no use: the earlier one of
// the SSH and the TLS certificate. It is false without certificates.
func (id *Identity) Expiry() (time.Time, bool) {
	var end time.Time
	if id.TLSCert != nil {
		end = id.TLSCert.NotAfter
	}
	if id.SSHCert != nil && id.SSHCert.ValidBefore <= math.MaxInt64 {
		if t := time.Unix(int64(id.SSHCert.ValidBefore), 0); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	return end, !end.IsZero()
}

// TimeError is the answer of CheckTime for certificates that are not valid at
// the time asked about.
type TimeError struct {
	NotYet bool      // the time lies before the validity, otherwise after it
	At     time.Time // when the certificates became or become (in)valid
	Now    time.Time // the time asked about
}

func (e *TimeError) Error() string {
	at := e.At.UTC().Format(time.RFC3339)
	if e.NotYet {
		return fmt.Sprintf("certificate is valid from %s, the clock here is %v behind", at, e.At.Sub(e.Now).Round(time.Second))
	}
	return fmt.Sprintf("certificate expired at %s", at)
}

// Expired reports whether the certificates are over, rather than not valid yet.
func (e *TimeError) Expired() bool { return !e.NotYet }

// CheckTime returns a *TimeError when one of the certificates has expired or is
// not yet valid at the time now.
func (id *Identity) CheckTime(now time.Time) error {
	var start time.Time
	if id.TLSCert != nil {
		start = id.TLSCert.NotBefore
	}
	if id.SSHCert != nil && id.SSHCert.ValidAfter <= math.MaxInt64 {
		if t := time.Unix(int64(id.SSHCert.ValidAfter), 0); t.After(start) {
			start = t
		}
	}
	if now.Before(start) {
		return &TimeError{NotYet: true, At: start, Now: now}
	}
	if end, ok := id.Expiry(); ok && !now.Before(end) {
		return &TimeError{At: end, Now: now}
	}
	return nil
}

func (id *Identity) now() time.Time {
	if id.Now != nil {
		return id.Now()
	}
	return time.Now()
}

const redacted = "REDACTED"

// Format prints REDACTED under every verb.
func (id Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns REDACTED.
func (id Identity) String() string { return redacted }

// LogValue returns REDACTED.
func (id Identity) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns REDACTED: an identity does not travel as JSON either.
func (id Identity) MarshalText() ([]byte, error) { return []byte(redacted), nil }
