package keystore

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/seed-087d674e/tsh/internal/keyring"
)

// Keyring is where the keys are that open sealed private keys: the operating
// system's, or another one in tests. A slot holds SealKeySize bytes.
type Keyring interface {
	Get(slot string) ([]byte, error)
	Set(slot string, key []byte) error
	Delete(slot string) error // a missing slot is no error
}

// SealKeySize is the size of a key that seals, for AES-256, in bytes.
const SealKeySize = keyring.KeySize

// ErrNoSealKey is returned by Stage for a Seal without a usable key where a private key
// has to be sealed anew.
var ErrNoSealKey = errors.New("there is no key to seal private keys with")

// Seal is how private keys are stored: sealed with Key, which is kept in the slot
// of a keyring.
type Seal struct {
	Slot string
	Key  []byte
}

// KeyringError is returned when private keys are sealed, or are to be, and the operating
// system's keyring does not give or take the key for it now. Later it may.
type KeyringError struct{ Err error }

func (e *KeyringError) Error() string {
	return "private keys need the system's keyring: " + e.Err.Error()
}

// Unwrap returns what the keyring said.
func (e *KeyringError) Unwrap() error { return e.Err }

// A sealed private key is a PEM block of a type of our own in the usual file, so
// that other clients say that they do not know it. Its headers are public; the
// content is a nonce and what AES-256-GCM (NIST SP 800-38D) makes of the file as it
// would be otherwise. All that the headers and the file's name say is authenticated
// with it.
const (
	pemSealed     = "TSH SEALED PRIVATE KEY"
	headerVersion = "Version"
	headerSlot    = "Slot"
	headerPublic  = "Public" // PKIX, base64
	sealVersion   = "1"
)

func sealed(block *pem.Block) bool { return block != nil && block.Type == pemSealed }

// sealKey returns the content of the file that holds plain, the private key of pub.
func (p *paths) sealKey(s *Seal, suffix string, pub crypto.PublicKey, plain []byte) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	aead, err := newSealer(s.Key)
	if err != nil {
		return nil, err
	}
	block := &pem.Block{Type: pemSealed, Headers: map[string]string{
		headerVersion: sealVersion,
		headerSlot:    s.Slot,
		headerPublic:  base64.StdEncoding.EncodeToString(der),
	}}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	block.Bytes = aead.Seal(nonce, nonce, plain, p.sealedWith(block, suffix))
	return pem.EncodeToMemory(block), nil
}

// openKey returns the content that sealKey was given.
func (p *paths) openKey(block *pem.Block, suffix string) ([]byte, error) {
	if v := block.Headers[headerVersion]; v != sealVersion {
		return nil, &KeyError{Kind: KeyUnknown, Type: fmt.Sprintf("%s version %.16s", pemSealed, v)}
	}
	key, err := p.sealKeyOf(block.Headers[headerSlot])
	if err != nil {
		return nil, err
	}
	aead, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	n := aead.NonceSize()
	if len(block.Bytes) < n {
		return nil, errors.New("is sealed and too short")
	}
	plain, err := aead.Open(nil, block.Bytes[:n], block.Bytes[n:], p.sealedWith(block, suffix))
	if err != nil {
		return nil, errors.New("is sealed with another key than the keyring holds, or was changed")
	}
	return plain, nil
}

// sealKeyOf asks the keyring, once for the keys of one identity.
func (p *paths) sealKeyOf(slot string) ([]byte, error) {
	if p.sealKeys[slot] != nil {
		return p.sealKeys[slot], nil
	}
	ring := p.keyring
	if ring == nil {
		ring = keyring.System{}
	}
	key, err := ring.Get(slot)
	switch {
	case errors.Is(err, keyring.ErrMissing), errors.Is(err, keyring.ErrDamaged):
		return nil, fmt.Errorf("is sealed, and %w", err)
	case err != nil:
		return nil, &KeyringError{err}
	}
	if p.sealKeys == nil {
		p.sealKeys = map[string][]byte{}
	}
	p.sealKeys[slot] = key
	return key, nil
}

// forgetSealKeys overwrites what the keyring has said.
func (p *paths) forgetSealKeys() {
	for _, key := range p.sealKeys {
		clear(key)
	}
	p.sealKeys = nil
}

func (p *paths) sealedWith(block *pem.Block, suffix string) []byte {
	return []byte(strings.Join([]string{
		pemSealed, block.Headers[headerVersion], block.Headers[headerSlot], block.Headers[headerPublic], p.proxy, p.user, suffix,
	}, "\x00"))
}

func newSealer(key []byte) (cipher.AEAD, error) {
	if len(key) != SealKeySize {
		return nil, fmt.Errorf("%w: %d bytes, not %d", ErrNoSealKey, len(key), SealKeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealedPublic is the public key that a sealed file says to belong to: enough to
// see whether a login changes it.
func sealedPublic(block *pem.Block) crypto.PublicKey {
	der, err := base64.StdEncoding.DecodeString(block.Headers[headerPublic])
	if err != nil {
		return nil
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil
	}
	return pub
}

// SealedSlots returns the slots that the private keys of a user at a proxy are
// sealed with; none when they are not sealed or there are no keys. An error says that
// the operating system refused to read them now.
func (d Dir) SealedSlots(proxy, user string) ([]string, error) {
	if !isElement(proxy) || !isElement(user) {
		return nil, fmt.Errorf("user %q at proxy %q cannot be a file name", user, proxy)
	}
	p := barePaths(d.Home, proxy, user, "")
	var slots []string
	for _, suffix := range []string{"", tlsKeySuffix} {
		data, err := p.readKey(suffix)
		var refused syscall.Errno
		if errors.As(err, &refused) {
			return nil, err
		}
		if err != nil {
			continue
		}
		if block, _ := pem.Decode(data); sealed(block) && (len(slots) == 0 || slots[0] != block.Headers[headerSlot]) {
			slots = append(slots, block.Headers[headerSlot])
		}
		clear(data)
	}
	return slots, nil
}

// SealedSlot returns the slot with which the stored private keys are sealed, if they
// are those of id.
func (d Dir) SealedSlot(id *Identity) (slot string, ok bool) {
	p := barePaths(d.Home, id.Proxy, id.User, "")
	for suffix, key := range map[string]crypto.Signer{"": id.SSHKey, tlsKeySuffix: id.TLSKey} {
		data, err := p.readKey(suffix)
		if err != nil || key == nil {
			return "", false
		}
		block, _ := pem.Decode(data)
		if !sealed(block) || !samePublic(sealedPublic(block), key.Public()) || slot != "" && slot != block.Headers[headerSlot] {
			return "", false
		}
		slot = block.Headers[headerSlot]
	}
	return slot, true
}
