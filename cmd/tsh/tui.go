package main

// Everything that is shown to or asked of the person goes through this file.
//
//   - Data goes to stdout, messages to stderr, questions to the terminal itself.
//   - Text that comes from a server, a node or a file passes text.Clean or
//     text.Line on its way to a person; --format=json carries it as it is.
//   - Colour only on a terminal, and not where NO_COLOR is set.
//   - The terminal is never asked anything: no size by escape sequence, no
//     background colour, no cursor position.
//   - A question that cannot be asked is an error that says what to do instead.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
)

// streams are where a command reads and writes.
type streams struct {
	in  *os.File
	out *os.File
	err *os.File
}

func standardStreams() streams { return streams{in: os.Stdin, out: os.Stdout, err: os.Stderr} }

// dataWriter is stdout for data. It keeps the first error, so that a command
// whose output was lost does not pass for one that worked.
type dataWriter struct {
	_   [0]func() // never compared
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (d *dataWriter) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.w.Write(p)
	d.err = err
	return n, err
}

// tui speaks with the person.
type tui struct {
	_      [0]func() // never compared
	err    io.Writer
	hush   hush
	colour bool // stderr may be coloured
}

func newTUI(s streams) *tui {
	onTerminal := term.IsTerminal(int(s.err.Fd()))
	return &tui{err: s.err, colour: onTerminal && os.Getenv("NO_COLOR") == ""}
}

// say tells the person something, a line or more.
func (t *tui) say(format string, args ...any) {
	fmt.Fprintln(t.err, text.Clean(fmt.Sprintf(format, args...)))
}

// hush is what is left out of the messages.
type hush int

const (
	hushNothing hush = iota
	hushNotes        // what is good to know, and warnings
	hushAll          // errors, too, but for mistakes in the command line
)

// note is say for what is merely good to know.
func (t *tui) note(format string, args ...any) {
	if t.hush == hushNothing {
		t.say(format, args...)
	}
}

// warn is say for what the person should not overlook.
func (t *tui) warn(format string, args ...any) {
	if t.hush != hushNothing {
		return
	}
	fmt.Fprintln(t.err, t.paint("33", "WARNING: ")+text.Clean(fmt.Sprintf(format, args...)))
}

// fail says why a command failed and what to do about it.
func (t *tui) fail(message, hint string) {
	fmt.Fprintln(t.err, t.paint("31", "ERROR: ")+text.Clean(message))
	if hint != "" {
		fmt.Fprintln(t.err, text.Clean(hint))
	}
}

// waiting says what is waited for if it takes long. done ends the wait.
func (t *tui) waiting(what string) (done func()) {
	const patience = 3 * time.Second
	timer := time.AfterFunc(patience, func() { t.say("Waiting for %s (^C gives up)", what) })
	return func() { timer.Stop() }
}

// newline ends a line that the person's ^C has left hanging.
func (t *tui) newline() { fmt.Fprintln(t.err) }

func (t *tui) paint(colour, s string) string {
	if !t.colour {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// errEndOfInput: the person closed the input instead of answering.
var errEndOfInput = errors.New("the input ended before the answer")

// errAnswerTooLong: more was typed or pasted than any answer needs.
var errAnswerTooLong = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

// maxAnswer bounds what is read as the answer to one question, in bytes.
const maxAnswer = 64 << 10

// askSecret asks on the controlling terminal and reads one line without echo.
// login.ErrCannotAsk where there is no terminal, for all questions.
func (a *app) askSecret(ctx context.Context, question string) (string, error) {
	return a.askOnTTY(ctx, question, false)
}

// askLine asks on the controlling terminal and reads one line, which is seen as
// it is typed; spaces around it do not count.
func (a *app) askLine(ctx context.Context, question string) (string, error) {
	line, err := a.askOnTTY(ctx, question, true)
	return strings.TrimSpace(line), err
}

// confirm asks a question that is answered with yes or no; whatever is not a yes is
// a no.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	answer, err := a.askLine(ctx, question+" [y/N]: ")
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes"), err
}

func (a *app) askOnTTY(ctx context.Context, question string, visible bool) (string, error) {
	if a.batch {
		return "", fmt.Errorf("%w: BatchMode is on", login.ErrCannotAsk)
	}
	tty, err := openTTY()
	if err != nil {
		return "", fmt.Errorf("%w: %w", login.ErrCannotAsk, err)
	}
	defer tty.close()
	tty.visible = visible
	return tty.read(ctx, text.Line(question), a.guard)
}

// showOnTTY puts on the controlling terminal, and nowhere else, what only the
// person in front of it may see. draw is told how wide the terminal is, 0 where
// that is not known, and passes text from elsewhere through text.Line itself.
func (a *app) showOnTTY(draw func(columns int) string) error {
	tty, err := openTTY()
	if err != nil {
		return fmt.Errorf("%w: %w", login.ErrCannotAsk, err)
	}
	defer tty.close()
	return tty.show(draw(tty.columns()))
}

// haveTTY reports whether there is a terminal to ask on.
func haveTTY() bool {
	tty, err := openTTY()
	if err != nil {
		return false
	}
	tty.close()
	return true
}

// answer is what was read, or why nothing was.
type answer struct {
	text string
	err  error
}

// lineReader gives the lines of standard input one by one, as the answers of
// --password-stdin. The bytes of a line are kept exactly, without its end.
type lineReader struct{ r *bufio.Reader }

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{bufio.NewReaderSize(io.LimitReader(r, 2*maxAnswer), maxAnswer)}
}

// next reads the next line. Where ctx ends first the reading goes on behind, to
// end with the process.
func (l *lineReader) next(ctx context.Context, what string) (string, error) {
	read := make(chan answer, 1)
	go func() {
		text, err := l.read(what)
		read <- answer{text, err}
	}()
	select {
	case a := <-read:
		return a.text, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (l *lineReader) read(what string) (string, error) {
	line, err := l.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("standard input: the %s is longer than %d bytes", what, maxAnswer)
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("standard input: %w", err)
	case err != nil && len(line) == 0:
		return "", fmt.Errorf("standard input has no line for the %s: %w", what, errEndOfInput)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}

// remaining is a lifetime as people read it: 7h3m, 12m, <1m.
func remaining(d time.Duration) string {
	if d < time.Minute {
		return "<1m"
	}
	d = d.Truncate(time.Minute)
	if d < time.Hour {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
}
