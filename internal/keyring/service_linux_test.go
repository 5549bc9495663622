package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	gokeyring "github.com/zalando/go-keyring"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// patient is for calls that are answered, however busy the machine is.
func patient() System { return System{Timeout: 30 * time.Second} }

// hasty is for calls that are not.
func hasty() System { return System{Timeout: 100 * time.Millisecond} }

func keyOf(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

// calls are the three methods, with the error of each.
func calls(s System) map[string]func() error {
	return map[string]func() error{
		"Get":    func() error { _, err := s.Get("slot"); return err },
		"Set":    func() error { return s.Set("slot", keyOf(7)) },
		"Delete": func() error { return s.Delete("slot") },
	}
}

// allCalls wants the same error of each of the three methods, and soon.
func allCalls(t *testing.T, s System, want error, words ...string) {
	t.Helper()
	for name, call := range calls(s) {
		start := time.Now()
		err := call()
		if took := time.Since(start); took > s.timeout()+2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
			continue
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not mention %q", name, err, word)
			}
		}
	}
}

// checkLeaks fails if the test leaves goroutines that were not there before.
func checkLeaks(t *testing.T) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		deadline := time.Now().Add(10 * time.Second)
		for {
			after := goroutines()
			maps.DeleteFunc(after, func(id, _ string) bool { return before[id] != "" })
			if len(after) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("left behind: %v", slices.Collect(maps.Values(after)))
				return
			}
			runtime.Gosched()
		}
	})
}

// goroutines are the stacks of all goroutines by "goroutine 1".
func goroutines() map[string]string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		stacks[id] = stack
	}
	return stacks
}

func wantKey(t *testing.T, slot string, want []byte) {
	t.Helper()
	if got, err := patient().Get(slot); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get(%s) = %x, %v, want %x", slot, got, err, want)
	}
}

func wantMissing(t *testing.T, slot string) {
	t.Helper()
	if got, err := patient().Get(slot); !errors.Is(err, ErrMissing) || got != nil {
		t.Errorf("Get(%s) = %x, %v, want %v", slot, got, err, ErrMissing)
	}
}

func mustSet(t *testing.T, slot string, key []byte) {
	t.Helper()
	if err := patient().Set(slot, key); err != nil {
		t.Fatal(err)
	}
}

func mustDelete(t *testing.T, slot string) {
	t.Helper()
	if err := patient().Delete(slot); err != nil {
		t.Fatal(err)
	}
}

func TestKeysOfTwoLogins(t *testing.T) {
	testenv.NewSecretService(t).Use(t)
	checkLeaks(t)
	// case K06: what one slot holds says nothing about another.
	const one, other = "0f3a.alice.proxy-1.example.com", "0f3b.alice.proxy-1.example.com"
	wantMissing(t, one)
	mustDelete(t, one)
	mustSet(t, one, keyOf(1))
	wantMissing(t, other)
	mustSet(t, other, keyOf(2))
	wantKey(t, one, keyOf(1))
	mustSet(t, one, keyOf(3))
	wantKey(t, one, keyOf(3))
	wantKey(t, other, keyOf(2))
	mustDelete(t, one)
	wantMissing(t, one)
	mustDelete(t, one)
	wantKey(t, other, keyOf(2))
}

func TestTheBusIsFoundInTheRuntimeDirectory(t *testing.T) {
	testenv.NewSecretService(t).Use(t)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	mustSet(t, "slot", keyOf(1))
	wantKey(t, "slot", keyOf(1))
}

// Programs with go-keyring itself find what we keep, and we find theirs.
func TestSameEntriesAsGoKeyring(t *testing.T) {
	testenv.NewSecretService(t).Use(t)
	t.Cleanup(func() {
		if conn, err := dbus.SessionBus(); err == nil {
			conn.Close() // go-keyring never does
		}
	})
	mustSet(t, "slot", keyOf(1))
	if value, err := gokeyring.Get(service, "slot"); err != nil || value != encode(keyOf(1)) {
		t.Errorf("go-keyring reads %q, %v", value, err)
	}
	if err := gokeyring.Set(service, "slot", encode(keyOf(2))); err != nil {
		t.Fatal(err)
	}
	wantKey(t, "slot", keyOf(2))
	mustSet(t, "slot", keyOf(3))
	mustDelete(t, "slot")
	if value, err := gokeyring.Get(service, "slot"); !errors.Is(err, gokeyring.ErrNotFound) {
		t.Errorf("go-keyring reads %q, %v after Delete", value, err)
	}
	// case K05: what another program put into our slot, or changed in it.
	for _, value := range append(damaged(), "a password") {
		if strings.Contains(value, "\xff") {
			continue // no text, and go-keyring stores text only
		}
		if err := gokeyring.Set(service, "slot", value); err != nil {
			t.Fatalf("storing %q: %v", value, err)
		}
		if key, err := patient().Get("slot"); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "password") {
			t.Errorf("Get = %x, %v where the keyring holds %q", key, err, value)
		}
	}
	mustSet(t, "slot", keyOf(4))
	wantKey(t, "slot", keyOf(4))
}

// case K02: locked, and nothing here shows a prompt.
func TestLocked(t *testing.T) {
	s := testenv.NewSecretService(t)
	s.Use(t)
	mustSet(t, "slot", keyOf(1))
	s.Lock(t)
	checkLeaks(t)
	start := time.Now()
	allCalls(t, patient(), ErrLocked)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("that nobody can be asked took %v to find out", took)
	}
	s.Unlock(t)
	wantKey(t, "slot", keyOf(1))
}

// case K02: locked, and the prompt is where nobody looks: the program that should
// show it takes the request and does nothing.
func TestLockedWithAnInvisiblePrompt(t *testing.T) {
	s := testenv.NewSecretService(t)
	s.Use(t)
	mustSet(t, "slot", keyOf(1))
	s.Lock(t)
	prompter := s.Dial(t)
	if reply, err := prompter.RequestName("org.gnome.keyring.SystemPrompter", dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	requests := make(chan *dbus.Message, 64)
	prompter.Eavesdrop(requests)
	checkLeaks(t)
	_, err := System{Timeout: time.Second}.Get("slot")
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "nobody answered its prompt within 1s") {
		t.Errorf("%v, want %v", err, ErrLocked)
	}
	select {
	case request := <-requests:
		if got := request.Headers[dbus.FieldMember].Value(); got != "BeginPrompting" {
			t.Errorf("the daemon asks the prompter for %v", got)
		}
	default:
		t.Error("the daemon does not ask for a prompt")
	}
	s.Unlock(t)
	wantKey(t, "slot", keyOf(1))
}

// case K01, case K09: the daemon has ended, the bus has not.
func TestDaemonKilled(t *testing.T) {
	s := testenv.NewSecretService(t)
	s.Use(t)
	mustSet(t, "slot", keyOf(1))
	s.Daemon.Kill()
	checkLeaks(t)
	allCalls(t, patient(), ErrUnavailable, "provides org.freedesktop.secrets")
}

// case K01, case K09: the bus has ended as well and left its socket.
func TestBusKilled(t *testing.T) {
	s := testenv.NewSecretService(t)
	s.Use(t)
	mustSet(t, "slot", keyOf(1))
	s.Kill()
	checkLeaks(t)
	allCalls(t, patient(), ErrUnavailable, "connection refused")
}

// case K09: the daemon ends while we wait for it. It is suspended, so that it
// cannot answer, and killed once our connection is there.
func TestDaemonKilledMidCall(t *testing.T) {
	for name, call := range calls(patient()) {
		t.Run(name, func(t *testing.T) {
			s := testenv.NewSecretService(t)
			s.Use(t)
			watching := s.Dial(t)
			if err := watching.AddMatchSignal(dbus.WithMatchMember("NameOwnerChanged")); err != nil {
				t.Fatal(err)
			}
			signals := make(chan *dbus.Signal, 64)
			watching.Signal(signals)
			s.Daemon.Suspend(t)
			checkLeaks(t)
			result := make(chan error, 1)
			go func() { result <- call() }()
			<-signals
			s.Daemon.Kill()
			if err := <-result; !errors.Is(err, ErrUnavailable) {
				t.Errorf("%v, want %v", err, ErrUnavailable)
			}
		})
	}
}

// case K09: the daemon says nothing; later it does again.
func TestDaemonSuspended(t *testing.T) {
	s := testenv.NewSecretService(t)
	s.Use(t)
	mustSet(t, "slot", keyOf(1))
	checkLeaks(t)
	s.Daemon.Suspend(t)
	allCalls(t, hasty(), ErrNoAnswer, "does not answer within 100ms")
	s.Daemon.Resume(t)
	mustSet(t, "slot", keyOf(2)) // after what the daemon had in its queue
	wantKey(t, "slot", keyOf(2))
}

// case K09: nor does the bus: it takes connections and does not greet.
func TestBusSuspended(t *testing.T) {
	s := testenv.NewSecretService(t)
	s.Use(t)
	mustSet(t, "slot", keyOf(1))
	checkLeaks(t)
	s.Suspend(t)
	allCalls(t, hasty(), ErrNoAnswer, "does not answer within 100ms")
	s.Resume(t)
	wantKey(t, "slot", keyOf(1))
}

// Commands run side by side on one login.
func TestManyAtOnce(t *testing.T) {
	testenv.NewSecretService(t).Use(t)
	checkLeaks(t)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			own := fmt.Sprintf("own-%d", worker)
			for range 5 {
				if err := patient().Set("shared", keyOf(1)); err != nil {
					t.Error(err)
				}
				if key, err := patient().Get("shared"); !errors.Is(err, ErrMissing) && (err != nil || !bytes.Equal(key, keyOf(1))) {
					t.Errorf("the shared slot: %x, %v", key, err)
				}
				if err := patient().Delete("shared"); err != nil {
					t.Error(err)
				}
				if err := patient().Set(own, keyOf(byte(worker))); err != nil {
					t.Error(err)
				}
				wantKey(t, own, keyOf(byte(worker)))
			}
		})
	}
	all.Wait()
}
