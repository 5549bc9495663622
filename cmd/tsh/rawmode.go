package main

import (
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/sshclient"
)

// rawTerminal is the person's terminal during a session, when keys go to the
// remote side unchanged. It is entered when the session has begun: until then
// ^C and the like are for us.
type rawTerminal struct {
	in      *os.File
	out     *os.File
	restore func() // undoes enter; nil before
	disarm  func()
	dismiss func() // ends the watcher beside us
	stop    chan struct{}
	resized chan os.Signal // wakes up resizes
	once    sync.Once

	mu     sync.Mutex // held while the mode changes
	raw    bool
	before *term.State
}

func newRawTerminal(s streams) *rawTerminal {
	return &rawTerminal{in: s.in, out: s.out, stop: make(chan struct{}), resized: make(chan os.Signal, 1)}
}

// enter switches the terminal on stdin to raw mode. A terminal that cannot be
// switched stays as it is: the session works, with local editing.
func (t *rawTerminal) enter(g *guard) {
	fd, state := int(t.in.Fd()), ttyState(t.in)
	before, err := term.GetState(fd)
	if err != nil {
		return
	}
	// A second signal ends the program at once: it has to find what to restore from
	// before there is something until there is nothing any more.
	t.restore = func() { _ = term.Restore(fd, before) }
	t.disarm = g.arm(t.restore)
	if _, err := term.MakeRaw(fd); err != nil {
		t.disarm()
		t.restore = nil
		return
	}
	t.before, t.raw = before, true
	restoreOutput := prepareOutput(t.out)
	restorePipes := survivePipes()
	t.restore = func() {
		restorePipes()
		restoreOutput()
		_ = term.Restore(fd, before)
	}
	t.disarm = g.arm(t.restore)
	t.dismiss = watchTerminal(t.in, state)
	t.attend()
}

// leave restores the terminal. It may be called again.
func (t *rawTerminal) leave() {
	t.once.Do(func() {
		close(t.stop)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.restore != nil {
			t.raw = false
			t.restore()
			t.disarm()
		}
		if t.dismiss != nil {
			t.dismiss()
		}
	})
}

// size is the terminal's size now; 80 by 24 where it cannot be told.
func (t *rawTerminal) size() sshclient.Size {
	for _, f := range []*os.File{t.out, t.in} {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 && rows > 0 {
			return sshclient.Size{Cols: cols, Rows: rows}
		}
	}
	return sshclient.Size{Cols: 80, Rows: 24}
}
