package keystore

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// memoryRing is a keyring that counts how often it is asked.
type memoryRing struct {
	slots map[string][]byte
	gets  int
	err   error // what it says instead of answering
}

func (m *memoryRing) Get(slot string) ([]byte, error) {
	m.gets++
	if m.err != nil {
		return nil, m.err
	}
	key, ok := m.slots[slot]
	if !ok {
		return nil, keyring.ErrMissing
	}
	return bytes.Clone(key), nil
}

func (m *memoryRing) Set(slot string, key []byte) error {
	m.slots[slot] = bytes.Clone(key)
	return m.err
}

func (m *memoryRing) Delete(slot string) error {
	delete(m.slots, slot)
	return m.err
}

// sealedHome is a directory with one login, sealed.
func sealedHome(t testing.TB, suite Suite) (Dir, *memoryRing, *Identity) {
	t.Helper()
	ring := &memoryRing{slots: map[string][]byte{"slot.a": bytes.Repeat([]byte{7}, SealKeySize)}}
	id := newCluster(t, "harbor").issue(t, "gate", "alice", suite)
	d := Dir{Home: t.TempDir() + "/home", Proven: "gate", Keyring: ring, Seal: &Seal{"slot.a", ring.slots["slot.a"]}}
	if err := store(d, id); err != nil {
		t.Fatal(err)
	}
	return d, ring, id
}

func TestSealedLoginOpensWithOneQuestion(t *testing.T) {
	for _, suite := range []Suite{SuiteBalanced, SuiteFIPS, SuiteLegacy} {
		d, ring, id := sealedHome(t, suite)
		got, err := d.Load("gate", "alice", "harbor")
		if err != nil || !samePublic(got.SSHKey.Public(), id.SSHKey.Public()) || !samePublic(got.TLSKey.Public(), id.TLSKey.Public()) || ring.gets != 1 {
			t.Errorf("%s: %v after %d questions", suite, err, ring.gets)
		}
		if _, err := got.TLSConfig(); err != nil {
			t.Error(err)
		}
		if _, err := got.SSHClientConfig(); err != nil {
			t.Error(err)
		}
		if public, err := d.LoadPublic("gate", "alice", "harbor"); err != nil || public.TLSCert == nil || ring.gets != 1 {
			t.Errorf("%s: looking only: %v after %d questions", suite, err, ring.gets)
		}
		for _, file := range []string{"alice", "alice.key"} {
			text := testenv.Read(t, gate(d.Home, file))
			if !strings.HasPrefix(text, "-----BEGIN TSH SEALED PRIVATE KEY-----\n") || strings.Count(text, "-----BEGIN") != 1 {
				t.Errorf("%s: %s is\n%s", suite, file, text)
			}
		}
		// Nothing that other clients could take for half a session.
		if _, err := os.Lstat(gate(d.Home, "alice-x509.pem")); err == nil {
			t.Errorf("%s: the certificate of the old layout is there", suite)
		}
	}
}

// case K03: what goes into the keyring has one size, however large the key is.
func TestWhatTheKeyringHoldsIsSmall(t *testing.T) {
	d, ring, _ := sealedHome(t, SuiteLegacy)
	if n := len(ring.slots["slot.a"]); n != 32 {
		t.Errorf("%d bytes", n)
	}
	if info, err := os.Stat(gate(d.Home, "alice")); err != nil || info.Size() < 1600 {
		t.Errorf("the sealed RSA key has %d bytes, %v", info.Size(), err)
	}
}

// case K05, case F20: whatever does not fit says to log in again, and nothing panics.
func TestTamperedSealedLogin(t *testing.T) {
	other := bytes.Repeat([]byte{8}, SealKeySize)
	tests := []struct {
		name  string
		spoil func(t *testing.T, d Dir, ring *memoryRing)
	}{
		{"the entry is gone", func(_ *testing.T, _ Dir, ring *memoryRing) { clear(ring.slots) }},
		{"the entry is another key", func(_ *testing.T, _ Dir, ring *memoryRing) { ring.slots["slot.a"] = other }},
		{"the entry is short", func(_ *testing.T, _ Dir, ring *memoryRing) { ring.slots["slot.a"] = []byte("short") }},
		{"the entry is not ours", func(_ *testing.T, _ Dir, ring *memoryRing) { ring.err = keyring.ErrDamaged }},
		{"the files are swapped", func(t *testing.T, d Dir, _ *memoryRing) {
			a, b := testenv.Read(t, gate(d.Home, "alice")), testenv.Read(t, gate(d.Home, "alice.key"))
			testenv.Write(t, gate(d.Home, "alice"), b)
			testenv.Write(t, gate(d.Home, "alice.key"), a)
		}},
		{"the version is another", func(t *testing.T, d Dir, _ *memoryRing) { edit(t, d, "Version: 1", "Version: 2") }},
		{"the slot is another", func(t *testing.T, d Dir, ring *memoryRing) {
			ring.slots["slot.b"] = ring.slots["slot.a"]
			edit(t, d, "Slot: slot.a", "Slot: slot.b")
		}},
		{"the content is short", func(t *testing.T, d Dir, _ *memoryRing) {
			block, _ := pem.Decode([]byte(testenv.Read(t, gate(d.Home, "alice"))))
			block.Bytes = block.Bytes[:5]
			testenv.Write(t, gate(d.Home, "alice"), string(pem.EncodeToMemory(block)))
		}},
	}
	for _, test := range tests {
		d, ring, _ := sealedHome(t, SuiteBalanced)
		test.spoil(t, d, ring)
		d.wait = func(time.Duration) {}
		if _, err := d.Load("gate", "alice", "harbor"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func edit(t *testing.T, d Dir, old, now string) {
	t.Helper()
	text := testenv.Read(t, gate(d.Home, "alice"))
	if !strings.Contains(text, old) {
		t.Fatalf("no %q in\n%s", old, text)
	}
	testenv.Write(t, gate(d.Home, "alice"), strings.Replace(text, old, now, 1))
}

// A keyring that does not answer now may answer later: a new login would not help.
func TestKeyringThatDoesNotAnswer(t *testing.T) {
	for _, said := range []error{keyring.ErrLocked, keyring.ErrNoAnswer, keyring.ErrUnavailable} {
		d, ring, _ := sealedHome(t, SuiteBalanced)
		ring.err = fmt.Errorf("%w: for a test", said)
		_, err := d.Load("gate", "alice", "harbor")
		var locked *KeyringError
		if !errors.As(err, &locked) || !errors.Is(err, said) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotFound) || ring.gets != 1 {
			t.Errorf("%v: %v after %d questions", said, err, ring.gets)
		}
	}
}

// The same keys with new certificates leave the sealed files as they are; to files
// they are moved.
func TestMovingBetweenFilesAndKeyring(t *testing.T) {
	d, ring, id := sealedHome(t, SuiteBalanced)
	before := contents(t, d.Home)
	again := d
	again.Seal = &Seal{Slot: "slot.a"} // no key is needed where nothing is sealed anew
	if err := store(again, id); err != nil || !maps.Equal(before, contents(t, d.Home)) {
		t.Errorf("stored again: %v", err)
	}
	if slot, ok := d.SealedSlot(id); !ok || slot != "slot.a" {
		t.Errorf("sealed with %q, %v", slot, ok)
	}
	if slots, err := d.SealedSlots("gate", "alice"); err != nil || !slices.Equal(slots, []string{"slot.a"}) {
		t.Errorf("slots are %q, %v", slots, err)
	}
	plain := Dir{Home: d.Home, Proven: "gate"}
	if err := store(plain, id); err != nil {
		t.Fatal(err)
	}
	clear(ring.slots)
	if _, err := plain.Load("gate", "alice", "harbor"); err != nil {
		t.Errorf("in files: %v", err)
	}
	if slots, err := d.SealedSlots("gate", "alice"); err != nil || len(slots) != 0 {
		t.Errorf("slots are %q, %v", slots, err)
	}
}

// Whatever the bytes, a sealed file opens to the key it was made from or not at all.
// The seeds are two sealed keys of a user alice at the proxy gate.
func FuzzSealed(f *testing.F) {
	ring := &memoryRing{slots: map[string][]byte{"slot.a": bytes.Repeat([]byte{7}, SealKeySize)}}
	made := map[string]crypto.PublicKey{}
	for _, suffix := range []string{"", tlsKeySuffix} {
		data, err := os.ReadFile(filepath.Join("testdata", "sealed", "alice"+suffix))
		if err != nil {
			f.Fatal(err)
		}
		block, _ := pem.Decode(data)
		made[suffix] = sealedPublic(block)
		f.Add(data)
	}
	seedFromFixtures(f, "/identity/")
	f.Fuzz(func(t *testing.T, data []byte) {
		for suffix, pub := range made {
			p := barePaths("nowhere", "gate", "alice", "harbor")
			p.keyring = ring
			key, err := p.openAndDecode(suffix, data)
			block, _ := pem.Decode(data)
			if err == nil && sealed(block) && bytes.Contains(data, []byte(pemSealed)) && !samePublic(key.Public(), pub) {
				t.Errorf("%q opens to another key", suffix)
			}
		}
	})
}
