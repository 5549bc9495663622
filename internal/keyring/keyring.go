// Package keyring keeps keys of 32 bytes in the operating system's keyring, one
// per slot: the Secret Service of Linux and the BSDs, the Keychain of macOS, the
// Credential Manager of Windows. Use System.
//
// What is kept is small on purpose: macOS limits a command and Windows a
// secret, so the keyring holds a key and files hold what it seals.
package keyring

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// Every error of a method is one of these, matched with errors.Is, or says that
// the caller passed a slot or key that is not allowed. No error holds a key.
var (
	// ErrUnavailable is a keyring that is not there or cannot be worked with: no
	// session bus, no service on it, one that went away in mid call or answers
	// with something else than the Secret Service does.
	ErrUnavailable = errors.New("no usable keyring")
	// ErrLocked is a keyring that is locked and stayed so: the prompt for its
	// password was dismissed, or not answered in time.
	ErrLocked = errors.New("the keyring is locked")
	// ErrNoAnswer is a keyring that did not answer in time. What was asked for
	// may still happen.
	ErrNoAnswer = errors.New("the keyring does not answer")
	// ErrMissing is a slot without a key.
	ErrMissing = errors.New("the keyring has no such key")
	// ErrDamaged is a slot that holds something we did not put there.
	ErrDamaged = errors.New("what the keyring holds is not a key of ours")
)

const (
	// service is the name all our entries share; the slot is the account.
	service = "tsh"
	// version begins every value. Another meaning gets another one.
	version = "tsh1:"

	defaultTimeout = 3 * time.Second
	maxSlot        = 128
)

// System is the operating system's keyring. The zero value is ready for use,
// from many goroutines at once.
type System struct {
	Timeout time.Duration // of each call; 0 means 3 seconds
}

// Get returns the key of a slot, KeySize bytes. ErrMissing says that there is
// none, ErrDamaged that there is something else.
func (s System) Get(slot string) (key []byte, err error) {
	if err := CheckSlot(slot); err != nil {
		return nil, err
	}
	value, err := read(s.timeout(), slot)
	if err == nil {
		key, err = decode(value)
	}
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: slot %s", err, slot)
	}
	return key, err
}

// Set puts a key of KeySize bytes into a slot, in place of what is there.
func (s System) Set(slot string, key []byte) error {
	if err := CheckSlot(slot); err != nil {
		return err
	}
	if len(key) != KeySize {
		return fmt.Errorf("a key of %d bytes for the keyring, want %d", len(key), KeySize)
	}
	return write(s.timeout(), slot, encode(key))
}

// Delete empties a slot. One that is empty already is no error.
func (s System) Delete(slot string) error {
	if err := CheckSlot(slot); err != nil {
		return err
	}
	return remove(s.timeout(), slot)
}

func (s System) timeout() time.Duration {
	if s.Timeout <= 0 {
		return defaultTimeout
	}
	return s.Timeout
}

// CheckSlot accepts 1 to 128 bytes of a-z, 0-9, dot and hyphen. On macOS a slot
// becomes a word in a command line of its own protocol, where a quote or a new
// line would be a command.
func CheckSlot(slot string) error {
	if slot == "" || len(slot) > maxSlot {
		return fmt.Errorf("the name of a slot in the keyring has 1 to %d bytes, not %d", maxSlot, len(slot))
	}
	for _, c := range []byte(slot) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return fmt.Errorf("the name of a slot in the keyring has a-z, 0-9, dot and hyphen, not %q", c)
		}
	}
	return nil
}

func encode(key []byte) string { return version + base64.StdEncoding.EncodeToString(key) }

// decode takes exactly what encode makes: the decoder alone would overlook line
// ends and stray bits.
func decode(value string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, version))
	if err != nil || len(key) != KeySize || encode(key) != value {
		return nil, ErrDamaged
	}
	return key, nil
}
