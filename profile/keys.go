package profile

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

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
	// A slot that is in no login after this time is of a login that was killed.
	slotPatience = 10 * time.Minute
)

// keysState is what we remember about private keys, beside the files.
type keysState struct {
	Profiles map[string]Keystore `json:"profiles,omitempty"` // by name; files are not listed
	Slots    []slot              `json:"slots,omitempty"`
}

// slot is a slot in the keyring that may be occupied. It is noted before it is, and
// forgotten after it is free again, so that none is lost in a crash.
type slot struct {
	Slot  string `json:"slot"`
	Proxy string `json:"proxy"`
	User  string `json:"user"`
	Made  int64  `json:"made"` // Unix time
	Used  bool   `json:"used"` // a login was stored with it
}

func (k *keysState) of(proxy, user string) (slots []slot) {
	for _, s := range k.Slots {
		if s.Proxy == proxy && s.User == user {
			slots = append(slots, s)
		}
	}
	return slots
}

func (k *keysState) forget(names []string) {
	k.Slots = slices.DeleteFunc(k.Slots, func(s slot) bool { return slices.Contains(names, s.Slot) })
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
// fail: slots that nobody remembers are only litter. One that the operating system
// refuses to read now is not to be written anew.
func (s *Store) loadKeys() (*keysState, error) {
	state := &keysState{}
	err := durable.PlainDirs(s.home, "config/tsh")
	if err == nil {
		var data []byte
		if data, err = durable.Look(s.home).ReadFile(keysFile, maxKeys); err == nil {
			err = json.Unmarshal(data, state)
		}
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return state, nil
	case isErrno(err):
		return nil, err
	}
	slog.Debug("file is not used", "path", keysFile, "error", err)
	return &keysState{}, nil
}

func (s *Store) stageKeys(tx *durable.Tx, state *keysState) {
	data, err := json.MarshalIndent(state, "", " ")
	if err != nil || len(data) > maxKeys {
		return
	}
	data = append(data, '\n')
	old, err := durable.ReadFile(s.abs(keysFile), maxKeys)
	if err == nil && bytes.Equal(old, data) || err != nil && len(state.Profiles)+len(state.Slots) == 0 {
		return
	}
	tx.Write(keysFile, data, fileMode)
}

// Keystore returns where the private keys of the profile name are kept.
func (s *Store) Keystore(name string) Keystore { return s.readKeys().where(name) }

func (k *keysState) where(profile string) Keystore {
	if where := k.Profiles[profile]; where != "" {
		return where
	}
	return KeysInFiles
}

// prepareKeys decides where the private keys go. A new key to seal them with is put
// into the keyring now: later would be under the lock, and earlier than the files
// that need it is no harm.
func (s *Store) prepareKeys(ctx context.Context, v *saving) error {
	if v.id == nil {
		return nil
	}
	v.keep = v.profile.Keystore
	if v.keep == "" {
		state, err := s.loadKeys()
		if err != nil {
			return err
		}
		v.keep = state.where(v.profile.Host())
	}
	if v.id.InAgent {
		v.keep = KeysInAgent
	}
	if v.keep != KeysInKeyring && v.keep != KeysInKeyringOrFiles {
		return nil
	}
	// A login that keeps its keys keeps what they are sealed with.
	if slot, ok := (keystore.Dir{Home: s.home}).SealedSlot(v.id); ok && s.knows(slot) {
		v.seal = &keystore.Seal{Slot: slot}
		return nil
	}
	seal, err := s.newSeal(ctx, v.id.Proxy, v.id.User)
	var refused *keystore.KeyringError
	if v.keep == KeysInKeyringOrFiles && errors.As(err, &refused) {
		s.notice("the keyring cannot be used (%v); private keys are stored in files that only you can read", refused.Err)
		return nil
	}
	v.seal = seal
	return err
}

func (s *Store) knows(name string) bool {
	return slices.ContainsFunc(s.readKeys().Slots, func(k slot) bool { return k.Slot == name && k.Used })
}

// newSeal puts a new key into a new slot of the keyring.
func (s *Store) newSeal(ctx context.Context, proxy, user string) (*keystore.Seal, error) {
	seal := &keystore.Seal{Slot: s.slotName(proxy, user), Key: make([]byte, keystore.SealKeySize)}
	_, _ = rand.Read(seal.Key) // never fails
	err := s.change(ctx, func(tx *durable.Tx) error {
		state, err := s.loadKeys()
		if err != nil {
			return err
		}
		state.Slots = append(state.Slots, slot{seal.Slot, proxy, user, time.Now().Unix(), false})
		s.stageKeys(tx, state)
		return nil
	})
	var unfinished *durable.UnfinishedError // the login may go better, and finishes it
	if err != nil && !errors.As(err, &unfinished) {
		return nil, err
	}
	if err := s.ring.Set(seal.Slot, seal.Key); err != nil {
		s.dropSlots(ctx, []string{seal.Slot})
		return nil, &keystore.KeyringError{Err: err}
	}
	return seal, nil
}

// slotName is new each time. Its first part keeps directories, proxies and users
// apart for whoever looks into the keyring.
func (s *Store) slotName(proxy, user string) string {
	sum := sha256.Sum256([]byte(s.home + "\x00" + proxy + "\x00" + user))
	return hex.EncodeToString(sum[:12]) + "." + strings.ToLower(rand.Text()[:12])
}

// errSlotGone: another process has cleared the slot away, or replaced the login it
// belonged to, since it was chosen.
var errSlotGone = errors.New("another login was stored at the same time")

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
	if v.seal != nil {
		i := slices.IndexFunc(state.Slots, func(k slot) bool { return k.Slot == v.seal.Slot })
		if i < 0 {
			return errSlotGone
		}
		state.Slots[i].Used = true
	}
	s.stageKeys(tx, state)
	return nil
}

// settleKeys frees the slots that no login needs: after a login that was stored
// those before it, after one that was not its own.
func (s *Store) settleKeys(ctx context.Context, v *saving, result error) error {
	var unfinished *durable.UnfinishedError
	if result != nil && !errors.As(result, &unfinished) {
		if v.seal != nil && v.seal.Key != nil {
			s.dropSlots(ctx, []string{v.seal.Slot})
		}
		return result
	}
	s.dropSlots(ctx, s.unusedSlots(v.id.Proxy, v.id.User))
	return result
}

// unusedSlots are those of logins that were replaced, and of logins that were killed.
func (s *Store) unusedSlots(proxy, user string) (names []string) {
	all := s.readKeys().of(proxy, user)
	if len(all) == 0 || !s.keysReadable(Login{proxy, user}) {
		return nil
	}
	needed, err := keystore.Dir{Home: s.home}.SealedSlots(proxy, user)
	if err != nil {
		return nil // one of them may be needed
	}
	for _, k := range all {
		stale := k.Used || time.Since(time.Unix(k.Made, 0)) > slotPatience
		if stale && !slices.Contains(needed, k.Slot) {
			names = append(names, k.Slot)
		}
	}
	return names
}

// dropSlots frees slots and forgets those that are free. What is left is tried again
// by the next login and by a logout.
func (s *Store) dropSlots(ctx context.Context, names []string) (left []string) {
	var free []string
	for _, name := range names {
		if err := s.ring.Delete(name); err != nil {
			s.notice("the keyring entry %s could not be removed: %v", name, err)
			left = append(left, name)
			continue
		}
		free = append(free, name)
	}
	if len(free) == 0 {
		return left
	}
	err := s.change(ctx, func(tx *durable.Tx) error {
		state, err := s.loadKeys()
		if err != nil {
			return err
		}
		state.forget(free)
		s.stageKeys(tx, state)
		return nil
	})
	if err != nil {
		slog.Debug("free keyring slots are remembered for longer", "error", err)
	}
	return left
}

// MigrateKeys moves the private keys of the login of p to files or to the keyring;
// the login stays the same. A login whose key is in an ssh-agent cannot be moved.
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
	moved.Proven = "" // nothing else changes
	return s.Save(ctx, &moved, id)
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
