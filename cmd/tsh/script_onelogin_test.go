package main

import (
	"bytes"
	"net"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/netsim"
)

// crowdPassword is that of alice in tests that start processes themselves.
const crowdPassword = canary + "password-alice"

// loginCounter is the log of a cluster, of which the logins are counted.
type loginCounter struct {
	mu     sync.Mutex
	logins int
}

// Write implements io.Writer. The cluster logs a line with each call.
func (c *loginCounter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins += bytes.Count(p, []byte(`msg="logged in"`))
	return len(p), nil
}

// since returns how many there were, and begins anew.
func (c *loginCounter) since() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.logins
	c.logins = 0
	return n
}

// countLogins checks how often clusters have logged somebody in since it was asked last:
// logins N.
func (w *world) countLogins(ts *testscript.TestScript, _ bool, args []string) {
	if got := strconv.Itoa(w.log.since()); len(args) != 1 || got != args[0] {
		ts.Fatalf("%s logins, want %s", got, args)
	}
}

// refuse makes the newest cluster refuse every call in these words: refuse 'WORDS'.
func (w *world) refuse(_ *testscript.TestScript, _ bool, args []string) {
	w.newest().RefuseCalls(args[0])
}

// front opens one more port through which the newest cluster is reached, $FRONT.
func (w *world) front(ts *testscript.TestScript, _ bool, _ []string) {
	network := netsim.New()
	w.env.Defer(func() { _ = network.Close() })
	p, err := network.Listen(w.newest().Addr())
	ts.Check(err)
	_, port, err := net.SplitHostPort(p.Addr())
	ts.Check(err)
	ts.Setenv("FRONT", net.JoinHostPort("localhost", port))
}

// ahead puts the clock of tsh, and of tsh alone, that far ahead: ahead DURATION.
func (w *world) ahead(ts *testscript.TestScript, _ bool, args []string) {
	d := duration(ts, args[0])
	ts.Setenv(envTestAhead, (w.clock.ahead() + d).String())
}
