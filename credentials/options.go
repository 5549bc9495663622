package credentials

import (
	"log/slog"
	"sync"
)

// Option changes what a loader does besides loading.
type Option func(*notices)

// WithWarning has warn called with what the person should mend although the credentials
// work: other users can read the private key, or can change or replace the files. Each text comes once
// for a loader, from the goroutine that noticed it, without locks held. Without it warnings
// go to slog at level debug. On Windows, where access lists decide, there are none of these.
func WithWarning(warn func(text string)) Option {
	return func(n *notices) { n.warning = warn }
}

// WithReport has report called with the error when a renewed identity cannot be used, not
// again while the error stays the same, and with nil when all is well again. Calls come one
// at a time and in order, from the goroutine that noticed it, without locks held; they may
// use the loader, and close it. It is for NewDynamicIdentityFile: the other loaders return
// their errors where they are asked.
func WithReport(report func(err error)) Option {
	return func(n *notices) { n.report = report }
}

// notices are what a loader has to say unasked. They are noted while it is locked and
// delivered when it is not.
type notices struct {
	warning func(string)
	report  func(error)

	mu      sync.Mutex
	warned  map[string]bool
	failure string // the last error reported, empty after nil
	queue   []func()
	busy    bool // somebody delivers
}

// apply has the options take effect, and fills in what happens without.
func (n *notices) apply(opts []Option) {
	for _, opt := range opts {
		opt(n)
	}
	if n.warning == nil {
		n.warning = func(text string) { slog.Debug("credentials", "warning", text) }
	}
	if n.report == nil {
		n.report = func(err error) { slog.Debug("identity file was read again", "error", err) }
	}
}

// warn notes warnings that are new.
func (n *notices) warn(texts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, text := range texts {
		if n.warned[text] {
			continue
		}
		if n.warned == nil {
			n.warned = make(map[string]bool)
		}
		n.warned[text] = true
		n.queue = append(n.queue, func() { n.warning(text) })
	}
}

// reloaded notes how a reload went unless the last one went the same way.
func (n *notices) reloaded(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	if failure != n.failure {
		n.failure = failure
		n.queue = append(n.queue, func() { n.report(err) })
	}
}

// deliver calls the hooks for what was noted. While another goroutine does that, it leaves
// the rest to that one.
func (n *notices) deliver() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy {
		return
	}
	n.busy = true
	defer func() { n.busy = false }()
	for len(n.queue) > 0 {
		next := n.queue[0]
		n.queue = n.queue[1:]
		n.call(next)
	}
}

// call lets go of the lock meanwhile, also when a hook panics.
func (n *notices) call(hook func()) {
	n.mu.Unlock()
	defer n.mu.Lock()
	hook()
}

// lastFailure is the error of the last reload, empty if it went well.
func (n *notices) lastFailure() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure
}

// delivering reports whether a hook is being called.
func (n *notices) delivering() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.busy
}
