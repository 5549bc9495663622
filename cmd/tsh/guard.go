package main

import "sync"

// guard knows how to bring the terminal back into the state it was found in,
// should the program have to end without unwinding.
type guard struct {
	mu      sync.Mutex
	restore func()
}

// arm remembers restore until disarm. The terminal is changed for one thing at
// a time: a question, or a session.
func (g *guard) arm(restore func()) (disarm func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.restore = restore
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.restore = nil
	}
}

// armed reports whether the terminal is in another state just now.
func (g *guard) armed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.restore != nil
}

// fire restores the terminal, if there is anything to restore.
func (g *guard) fire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.restore != nil {
		g.restore()
	}
}
