package doctor

import (
	"bytes"
	"errors"
	"sync"

	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// probeSlot is a slot that nobody uses: a keyring that says so can be reached.
const probeSlot = "doctor"

// keyring looks at the system's keyring if a profile keeps its keys there.
func (e *exam) keyring() {
	sealed, wanted := false, false
	for _, l := range e.logins {
		sealed = sealed || len(l.sealed) > 0
	}
	for _, p := range e.profiles {
		k, err := e.store.Keystore(p.Name, p.User)
		wanted = wanted || err != nil || k == profile.KeysInKeyring || k == profile.KeysInKeyringOrFiles
	}
	if !sealed && !wanted {
		return
	}
	if !e.ring.wasAsked() {
		_, _ = e.ring.Get(probeSlot) // what it says is kept
	}
	f := Finding{Check: checkKeyring, Status: Problem, Subject: "keyring"}
	switch err := e.ring.failure(); {
	case err == nil:
		e.ok(checkKeyring, f.Subject, "can be used")
		return
	case errors.Is(err, keyring.ErrLocked):
		f.Status, f.Message, f.Hint = Warning, err.Error(), "unlock it, with the password of your desktop"
	default:
		f.Message = err.Error()
		f.Hint = "start it, or keep the keys elsewhere: tsh login --force --keystore=file"
	}
	if !sealed {
		f.Status = Warning // the next login will need it
	} else {
		f.Message += "; whether sealed keys can be used is not known"
	}
	e.add(f)
}

// ring is a keyring that is asked once for each slot, and no more once it has failed:
// each failure takes seconds.
type ring struct {
	of keystore.Keyring

	mu     sync.Mutex
	keys   map[string][]byte
	asked  bool
	failed error
}

// Get implements keystore.Keyring.
func (r *ring) Get(slot string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return nil, r.failed
	}
	if key := r.keys[slot]; key != nil {
		return bytes.Clone(key), nil
	}
	r.asked = true
	key, err := r.of.Get(slot)
	switch {
	case err == nil:
		if r.keys == nil {
			r.keys = map[string][]byte{}
		}
		r.keys[slot] = bytes.Clone(key)
	case !errors.Is(err, keyring.ErrMissing) && !errors.Is(err, keyring.ErrDamaged) && keyring.CheckSlot(slot) == nil:
		r.failed = err
	}
	return key, err
}

// Set implements keystore.Keyring.
func (r *ring) Set(slot string, key []byte) error { return r.of.Set(slot, key) }

// Delete implements keystore.Keyring.
func (r *ring) Delete(slot string) error { return r.of.Delete(slot) }

func (r *ring) wasAsked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *ring) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// forget overwrites the keys.
func (r *ring) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range r.keys {
		clear(key)
	}
	r.keys = nil
}
