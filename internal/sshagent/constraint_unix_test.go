//go:build unix

package sshagent

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Types of requests.
const (
	askAdd            = 17
	askRemove         = 18
	askList           = 11
	askAddConstrained = 25
)

// recorder is an agent that holds nothing and notes what it is asked.
type recorder struct {
	mu       sync.Mutex
	messages [][]byte
	answers  map[byte]string // by request; SUCCESS for others
}

func (r *recorder) answer(message []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, bytes.Clone(message))
	if answer, ok := r.answers[message[0]]; ok {
		return frame(answer)
	}
	return frame("\x06")
}

// asked is the types of the requests, in order.
func (r *recorder) asked() (types []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.messages {
		types = append(types, m[0])
	}
	return types
}

// case K13, case K14: the lifetime is in the bytes that the agent gets, for every kind of
// key, as the only constraint; no request adds a key without one.
func TestLifetimeIsSent(t *testing.T) {
	for kind, key := range map[string]crypto.Signer{"RSA": newRSA(t), "P-256": newP256(t), "P-384": newP384(t), "Ed25519": newEd25519(t)} {
		r := &recorder{answers: map[byte]string{askList: keyList()}}
		madeUpAgent(t, answering(r.answer))
		e := login(t, key, "gate", "root", "alice")
		e.Lifetime = 11*time.Hour + 900*time.Millisecond // never longer than it is valid
		put(t, e)
		if got := r.asked(); !slices.Equal(got, []byte{askList, askAddConstrained}) {
			t.Fatalf("%s: requests %v", kind, got)
		}
		const constrainLifetime = 1
		want := []byte(str("teleport:gate:root:alice"))
		want = binary.BigEndian.AppendUint32(append(want, constrainLifetime), 11*3600)
		if m := r.messages[1]; !bytes.HasSuffix(m, want) || !bytes.Contains(m, e.Cert.Marshal()) {
			t.Errorf("%s: sent %q", kind, m)
		}
	}
}

// case K14: an agent that knows no constraints gets no key at all, and keeps what it
// has.
func TestAgentWithoutConstraints(t *testing.T) {
	for what, answer := range map[string]string{"FAILURE": "\x05", "of another kind": "\x1c", "a list": keyList()} {
		old := login(t, newP256(t), "gate", "root", "alice")
		r := &recorder{answers: map[byte]string{askList: keyList(string(old.Cert.Marshal()), "teleport:gate:root:alice"), askAddConstrained: answer}}
		madeUpAgent(t, answering(r.answer))
		if err := dial(t).Put(login(t, newP256(t), "gate", "root", "alice")); err == nil || errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "take a key for a limited time") {
			t.Errorf("%s: %v", what, err)
		}
		if got := r.asked(); !slices.Equal(got, []byte{askList, askAddConstrained}) {
			t.Errorf("%s: requests %v", what, got)
		}
	}
}

// case K15: the old entry goes after the new one came, and only then. One that stays is
// said, the others go.
func TestOldEntryStays(t *testing.T) {
	var list []string
	for _, user := range []string{"alice", "bob", "alice", "alice"} {
		list = append(list, string(login(t, newP256(t), "gate", "root", user).Cert.Marshal()), "teleport:gate:root:"+user)
	}
	r := &recorder{answers: map[byte]string{askList: keyList(list...), askRemove: "\x05"}}
	madeUpAgent(t, answering(r.answer))
	err := dial(t).Put(login(t, newP256(t), "gate", "leaf", "alice"))
	if !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "refused to remove a key") {
		t.Errorf("%v", err)
	}
	if got := r.asked(); !slices.Equal(got, []byte{askList, askAddConstrained, askRemove, askRemove, askRemove}) {
		t.Errorf("requests %v", got)
	}
	if n, err := dial(t).Remove("gate", ""); n != 0 || err == nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if slices.Contains(r.asked(), askAdd) {
		t.Error("a key was added without a limit")
	}
}

// case K12: answers that are too long one by one end it as well.
func TestLongAnswersToRemove(t *testing.T) {
	var list []string
	for range 50 {
		list = append(list, str("x"), "teleport:gate:root:alice")
	}
	r := &recorder{answers: map[byte]string{askList: keyList(list...), askRemove: "\x06" + strings.Repeat("x", 200_000)}}
	madeUpAgent(t, answering(r.answer))
	if n, err := dial(t).Remove("gate", "alice"); n != 5 || err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("removed %d, %v", n, err)
	}
}
