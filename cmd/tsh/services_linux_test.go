package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// services are what a desktop session has beside a terminal.
type services struct {
	t       *testing.T
	keyring *testenv.SecretService
	calls   *secretCalls
	agents  []func()
}

// agent starts a real ssh-agent for this script: agent; agent stop ends it.
func (w *world) agent(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 1 && args[0] == "stop" {
		for _, stop := range w.services.agents {
			stop()
		}
		return
	}
	socket, stop := testenv.Agent(w.services.t)
	w.services.agents = append(w.services.agents, stop)
	ts.Setenv("SSH_AUTH_SOCK", socket)
}

// systemKeyring is a real keyring of this script's own: keyring starts it; keyring
// lock, unlock, kill, stop (it hangs) and cont do that to it; keyring calls READ=1 …
// says which calls it has got since it was asked last.
func (w *world) systemKeyring(ts *testscript.TestScript, _ bool, args []string) {
	s := &w.services
	if len(args) == 0 {
		s.keyring = testenv.NewSecretService(s.t)
		s.calls = listenIn(s.t, s.keyring.Bus)
		for _, pair := range s.keyring.Env() {
			name, value, _ := strings.Cut(pair, "=")
			ts.Setenv(name, value)
		}
		return
	}
	switch args[0] {
	case "lock":
		s.keyring.Lock(s.t)
	case "unlock":
		s.keyring.Unlock(s.t)
	case "kill":
		s.keyring.Daemon.Kill()
	case "stop":
		s.keyring.Daemon.Suspend(s.t)
	case "cont":
		s.keyring.Daemon.Resume(s.t)
	case "calls":
		if got, want := s.calls.since(s.t), strings.Join(args[1:], " "); got != want {
			ts.Fatalf("the keyring got the calls %q, want %q", got, want)
		}
	default:
		ts.Fatalf("usage: keyring [lock|unlock|kill|stop|cont|calls …]")
	}
}

// secretCalls counts what is asked of the keyring.
type secretCalls struct {
	conn *dbus.Conn // says where a count ends

	mu     sync.Mutex
	counts map[string]int
	marks  chan string
}

// listenIn becomes a monitor of the bus.
func listenIn(t *testing.T, bus *testenv.Bus) *secretCalls {
	t.Helper()
	c := &secretCalls{conn: bus.Dial(t), counts: map[string]int{}, marks: make(chan string, 16)}
	monitor := bus.Dial(t)
	messages := make(chan *dbus.Message, 1024)
	rules := []string{"type='method_call'"}
	if err := monitor.BusObject().Call("org.freedesktop.DBus.Monitoring.BecomeMonitor", 0, rules, uint32(0)).Err; err != nil {
		t.Fatal(err)
	}
	monitor.Eavesdrop(messages)
	go c.count(messages)
	return c
}

func (c *secretCalls) count(messages <-chan *dbus.Message) {
	names := map[string]string{"GetSecret": "read", "GetSecrets": "read", "CreateItem": "write", "Delete": "delete"}
	for m := range messages {
		member, _ := m.Headers[dbus.FieldMember].Value().(string)
		if member == "NameHasOwner" && len(m.Body) == 1 {
			if mark, ok := m.Body[0].(string); ok && strings.HasPrefix(mark, "tsh.mark") {
				c.marks <- mark
			}
		}
		if name := names[member]; name != "" {
			c.mu.Lock()
			c.counts[name]++
			c.mu.Unlock()
		}
	}
}

// since returns what was counted, and begins anew.
func (c *secretCalls) since(t *testing.T) string {
	mark := fmt.Sprintf("tsh.mark%d", time.Now().UnixNano())
	var owned bool
	if err := c.conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, mark).Store(&owned); err != nil {
		t.Fatal(err)
	}
	late := time.After(30 * time.Second)
	for seen := ""; seen != mark; {
		select {
		case seen = <-c.marks:
		case <-late:
			t.Fatal("the monitor of the bus is silent")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c.counts)) {
		all = append(all, fmt.Sprintf("%s=%d", name, c.counts[name]))
	}
	clear(c.counts)
	return strings.Join(all, " ")
}
