package sshclient

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// shutWait is how long a session that is over waits for a write under way.
const shutWait = 100 * time.Millisecond

// gate is an output that can be shut: what comes after the end of Run must not
// reach the caller's writer any more.
type gate struct {
	_    [0]func() // never compared
	w    io.Writer
	turn chan struct{} // held while writing
	done atomic.Bool
}

var errShut = errors.New("session is over")

func newGate(w io.Writer) *gate {
	if w == nil {
		w = io.Discard
	}
	return &gate{w: w, turn: make(chan struct{}, 1)}
}

func (g *gate) Write(p []byte) (int, error) {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if g.done.Load() {
		return 0, errShut
	}
	return g.w.Write(p)
}

// shut lets no further write through. One that blocks is left alone after a moment.
func (g *gate) shut() {
	g.done.Store(true)
	wait := time.NewTimer(shutWait)
	defer wait.Stop()
	select {
	case g.turn <- struct{}{}:
		<-g.turn
	case <-wait.C:
	}
}

// drain copies everything that came from the node. The only error is one of w. The
// buffer grows when there is much: sessions are many at times, and most say little.
func drain(w io.Writer, r io.Reader) error {
	buf := make([]byte, minCopySize)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if n == len(buf) && n < copySize {
				buf = make([]byte, copySize)
			}
			// An error beside data is about telling the node that there is room again;
			// what has arrived before is still there to be read.
			continue
		}
		if err != nil {
			return nil
		}
	}
}

// feed copies the input to the command and closes it there, until the session
// is over. The only error is one of r: a command that no longer reads is not one.
func feed(ch ssh.Channel, r io.Reader, over <-chan struct{}) error {
	if r == nil {
		_ = ch.CloseWrite()
		return nil
	}
	buf := make([]byte, copySize)
	for {
		n, err := r.Read(buf)
		select {
		case <-over:
			return nil
		default:
		}
		if n > 0 {
			if _, err := ch.Write(buf[:n]); err != nil {
				return nil
			}
		}
		if err != nil {
			_ = ch.CloseWrite()
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// signalNumber is the number of a signal of RFC 4254 section 6.10, as Linux
// counts them wherever the client runs; 0 for others.
func signalNumber(name string) int {
	switch name {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "ILL":
		return 4
	case "ABRT":
		return 6
	case "FPE":
		return 8
	case "KILL":
		return 9
	case "USR1":
		return 10
	case "SEGV":
		return 11
	case "USR2":
		return 12
	case "PIPE":
		return 13
	case "ALRM":
		return 14
	case "TERM":
		return 15
	}
	return 0
}
