package sshagent

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/text"
)

// ErrStale is returned by Put when the new entry is in the agent, but one that it
// replaces may still be there too.
var ErrStale = errors.New("the key is in the ssh-agent, an older one is not removed")

// Entry is a login as an agent gets it. It holds a private key and prints as REDACTED.
type Entry struct {
	Proxy, Cluster, User string

	Key      crypto.Signer // *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey
	Cert     *ssh.Certificate
	Lifetime time.Duration // after which the agent forgets it, cut to whole seconds; at least one
}

const redacted = "REDACTED"

// Format prints REDACTED under every verb.
func (e Entry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns REDACTED.
func (e Entry) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns REDACTED.
func (e Entry) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Put stores a key with its certificate. What the agent has for the same proxy and
// user, in any cluster, is removed once the new entry is in. An agent that does not
// take a lifetime gets no key. An error after which the new entry is in wraps
// ErrStale.
func (a *Agent) Put(e Entry) error {
	before, err := a.Add(e)
	if err != nil {
		return err
	}
	if err := a.Drop(before); err != nil {
		return fmt.Errorf("%w: %w", ErrStale, err)
	}
	return nil
}

// Add is Put without removing anything: it returns what the agent had for the same proxy
// and user before, without the new entry.
func (a *Agent) Add(e Entry) (before []Held, err error) {
	request, err := e.request()
	if err != nil {
		return nil, err
	}
	// The list is taken first: of two logins at the same time each may see the
	// other's entry, and both would be removed.
	all, err := a.List()
	if err != nil {
		return nil, err
	}
	if err := a.do(request); err != nil {
		return nil, a.failed("take a key for a limited time", err)
	}
	blob := e.Cert.Marshal()
	for _, h := range all {
		if is(h.comment, e.Proxy, e.User) && !bytes.Equal(h.Blob, blob) {
			before = append(before, h)
		}
	}
	return before, nil
}

// Drop removes entries that List or Add returned. After one that the agent keeps it goes
// on with the next.
func (a *Agent) Drop(entries []Held) error {
	var keys []*identity
	for _, h := range entries {
		keys = append(keys, &identity{Blob: h.Blob, Comment: h.comment})
	}
	_, err := a.remove(keys, func(*identity) bool { return true })
	return err
}

// request asks an agent to take the entry, which is checked.
func (e Entry) request() ([]byte, error) {
	o := owner{e.Proxy, e.Cluster, e.User}
	if err := o.check(); err != nil {
		return nil, err
	}
	seconds := int64(e.Lifetime / time.Second)
	if seconds < 1 || seconds > math.MaxUint32 {
		return nil, fmt.Errorf("%v is no lifetime for a key in an ssh-agent", e.Lifetime)
	}
	switch key := e.Key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey:
	case ed25519.PrivateKey:
		if len(key) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("an Ed25519 key of %d bytes is none", len(key))
		}
	default:
		return nil, fmt.Errorf("a key of type %T cannot be put into an ssh-agent", e.Key)
	}
	if e.Cert == nil || e.Cert.Key == nil {
		return nil, errors.New("a key without a certificate is not put into an ssh-agent")
	}
	pub, err := ssh.NewPublicKey(e.Key.Public())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(pub.Marshal(), e.Cert.Key.Marshal()) {
		return nil, errors.New("the certificate for the ssh-agent is not of the key that goes with it")
	}
	return addRequest(e.Key, e.Cert, o.comment(), uint32(seconds))
}

// Remove removes the entries of a user of a proxy in every cluster, with user "" those
// of all users of the proxy, with proxy and user "" those of all logins, whichever
// client put them there. After one that the agent keeps it goes on with the next.
// Removed counts what is gone even if there is an error. A locked agent shows no
// entries, so that nothing is removed from it and nothing can be said about it.
func (a *Agent) Remove(proxy, user string) (removed int, err error) {
	if proxy == "" && user != "" {
		return 0, errors.New("whose proxy is not named cannot be removed from the ssh-agent")
	}
	keys, err := a.list()
	if err != nil {
		return 0, err
	}
	return a.remove(keys, func(k *identity) bool {
		if user != "" {
			return is(k.Comment, proxy, user)
		}
		o, ok := whose(k)
		return ok && (proxy == "" || o.proxy == proxy)
	})
}

func (a *Agent) remove(keys []*identity, unwanted func(*identity) bool) (removed int, err error) {
	for _, k := range keys {
		if !unwanted(k) {
			continue
		}
		switch e := a.do(removeRequest(k.Blob)); {
		case e == nil:
			removed++
		case a.frames.err != nil:
			return removed, a.failed("remove a key", e)
		default:
			err = a.failed("remove a key", e)
		}
	}
	return removed, err
}

// whose reads the comment of a key with what its certificate says.
func whose(k *identity) (owner, bool) {
	if o, ok := read(k.Comment, ""); !ok {
		return o, false
	}
	id := ""
	if cert := certificate(k); cert != nil {
		id = cert.KeyId
	}
	return read(k.Comment, id)
}

// certificate is the certificate of a key in the agent, nil if it has none.
func certificate(k *identity) *ssh.Certificate {
	pub, err := ssh.ParsePublicKey(k.Blob)
	if err != nil {
		return nil
	}
	cert, _ := pub.(*ssh.Certificate)
	return cert
}

// Held is an entry of a login that an agent has. Its names are made safe to show.
type Held struct {
	Proxy, Cluster, User string // as far as the comment can be read, see Of

	Blob        []byte    // the certificate or public key in SSH's format
	Certificate bool      // false for a bare key, as other clients add them
	ValidBefore time.Time // end of the certificate; zero if it has none

	comment string
}

// Of reports whether the entry is one of the user of the proxy, in any cluster.
func (h Held) Of(proxy, user string) bool { return is(h.comment, proxy, user) }

// Expired reports whether it is a certificate that has ended.
func (h Held) Expired(now time.Time) bool {
	return !h.ValidBefore.IsZero() && !now.Before(h.ValidBefore)
}

// List returns the entries of all logins, whichever client put them there.
func (a *Agent) List() ([]Held, error) {
	keys, err := a.list()
	if err != nil {
		return nil, err
	}
	var all []Held
	for _, k := range keys {
		o, ok := whose(k)
		if !ok {
			continue
		}
		h := Held{
			Proxy: text.Line(o.proxy), Cluster: text.Line(o.cluster), User: text.Line(o.user),
			Blob: k.Blob, comment: k.Comment,
		}
		if cert := certificate(k); cert != nil {
			h.Certificate = true
			if cert.ValidBefore <= math.MaxInt64 {
				h.ValidBefore = time.Unix(int64(cert.ValidBefore), 0)
			}
		}
		all = append(all, h)
	}
	return all, nil
}
