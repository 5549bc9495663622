package profile

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/keystore"
)

// A slot of the keyring is noted before it is occupied, marked as used by the change
// that stores the login, marked as going by the change after which no login needs it,
// and forgotten when it is empty. A process may be killed, and another one at work,
// between any two of these.

// slotPatience is after what time a slot that is in no login is of one that was killed.
const slotPatience = 10 * time.Minute

// slot is a slot in the keyring that may be occupied.
type slot struct {
	_     [0]func() // never compared
	Slot  string    `json:"slot"`
	Proxy string    `json:"proxy"`
	User  string    `json:"user"`
	Made  int64     `json:"made"`            // Unix time
	Used  bool      `json:"used"`            // a login was stored with it
	Going bool      `json:"going,omitempty"` // no login is stored with it any more
}

func (k *slot) stale() bool { return k.Used || time.Since(time.Unix(k.Made, 0)) > slotPatience }

func (k *keysState) of(l Login) (slots []*slot) {
	for i := range k.Slots {
		if s := &k.Slots[i]; s.Proxy == l.Proxy && s.User == l.User {
			slots = append(slots, s)
		}
	}
	return slots
}

// going returns those that are on their way out.
func (k *keysState) going(l Login) (names []string) {
	for _, s := range k.of(l) {
		if s.Going {
			names = append(names, s.Slot)
		}
	}
	return names
}

func (k *keysState) forget(names []string) {
	var others []slot
	for _, s := range k.Slots {
		if !slices.Contains(names, s.Slot) {
			others = append(others, s)
		}
	}
	k.Slots = others
}

// find is what is known of the slot of that name, nil for nothing.
func (k *keysState) find(name string) *slot {
	for i := range k.Slots {
		if k.Slots[i].Slot == name {
			return &k.Slots[i]
		}
	}
	return nil
}

// slotName is new each time. Its first part keeps directories, proxies and users
// apart.
func (s *Store) slotName(l Login) string {
	return s.slotPrefix(l) + strings.ToLower(rand.Text()[:12])
}

func (s *Store) slotPrefix(l Login) string {
	sum := sha256.Sum256([]byte(s.home + "\x00" + l.Proxy + "\x00" + l.User))
	return hex.EncodeToString(sum[:12]) + "."
}

// newSeal puts a new key into a new slot of the keyring.
func (s *Store) newSeal(ctx context.Context, l Login) (*keystore.Seal, error) {
	seal := &keystore.Seal{Slot: s.slotName(l), Key: make([]byte, keyring.KeySize)}
	_, _ = rand.Read(seal.Key) // never fails
	err := s.changeKeys(ctx, func(state *keysState) {
		state.Slots = append(state.Slots, slot{Slot: seal.Slot, Proxy: l.Proxy, User: l.User, Made: time.Now().Unix()})
	})
	var unfinished *durable.UnfinishedError // the login may go better, and finishes it
	if err != nil && !errors.As(err, &unfinished) {
		return nil, err
	}
	if err := s.ring.Set(seal.Slot, seal.Key); err != nil {
		if !errors.Is(err, keyring.ErrNoAnswer) { // then it may still happen
			s.forgetSlots(ctx, []string{seal.Slot})
		}
		return nil, &keystore.KeyringError{Err: err}
	}
	return seal, nil
}

// errSlotGone: another process has marked the slot, or replaced the login it belonged
// to, since it was chosen.
var errSlotGone = errors.New("another login was stored at the same time")

// stageSlots marks the slot of a login that is being stored as used, and all others of
// the same user as going.
func (v *saving) stageSlots(state *keysState, sealedNow []string) error {
	l, keep := v.login(), ""
	v.replaced = nil
	if v.seal != nil {
		keep = v.seal.Slot
	}
	found := keep == ""
	for _, k := range state.of(l) {
		switch {
		case k.Slot == keep && !k.Going:
			k.Used, found = true, true
		case k.Slot != keep && k.stale() && !k.Going:
			k.Going = true
			if k.Used {
				v.replaced = append(v.replaced, k.Slot)
			}
		}
	}
	if !found {
		return errSlotGone
	}
	// Of a login of which nothing was remembered, the slot is in its files.
	for _, name := range sealedNow {
		if name != keep && state.find(name) == nil {
			state.Slots = append(state.Slots, slot{Slot: name, Proxy: l.Proxy, User: l.User, Used: true, Going: true})
			v.replaced = append(v.replaced, name)
		}
	}
	return nil
}

// settleKeys frees the slots that a login has left behind: after one that was stored
// the one before it, after one that was not its own.
func (s *Store) settleKeys(ctx context.Context, v *saving, result error) error {
	var unfinished *durable.UnfinishedError
	var names []string
	switch {
	case result == nil || errors.As(result, &unfinished):
		names = v.replaced
		// Of what killed logins have left one is cleared away each time.
		for _, name := range s.readKeys().going(v.login()) {
			if !slices.Contains(v.replaced, name) {
				names = append(names, name)
				break
			}
		}
	case v.seal != nil && v.seal.Key != nil:
		names = []string{v.seal.Slot}
	}
	if _, err := s.emptySlots(ctx, names); err != nil {
		s.notice("an old entry is left in the keyring (%v); tsh doctor --fix removes it", err)
	}
	return result
}

// emptySlots has the keyring let go of slots, and forgets those that are empty. Slots of
// other directories, of which this one is a copy, are only forgotten. It stops at the
// first one that the keyring keeps: the next ones would take as long.
func (s *Store) emptySlots(ctx context.Context, names []string) (left []string, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	state := s.readKeys()
	for i, name := range names {
		k := state.find(name)
		if k != nil && !strings.HasPrefix(name, s.slotPrefix(Login{k.Proxy, k.User})) {
			continue
		}
		if err = s.ring.Delete(name); err != nil {
			left = names[i:]
			names = names[:i]
			break
		}
	}
	s.forgetSlots(ctx, names)
	return left, err
}

func (s *Store) forgetSlots(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	if err := s.changeKeys(ctx, func(state *keysState) { state.forget(names) }); err != nil {
		slog.Debug("empty keyring slots are remembered for longer", "error", err)
	}
}

// leaveSlots empties the slots of a login that has just been removed, but not those of
// one that was stored since.
func (s *Store) leaveSlots(ctx context.Context, l Login, sealedBefore []string) (left []string, err error) {
	var names []string
	mark := func(state *keysState) {
		needed, err := keystore.Dir{Home: s.home}.SealedSlots(l.Proxy, l.User)
		if err != nil {
			return
		}
		for _, k := range state.of(l) {
			if !slices.Contains(needed, k.Slot) {
				k.Going = true
				names = append(names, k.Slot)
			}
		}
		for _, name := range sealedBefore {
			ours := strings.HasPrefix(name, s.slotPrefix(l))
			if ours && !slices.Contains(needed, name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(sealedBefore)+len(s.readKeys().of(l)) == 0 {
		return nil, nil
	}
	if err := s.changeKeys(ctx, mark); err != nil {
		return sealedBefore, err
	}
	return s.emptySlots(ctx, names)
}

// OrphanSlots returns the slots in the keyring that no login needs any more: of logins
// that were replaced or killed. It does not ask the keyring. While the key files of a
// login cannot be read, or their directory is missing, its slots are none.
func (s *Store) OrphanSlots() []string { return s.orphans(s.readKeys()) }

func (s *Store) orphans(state *keysState) (names []string) {
	for i := range state.Slots {
		k := &state.Slots[i]
		l := Login{k.Proxy, k.User}
		if !k.Going && !k.stale() || !s.keysReadable(l) {
			continue
		}
		needed, err := keystore.Dir{Home: s.home}.SealedSlots(l.Proxy, l.User)
		if err == nil && !slices.Contains(needed, k.Slot) {
			names = append(names, k.Slot)
		}
	}
	return names
}

// FreeSlots empties those of the slots that are still in OrphanSlots, and returns those
// that could not be.
func (s *Store) FreeSlots(ctx context.Context, names []string) (left []string) {
	var free []string
	err := s.changeKeys(ctx, func(state *keysState) {
		free = nil
		for _, name := range s.orphans(state) {
			if slices.Contains(names, name) {
				free = append(free, name)
			}
		}
		for i := range state.Slots {
			if slices.Contains(free, state.Slots[i].Slot) {
				state.Slots[i].Going = true
			}
		}
	})
	if err != nil {
		return names
	}
	left, _ = s.emptySlots(ctx, free)
	return left
}

// keysReadable reports whether it can be seen what the private keys of a login are
// sealed with, or that there are none in a directory that is there.
func (s *Store) keysReadable(l Login) bool {
	if keystore.CheckName("proxy", l.Proxy) != nil || keystore.CheckName("user", l.User) != nil {
		return false
	}
	view := durable.Look(s.home)
	if durable.PlainDirs(s.home, "keys/"+l.Proxy) != nil {
		return false
	}
	if _, err := view.Stat("keys/" + l.Proxy); err != nil {
		return false
	}
	for _, suffix := range []string{"", ".key"} {
		data, _, err := view.ReadPrivate("keys/"+l.Proxy+"/"+l.User+suffix, maxKeyFile)
		clear(data)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// maxKeyFile is the largest file that can be a private key.
const maxKeyFile = 64 << 10
