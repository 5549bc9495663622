package profile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
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
	for name, want := range map[string]Keystore{"gate": KeysInKeyring, "other": KeysInFiles} {
		if where, err := s.Keystore(name, "alice"); err != nil || where != want {
			t.Errorf("keys of %s go to %q, %v", name, where, err)
		}
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
	if _, err := s.newSeal(t.Context(), Login{"gate", "alice"}); err != nil { // and killed
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

// case F06, case K04: logins at once leave one login that opens, and one slot.
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

// case K06: a copy of the directory shares the entries of the one it is a copy of, and
// never deletes them.
func TestCopyOfADirectory(t *testing.T) {
	dir, ring := t.TempDir(), newRing()
	home, copied := filepath.Join(dir, "home"), filepath.Join(dir, "copy")
	p, id := login(t, "gate", "alice", "harbor")
	p.Keystore = KeysInKeyring
	if err := OpenWith(home, ring).Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(home)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWith(copied, ring).Identity(p); err != nil {
		t.Errorf("the copy: %v", err)
	}
	if done, err := OpenWith(copied, ring).Logout(t.Context(), "", ""); err != nil || len(done.Left) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := OpenWith(home, ring).Identity(p); err != nil {
		t.Errorf("after a logout in the copy: %v", err)
	}
	// case K04: while the keys are elsewhere, as on a disk that is not there, no entry is
	// taken for left over.
	if err := os.Rename(filepath.Join(home, "keys"), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	if orphans := OpenWith(home, ring).OrphanSlots(); len(orphans) != 0 {
		t.Errorf("orphans are %v", orphans)
	}
}

// slowRing does something before it takes a key.
type slowRing struct {
	*countingRing
	before func()
}

func (r slowRing) Set(slot string, key []byte) error {
	if before := r.before; before != nil {
		before()
	}
	return r.countingRing.Set(slot, key)
}

// case K04, case F06: a logout, or the clearing away of what seems to be left, beside a login
// that is about to be stored: the login opens.
func TestLogoutBesideAKeyringLogin(t *testing.T) {
	for name, beside := range map[string]func(s *Store){
		"logout": func(s *Store) {
			if _, err := s.Logout(context.Background(), "", ""); err != nil {
				panic(err)
			}
		},
		"the clock jumps": func(s *Store) {
			err := s.changeKeys(context.Background(), func(k *keysState) {
				for i := range k.Slots {
					k.Slots[i].Made = 0
				}
			})
			if err != nil {
				panic(err)
			}
			s.FreeSlots(context.Background(), s.OrphanSlots())
		},
	} {
		home, ring := filepath.Join(t.TempDir(), "home"), newRing()
		p, id := login(t, "gate", "alice", "harbor")
		p.Keystore = KeysInKeyring
		if err := OpenWith(home, ring).Commit(t.Context(), p, id); err != nil {
			t.Fatal(err)
		}
		_, second := login(t, "gate", "alice", "harbor")
		second.Authorities = id.Authorities
		once := sync.OnceFunc(func() { beside(OpenWith(home, ring)) })
		if err := OpenWith(home, slowRing{ring, once}).Commit(t.Context(), p, second); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := OpenWith(home, ring).Identity(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(ring.slots); n != 1 {
			t.Errorf("%s: %d slots", name, n)
		}
	}
}

// Where keys are is seen in the files, too: what is remembered may be lost, and sealed
// keys do not become open ones in silence.
func TestWhatIsRememberedIsLost(t *testing.T) {
	home, ring := filepath.Join(t.TempDir(), "home"), newRing()
	s := OpenWith(home, ring)
	p, id := login(t, "gate", "alice", "harbor")
	p.Keystore = KeysInKeyring
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	testenv.Write(t, s.abs(keysFile), "junk")
	again, second := login(t, "gate", "alice", "harbor")
	second.Authorities = id.Authorities
	if err := s.Commit(t.Context(), again, second); err != nil {
		t.Fatal(err)
	}
	if slots, err := (keystore.Dir{Home: home}).SealedSlots("gate", "alice"); err != nil || len(slots) != 1 || len(ring.slots) != 1 {
		t.Errorf("sealed with %v, %v; %d entries", slots, err, len(ring.slots))
	}
	testenv.Write(t, s.abs(keysFile), `{"profiles":{"gate":"vault"}}`)
	if err := s.Commit(t.Context(), again, second); err == nil || !strings.Contains(err.Error(), "vault") {
		t.Errorf("an unknown place: %v", err)
	}
}

// A login that was replaced while its keys were being moved stays replaced.
func TestMovingKeysOfALoginThatIsReplaced(t *testing.T) {
	home, ring := filepath.Join(t.TempDir(), "home"), newRing()
	p, id := login(t, "gate", "alice", "harbor")
	if err := OpenWith(home, ring).Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	_, second := login(t, "gate", "alice", "harbor")
	second.Authorities = id.Authorities
	between := sync.OnceFunc(func() {
		q := *p
		q.Keystore = KeysInFiles
		if err := OpenWith(home, ring).Commit(context.Background(), &q, second); err != nil {
			panic(err)
		}
	})
	if err := OpenWith(home, slowRing{ring, between}).MigrateKeys(t.Context(), p, KeysInKeyring); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("err = %v", err)
	}
	now, err := OpenWith(home, ring).Identity(p)
	if err != nil || !now.TLSCert.Equal(second.TLSCert) || len(ring.slots) != 0 {
		t.Errorf("%v, %d slots", err, len(ring.slots))
	}
}

// case K09: a keyring that hangs is waited for once, however many entries there are.
func TestLogoutWithManyEntriesAndNoAnswer(t *testing.T) {
	ring := newRing()
	s := OpenWith(filepath.Join(t.TempDir(), "home"), ring)
	p, id := login(t, "gate", "alice", "harbor")
	p.Keystore = KeysInKeyring
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.newSeal(t.Context(), Login{"gate", "alice"}); err != nil { // and killed
			t.Fatal(err)
		}
	}
	ring.counted()
	ring.refused = keyring.ErrNoAnswer
	done, err := s.Logout(t.Context(), "", "")
	if err != nil || len(done.Left) != 4 || ring.counted() != [3]int{0, 0, 1} {
		t.Errorf("%+v, %v", done.Left, err)
	}
}
