//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// tty is the controlling terminal, opened for questions. Its own open file
// keeps whatever is done to it away from stdin, stdout and stderr.
type tty struct {
	f       *os.File
	keys    atomic.Int64 // read so far
	visible bool         // what is typed is shown
}

// show writes text that only the person in front of the terminal may see.
func (t *tty) show(text string) error {
	_, err := t.f.WriteString(text)
	return err
}

// columns is how wide the terminal is, 0 if it does not say.
func (t *tty) columns() (columns int) {
	_ = t.control(func(fd int) (err error) {
		columns, _, err = term.GetSize(fd)
		return err
	})
	return columns
}

func openTTY() (*tty, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &tty{f: f}, nil
}

func (t *tty) close() { _ = t.f.Close() }

// read shows question and reads a line, without echo unless it may be seen.
// Whatever ends it, the terminal is as before afterwards; while the program is
// stopped with ^Z, too.
func (t *tty) read(ctx context.Context, question string, g *guard) (string, error) {
	before, err := t.prepareInput()
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	restore := func() { t.set(ioctlSetTermios, before) }
	defer g.arm(restore)()
	fmt.Fprint(t.f, question)
	entered := false
	defer func() {
		restore()
		if !entered || !t.visible { // the terminal has not shown the Enter itself
			fmt.Fprintln(t.f)
		}
	}()
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, unix.SIGTSTP)
	defer signal.Stop(stops)

	typed := make(chan answer, 1)
	go func() { typed <- t.readLine() }()
	for {
		select {
		case a := <-typed:
			entered = a.err == nil
			return a.text, a.err
		case <-ctx.Done():
			if !isA[*interrupted](context.Cause(ctx)) {
				t.awaitPause(typed)
			}
			t.set(ioctlFlushTermios, before) // what is typed already is nobody's
			// Where terminals cannot be polled the reader stays behind; it
			// ends with the process.
			_ = t.f.SetReadDeadline(time.Unix(1, 0))
			return "", context.Cause(ctx)
		case <-stops:
			restore()
			stopSelf()
			if _, err := t.prepareInput(); err != nil {
				return "", fmt.Errorf("terminal: %w", err)
			}
			fmt.Fprint(t.f, question)
		}
	}
}

// stopSelf stops the program as ^Z does, and returns once it has been
// continued. The Go runtime does not give a signal's default action back, so it
// is SIGSTOP that does it; and where no shell of this session could continue
// the program, it must not be stopped.
func stopSelf() {
	const slack = 200 * time.Millisecond
	mine, err := unix.Getsid(0)
	if err != nil {
		return
	}
	if theirs, err := unix.Getsid(unix.Getppid()); err != nil || theirs != mine {
		return
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
	select {
	case <-continued:
	case <-time.After(slack): // the stop takes effect a moment after the call
	}
}

// awaitPause waits while the person is in the middle of typing, up to Enter or
// until they pause: the rest of a password would be read, and shown, by whatever
// has the terminal next.
func (t *tty) awaitPause(typed <-chan answer) {
	const pause = time.Second
	for before := int64(0); t.keys.Load() != before; {
		before = t.keys.Load()
		select {
		case <-typed:
			return
		case <-time.After(pause):
		}
	}
}

// readLine reads byte by byte: what is typed ahead belongs to the next question.
func (t *tty) readLine() answer {
	var line secretLine
	var b [1]byte
	for {
		if _, err := t.f.Read(b[:]); err != nil {
			if t.visible && errors.Is(err, io.EOF) {
				err = errEndOfInput // ^D, which the terminal has understood
			}
			return answer{err: fmt.Errorf("terminal: %w", err)}
		}
		t.keys.Add(1)
		if done, err := line.feed(b[0]); done {
			return answer{string(line.buf), err}
		}
	}
}

// prepareInput switches echo and line editing off, or on where what is typed
// may be seen; signals keep working.
func (t *tty) prepareInput() (before *unix.Termios, err error) {
	err = t.control(func(fd int) (err error) {
		if before, err = unix.IoctlGetTermios(fd, ioctlGetTermios); err != nil {
			return err
		}
		during := *before
		if t.visible {
			during.Lflag |= unix.ECHO | unix.ICANON
		} else {
			during.Lflag &^= unix.ECHO | unix.ICANON
			during.Cc[unix.VMIN], during.Cc[unix.VTIME] = 1, 0
		}
		during.Lflag |= unix.ISIG
		during.Iflag |= unix.ICRNL
		return unix.IoctlSetTermios(fd, ioctlSetTermios, &during)
	})
	return before, err
}

// set changes the terminal's state; request says whether what has been typed
// and not read is dropped.
func (t *tty) set(request uint, state *unix.Termios) {
	_ = t.control(func(fd int) error { return unix.IoctlSetTermios(fd, request, state) })
}

// control runs f on the descriptor without taking it out of the poller, as
// File.Fd would: a blocked read could not be given up then.
func (t *tty) control(f func(fd int) error) error {
	raw, err := t.f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
