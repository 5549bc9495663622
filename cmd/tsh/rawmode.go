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
	stop    chan struct{}
	once    sync.Once
}

func newRawTerminal(s streams) *rawTerminal {
	return &rawTerminal{in: s.in, out: s.out, stop: make(chan struct{})}
}

// enter switches the terminal on stdin to raw mode. A terminal that cannot be
// switched stays as it is: the session works, with local editing.
func (t *rawTerminal) enter(g *guard) {
	fd := int(t.in.Fd())
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
	restoreOutput := prepareOutput(t.out)
	restorePipes := survivePipes()
	t.restore = func() {
		restorePipes()
		restoreOutput()
		_ = term.Restore(fd, before)
	}
	t.disarm = g.arm(t.restore)
}

// leave restores the terminal. It may be called again.
func (t *rawTerminal) leave() {
	t.once.Do(func() {
		close(t.stop)
		if t.restore != nil {
			t.restore()
			t.disarm()
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
