package profile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// Keystore says where the private keys of a login are kept.
type Keystore string

// The places where private keys are kept. The empty one is where those of the last
// login to the same proxy were, and files if there was none.
const (
	KeysInFiles          Keystore = "file"         // files that only the person can read
	KeysInKeyring        Keystore = "keyring"      // files, sealed with a key in the system's keyring
	KeysInKeyringOrFiles Keystore = "keyring,file" // KeysInKeyring, or KeysInFiles where that fails
	KeysInAgent          Keystore = "agent"        // the ssh-agent; nothing on the disk
)

const (
	keysFile = "config/tsh/keys.json" // ours; other clients leave config alone
	maxKeys  = 256 << 10
)

// keysState is what we remember about private keys, beside the files.
type keysState struct {
	Profiles map[string]Keystore `json:"profiles,omitempty"` // by name; files are not listed
	Slots    []slot              `json:"slots,omitempty"`
}

// readKeys is loadKeys for looking: what cannot be read is not remembered.
func (s *Store) readKeys() *keysState {
	state, err := s.loadKeys()
	if err != nil {
		slog.Debug("file is not used", "path", keysFile, "error", err)
		return &keysState{}
	}
	return state
}

// loadKeys returns what is remembered. A file with something else in it is no reason to
// fail: what matters is in the files of the logins, too. One that the operating system
// refuses to read now is not to be written anew.
func (s *Store) loadKeys() (*keysState, error) {
	state := &keysState{}
	if err := durable.PlainDirs(s.home, "config/tsh"); isErrno(err) {
		return nil, err
	} else if err != nil {
		return state, nil
	}
	data, err := durable.Look(s.home).ReadFile(keysFile, maxKeys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return state, nil
	case isErrno(err):
		return nil, err
	case err == nil:
		err = json.Unmarshal(data, state)
	}
	if err != nil {
		slog.Debug("file is not used", "path", keysFile, "error", err)
		return &keysState{}, nil
	}
	return state, nil
}

func (s *Store) stageKeys(tx *durable.Tx, state *keysState) error {
	data, err := json.MarshalIndent(state, "", " ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if len(data) > maxKeys {
		return fmt.Errorf("%s would have more than %d bytes; tsh doctor --fix clears away old keyring entries", s.abs(keysFile), maxKeys)
	}
	old, err := durable.ReadFile(s.abs(keysFile), maxKeys)
	if err == nil && bytes.Equal(old, data) || err != nil && len(state.Profiles)+len(state.Slots) == 0 {
		return nil
	}
	tx.Write(keysFile, data, fileMode)
	return nil
}

// changeKeys changes what is remembered, as a change of its own.
func (s *Store) changeKeys(ctx context.Context, edit func(*keysState)) error {
	return s.change(ctx, func(tx *durable.Tx) error {
		state, err := s.loadKeys()
		if err != nil {
			return err
		}
		edit(state)
		return s.stageKeys(tx, state)
	})
}

// Keystore returns where the private keys of a login of user through the profile name
// go: where they went last time, or where those that are stored are. A place that this
// version does not know is an error.
func (s *Store) Keystore(name, user string) (Keystore, error) {
	state, err := s.loadKeys()
	if err != nil {
		return "", err
	}
	switch where := state.Profiles[name]; where {
	case KeysInKeyring, KeysInKeyringOrFiles, KeysInAgent, KeysInFiles:
		return where, nil
	case "":
		return s.foundKeys(name, user)
	default:
		return "", fmt.Errorf("private keys of profile %s are kept in %q, which this version does not know; choose with --keystore", name, where)
	}
}

// foundKeys sees where keys are when nothing is remembered: it may have been lost, and
// keys that are sealed do not become open ones in silence.
func (s *Store) foundKeys(name, user string) (Keystore, error) {
	if user == "" {
		return KeysInFiles, nil
	}
	dir := keystore.Dir{Home: s.home}
	slots, err := dir.SealedSlots(name, user)
	if err != nil {
		return "", err
	}
	if len(slots) > 0 {
		return KeysInKeyring, nil
	}
	if info, err := durable.Look(s.home).Stat("keys/" + name + "/" + user); err == nil && info.Size() > 0 {
		return KeysInFiles, nil
	}
	if p, err := s.Load(name); err == nil && p.User == user {
		if id, err := s.IdentityPublic(p); err == nil && id.InAgent {
			return KeysInAgent, nil
		}
	}
	return KeysInFiles, nil
}

// chooseKeys decides where the private keys go. A new key to seal them with is put
// into the keyring now: later would be under the lock, and earlier than the files
// that need it is no harm.
func (s *Store) chooseKeys(ctx context.Context, v *saving) (err error) {
	if v.id == nil {
		return nil
	}
	if v.keep = v.profile.Keystore; v.keep == "" {
		if v.keep, err = s.Keystore(v.profile.Host(), v.id.User); err != nil {
			return err
		}
	}
	switch {
	case v.id.InAgent:
		v.keep = KeysInAgent
		return nil
	case v.keep == KeysInAgent:
		return fmt.Errorf("the private key of %s at %s belongs into the ssh-agent and is not there", v.id.User, v.id.Proxy)
	case v.keep != KeysInKeyring && v.keep != KeysInKeyringOrFiles:
		return nil
	}
	// A login that keeps its keys keeps what they are sealed with.
	if slot, ok := (keystore.Dir{Home: s.home}).SealedSlot(v.id); ok && v.seal == nil {
		v.seal = &keystore.Seal{Slot: slot}
		return nil
	}
	v.seal, err = s.newSeal(ctx, v.login())
	var refused *keystore.KeyringError
	if v.keep == KeysInKeyringOrFiles && errors.As(err, &refused) {
		s.notice("the keyring cannot be used (%v); private keys are stored in files that only you can read", refused.Err)
		return nil
	}
	return err
}

// stageKeystore notes where the keys are.
func (s *Store) stageKeystore(tx *durable.Tx, v *saving) error {
	name := v.profile.Host()
	state, err := s.loadKeys()
	if err != nil {
		return err
	}
	if v.keep == KeysInFiles {
		delete(state.Profiles, name)
	} else {
		if state.Profiles == nil {
			state.Profiles = map[string]Keystore{}
		}
		state.Profiles[name] = v.keep
	}
	sealedNow, err := keystore.Dir{Home: s.home}.SealedSlots(v.id.Proxy, v.id.User)
	if err != nil {
		return err
	}
	if err := v.stageSlots(state, sealedNow); err != nil {
		return err
	}
	return s.stageKeys(tx, state)
}

// MigrateKeys moves the private keys of the login of p to files or to the keyring and
// changes nothing else. A login whose key is in an ssh-agent cannot be moved, and one
// that is replaced meanwhile is not.
func (s *Store) MigrateKeys(ctx context.Context, p *Profile, to Keystore) error {
	id, err := s.Identity(p)
	if err != nil {
		return err
	}
	if id.InAgent {
		return fmt.Errorf("the private key of %s at %s is in the ssh-agent, which gives no key away; log in again with --keystore=%s", p.User, p.Name, to)
	}
	moved := *p
	moved.Keystore = to
	return s.save(ctx, &saving{profile: &moved, id: id, keysOnly: true})
}

// checkStill makes sure that the login whose keys are being moved is the stored one.
func (s *Store) checkStill(v *saving) error {
	now, err := s.IdentityPublic(v.profile)
	if err != nil {
		return err
	}
	if !now.TLSCert.Equal(v.id.TLSCert) || !bytes.Equal(now.SSHCert.Marshal(), v.id.SSHCert.Marshal()) {
		return fmt.Errorf("%s has logged in to %s anew meanwhile; try again", v.id.User, v.id.Proxy)
	}
	return nil
}

// askedOnce is a keyring that is asked once for a slot: some systems ask the person
// each time.
type askedOnce struct {
	ring keystore.Keyring

	mu   sync.Mutex
	slot string
	key  []byte
}

// Get implements keystore.Keyring.
func (a *askedOnce) Get(slot string) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.key != nil && a.slot == slot {
		return bytes.Clone(a.key), nil
	}
	key, err := a.ring.Get(slot)
	if err == nil {
		a.slot, a.key = slot, bytes.Clone(key)
	}
	return key, err
}

// Set implements keystore.Keyring.
func (a *askedOnce) Set(slot string, key []byte) error {
	err := a.ring.Set(slot, key)
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.slot, a.key = slot, bytes.Clone(key)
	}
	return err
}

// Delete implements keystore.Keyring.
func (a *askedOnce) Delete(slot string) error {
	a.mu.Lock()
	if a.slot == slot {
		clear(a.key)
		a.slot, a.key = "", nil
	}
	a.mu.Unlock()
	return a.ring.Delete(slot)
}
