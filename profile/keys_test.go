package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

// countingRing is a keyring in memory that counts what it is asked.
type countingRing struct {
	mu                 sync.Mutex
	slots              map[string][]byte
	gets, sets, drops  int
	refuseSet, refused error
}

func newRing() *countingRing { return &countingRing{slots: map[string][]byte{}} }

func (r *countingRing) Get(slot string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gets++
	if key, ok := r.slots[slot]; ok {
		return bytes.Clone(key), r.refused
	}
	return nil, keyring.ErrMissing
}

func (r *countingRing) Set(slot string, key []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sets++
	if r.refuseSet != nil {
		return r.refuseSet
	}
	if err := keyring.CheckSlot(slot); err != nil || len(key) != keyring.KeySize {
		return errors.New("not for a keyring")
	}
	r.slots[slot] = bytes.Clone(key)
	return nil
}

func (r *countingRing) Delete(slot string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drops++
	if r.refused != nil {
		return r.refused
	}
	delete(r.slots, slot)
	return nil
}

// counted returns the calls since the last time.
func (r *countingRing) counted() [3]int {
	c := [3]int{r.gets, r.sets, r.drops}
	r.gets, r.sets, r.drops = 0, 0, 0
	return c
}

func TestLoginKeptInTheKeyring(t *testing.T) {
	home, ring := filepath.Join(t.TempDir(), "home"), newRing()
	p, id := login(t, "gate", "alice", "harbor")
	p.Keystore = KeysInKeyring
	if err := OpenWith(home, ring).Commit(t.Context(), p, id); err != nil || ring.counted() != [3]int{0, 1, 0} {
		t.Fatalf("the first login: %v, %v", err, ring)
	}
	// A command asks once, however often it needs the keys.
	s := OpenWith(home, ring)
	for range 3 {
		if _, err := s.Identity(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.IdentityPublic(p); err != nil || ring.counted() != [3]int{1, 0, 0} {
		t.Errorf("reading: %v, %v", err, ring)
	}
	// case K04: the next login, which need not say where, writes a new slot, and
	// deletes the old one after.
	again, second := login(t, "gate", "alice", "harbor")
	second.Authorities = id.Authorities
	if err := OpenWith(home, ring).Save(t.Context(), again, second); err != nil || ring.counted() != [3]int{0, 1, 1} || len(ring.slots) != 1 {
		t.Errorf("the second login: %v, %v", err, ring)
	}
	if s.Keystore("gate") != KeysInKeyring || s.Keystore("other") != KeysInFiles {
		t.Error("where keys go was not remembered")
	}
	// The same keys, as after a reissue: nothing in the keyring changes.
	if err := OpenWith(home, ring).Save(t.Context(), again, second); err != nil || ring.counted() != [3]int{} {
		t.Errorf("a reissue: %v, %v", err, ring)
	}
	s = OpenWith(home, ring)
	if err := s.MigrateKeys(t.Context(), again, KeysInFiles); err != nil || len(ring.slots) != 0 {
		t.Errorf("to files: %v, %v", err, ring)
	}
	if id, err := OpenWith(home, newRing()).Identity(again); err != nil || id.SSHKey == nil {
		t.Errorf("in files: %v", err)
	}
	if err := s.MigrateKeys(t.Context(), again, KeysInKeyring); err != nil || len(ring.slots) != 1 {
		t.Errorf("to the keyring: %v, %v", err, ring)
	}
	if _, err := s.Logout(t.Context(), "", ""); err != nil || len(ring.slots) != 0 {
		t.Errorf("logout: %v, %v", err, ring)
	}
	if text := testenv.Read(t, s.abs(keysFile)); strings.Contains(text, "slots") {
		t.Errorf("remembered after a logout: %s", text)
	}
}

// case K06: directories, proxies and users never share a slot.
func TestSlotsAreApart(t *testing.T) {
	ring := newRing()
	dir := t.TempDir()
	for _, home := range []string{"a", "b"} {
		for _, who := range [][2]string{{"gate", "alice"}, {"gate", "bob"}, {"port", "alice"}} {
			p, id := login(t, who[0], who[1], "cluster-of-"+who[0]+who[1])
			p.Keystore, p.Proven = KeysInKeyring, who[0]
			if err := OpenWith(filepath.Join(dir, home), ring).Commit(t.Context(), p, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	names := map[string]bool{}
	for slot := range ring.slots {
		name, _, _ := strings.Cut(slot, ".")
		names[name] = true
	}
	if len(ring.slots) != 6 || len(names) != 6 {
		t.Errorf("slots are %v", ring.slots)
	}
}

// case K04: what a login that was killed has left in the keyring goes, once it is sure
// that nobody is about to need it.
func TestOrphansAreCollected(t *testing.T) {
	home, ring := filepath.Join(t.TempDir(), "home"), newRing()
	s := OpenWith(home, ring)
	loggedIn(t, s, "gate", "alice", "harbor")
	if _, err := s.newSeal(t.Context(), "gate", "alice"); err != nil { // and killed
		t.Fatal(err)
	}
	p, err := s.Load("gate")
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Identity(p)
	if err != nil {
		t.Fatal(err)
	}
	p.Keystore = KeysInKeyring
	if err := s.Commit(t.Context(), p, id); err != nil || len(ring.slots) != 2 {
		t.Fatalf("a slot that may be in use was taken: %v, %v", err, ring.slots)
	}
	state := s.readKeys()
	for i := range state.Slots {
		state.Slots[i].Made -= int64(slotPatience.Seconds()) + 1
	}
	data, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Write(t, s.abs(keysFile), string(data))
	again, second := login(t, "gate", "alice", "harbor")
	second.Authorities = id.Authorities
	if err := s.Commit(t.Context(), again, second); err != nil || len(ring.slots) != 1 {
		t.Errorf("orphan: %v, %v", err, ring.slots)
	}
	if _, err := OpenWith(home, ring).Identity(again); err != nil {
		t.Error(err)
	}
}

// case K10: into files only where the person asked for it, and said each time.
func TestKeyringThatRefuses(t *testing.T) {
	ring := newRing()
	ring.refuseSet = keyring.ErrLocked
	s := OpenWith(filepath.Join(t.TempDir(), "home"), ring)
	var notices []string
	s.Notice = func(m string) { notices = append(notices, m) }
	p, id := login(t, "gate", "alice", "harbor")
	p.Keystore = KeysInKeyring
	var locked *keystore.KeyringError
	if err := s.Commit(t.Context(), p, id); !errors.As(err, &locked) {
		t.Errorf("err = %v", err)
	}
	if _, err := s.Load("gate"); !errors.Is(err, ErrNotFound) {
		t.Errorf("something was stored: %v", err)
	}
	p.Keystore = KeysInKeyringOrFiles
	for n := 1; n <= 2; n++ {
		if err := s.Commit(t.Context(), p, id); err != nil || len(notices) != n || !strings.Contains(notices[n-1], "locked") {
			t.Errorf("%v, notices %q", err, notices)
		}
	}
	if len(s.readKeys().Slots) != 0 {
		t.Errorf("slots are %v", s.readKeys().Slots)
	}
}

// case F06, K04: logins at once leave one login that opens, and one slot.
func TestKeyringLoginsAtOnce(t *testing.T) {
	home, ring := filepath.Join(t.TempDir(), "home"), newRing()
	p, first := login(t, "gate", "alice", "harbor")
	p.Keystore = KeysInKeyring
	if err := OpenWith(home, ring).Commit(t.Context(), p, first); err != nil {
		t.Fatal(err)
	}
	var logins sync.WaitGroup
	for range 8 {
		q, id := login(t, "gate", "alice", "harbor")
		id.Authorities = first.Authorities
		logins.Go(func() {
			if err := OpenWith(home, ring).Commit(t.Context(), q, id); err != nil {
				t.Error(err)
			}
		})
	}
	logins.Wait()
	if _, err := OpenWith(home, ring).Identity(p); err != nil || len(ring.slots) != 1 {
		t.Errorf("%v, slots %d", err, len(ring.slots))
	}
}

// case F19: what the keyring does not let go of is said, and tried again.
func TestLogoutWithoutTheKeyring(t *testing.T) {
	ring := newRing()
	s := OpenWith(filepath.Join(t.TempDir(), "home"), ring)
	p, id := login(t, "gate", "alice", "harbor")
	p.Keystore = KeysInKeyring
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	ring.refused = keyring.ErrNoAnswer
	done, err := s.Logout(t.Context(), "", "")
	if err != nil || len(done.Left) != 1 || !strings.Contains(done.Left[0], "keyring entry") || len(done.Logins) != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	ring.refused = nil
	if done, err = s.Logout(t.Context(), "gate", "alice"); err != nil || len(ring.slots) != 0 || len(done.Left) != 0 {
		t.Errorf("again: %+v, %v, %v", done, err, ring.slots)
	}
}
