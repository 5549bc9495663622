package fanout

import (
	"bytes"
	"context"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	// MaxLine is the longest line, in bytes, that is kept until its end comes. A longer
	// one goes on in the next line, with the prefix again.
	MaxLine = 8 << 10
	// maxBatch is how much is written at once, about.
	maxBatch = 4 * MaxLine
)

// Output is where lines go.
type Output struct {
	W io.Writer
	// Terminal says that W is one: what a terminal acts on is then written in a visible
	// form, or a node could write over the lines of others.
	Terminal bool
}

// sharedOutput is written to by all nodes, in whole lines.
type sharedOutput struct {
	Output
	broken context.CancelCauseFunc // told of the first error

	mu  sync.Mutex // guards what follows, and W
	buf []byte
	err error
}

// line adds a line to what is to be written.
func (s *sharedOutput) line(label string, line []byte) {
	s.buf = append(append(append(s.buf, '['), label...), "] "...)
	if s.Terminal {
		s.buf = append(s.buf, text.Clean(string(bytes.TrimSuffix(line, []byte("\r"))))...)
	} else {
		s.buf = append(s.buf, line...)
	}
	if s.buf = append(s.buf, '\n'); len(s.buf) >= maxBatch {
		s.flush()
	}
}

func (s *sharedOutput) flush() {
	if s.err == nil && len(s.buf) > 0 {
		if _, s.err = s.W.Write(s.buf); s.err != nil {
			s.broken(s.err)
		}
	}
	s.buf = s.buf[:0]
}

// failed is why the output could not be written to, nil if it could. Nobody writes any
// more, but for somebody who was left because the output blocks.
func (s *sharedOutput) failed() error {
	if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	return s.err
}

// lines makes lines of what one node writes to one stream. What it keeps is guarded by
// the output's lock.
type lines struct {
	to   *sharedOutput
	node *Node
	open []byte // the line that has no end yet
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.node.pace.begin()
	defer l.node.pace.end()
	l.to.mu.Lock()
	defer l.to.mu.Unlock()
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		part := rest
		if end >= 0 {
			part = rest[:end]
		}
		if room := MaxLine - len(l.open); len(part) > room {
			l.open = append(l.open, part[:room]...)
			rest = rest[room:]
			l.fold()
			continue
		}
		l.open = append(l.open, part...)
		rest = rest[len(part):]
		if end >= 0 {
			rest = rest[1:]
			l.to.line(l.node.Label, l.open)
			l.open = l.open[:0]
		}
	}
	l.to.flush()
	return len(p), l.to.err
}

// fold ends a line that is too long, but not in the middle of a character.
func (l *lines) fold() {
	cut := len(l.open)
	for back := 1; back < utf8.UTFMax; back++ {
		if utf8.RuneStart(l.open[cut-back]) {
			if !utf8.FullRune(l.open[cut-back:]) {
				cut -= back
			}
			break
		}
	}
	l.to.line(l.node.Label, l.open[:cut])
	l.open = append(l.open[:0], l.open[cut:]...)
}

// end writes what has come of a line whose end did not. Once ctx is over it does not
// wait for an output that blocks.
func (l *lines) end(ctx context.Context) {
	if ctx.Err() == nil {
		l.to.mu.Lock()
	} else if !l.to.mu.TryLock() {
		return
	}
	defer l.to.mu.Unlock()
	if len(l.open) > 0 {
		l.to.line(l.node.Label, l.open)
		l.open = nil
		l.to.flush()
	}
}
