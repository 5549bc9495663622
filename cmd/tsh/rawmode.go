package main

import (
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/sshclient"
)

// rawTerminal is the person's terminal while keys go to the remote side
// unchanged.
type rawTerminal struct {
	in      *os.File
	out     *os.File
	before  *term.State
	restore func() // what enterRaw needs undone beside the state
	stop    chan struct{}
	once    sync.Once
}

// enterRawMode switches the terminal on stdin to raw mode; leave restores it.
func enterRawMode(s streams) (*rawTerminal, error) {
	t := &rawTerminal{in: s.in, out: s.out, stop: make(chan struct{})}
	var err error
	if t.before, err = term.MakeRaw(int(s.in.Fd())); err != nil {
		return nil, err
	}
	if t.restore, err = prepareOutput(s.out); err != nil {
		_ = term.Restore(int(s.in.Fd()), t.before)
		return nil, err
	}
	return t, nil
}

// leave restores the terminal. It may be called again.
func (t *rawTerminal) leave() {
	t.once.Do(func() {
		close(t.stop)
		t.restore()
		_ = term.Restore(int(t.in.Fd()), t.before)
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
