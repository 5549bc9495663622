package sshclient

import (
	"io"
	"sync"
)

const (
	// maxTyped bounds the input that waits to be sent while the escape sequence is
	// looked for behind it. Nobody types that much.
	maxTyped = 1 << 20
	// typedSize is the size of reads of such input.
	typedSize = 4 << 10
)

// escapes finds the escape sequences in what is typed. It may come in any
// pieces.
type escapes struct {
	char   byte
	act    func(byte) bool // takes other characters behind it; may be nil
	midway bool            // something has come since the last newline
	held   bool            // the escape character was typed at the start of a line
}

// scan returns what is to be sent of p, and whether the session is to end. The
// result is new memory.
func (e *escapes) scan(p []byte) (send []byte, end bool) {
	for _, b := range p {
		switch {
		case e.held && b == '.':
			return send, true
		case e.held && b == e.char:
			e.held = false
			send = append(send, b)
		case e.held && e.act != nil && e.act(b):
			e.held = false
			continue // as if nothing had been typed
		case e.held:
			e.held = false
			send = append(send, e.char, b)
		case b == e.char && !e.midway:
			e.held = true
			continue
		default:
			send = append(send, b)
		}
		e.midway = b != '\r' && b != '\n'
	}
	return send, false
}

// rest is what is still to be sent when nothing more comes.
func (e *escapes) rest() []byte {
	if !e.held {
		return nil
	}
	e.held = false
	return []byte{e.char}
}

// stdin is where the input comes from. Where escape sequences are to be found,
// it is read ahead: what cannot be sent, because the other end takes nothing,
// must not hide them.
func (s *session) stdin() io.Reader {
	if s.cmd.EscapeChar == 0 || s.cmd.PTY == nil || s.cmd.Stdin == nil {
		return s.cmd.Stdin
	}
	t := &typed{more: make(chan struct{}, 1), room: make(chan struct{}, 1), over: s.over}
	go func() {
		e, buf := escapes{char: s.cmd.EscapeChar, act: s.cmd.Escape}, make([]byte, typedSize)
		for {
			n, err := s.cmd.Stdin.Read(buf)
			send, end := e.scan(buf[:n])
			if end {
				s.abort <- ErrEscaped // the only one
				return
			}
			if err != nil {
				send = append(send, e.rest()...)
			}
			if !t.put(send, err) || err != nil {
				return
			}
		}
	}()
	return t
}

// typed is input that was read and not yet sent.
type typed struct {
	more, room chan struct{} // something has changed
	over       <-chan struct{}

	mu   sync.Mutex
	data []byte
	err  error // what comes after data
}

func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put adds input; it waits while there is too much. It is false if the session
// is over.
func (t *typed) put(p []byte, err error) bool {
	for {
		t.mu.Lock()
		full := len(t.data) >= maxTyped
		if !full {
			t.data, t.err = append(t.data, p...), err
		}
		t.mu.Unlock()
		if !full {
			nudge(t.more)
			return true
		}
		select {
		case <-t.room:
		case <-t.over:
			return false
		}
	}
}

func (t *typed) Read(p []byte) (int, error) {
	for {
		t.mu.Lock()
		n, err := copy(p, t.data), t.err
		if t.data = t.data[n:]; len(t.data) == 0 {
			t.data = nil
		}
		t.mu.Unlock()
		if n > 0 {
			nudge(t.room)
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-t.more:
		case <-t.over:
			return 0, errShut
		}
	}
}
