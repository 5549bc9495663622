//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// tty is the controlling terminal, opened for questions. Its own open file
// keeps whatever is done to it away from stdin, stdout and stderr.
type tty struct{ f *os.File }

func openTTY() (*tty, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &tty{f}, nil
}

func (t *tty) close() { _ = t.f.Close() }

// readSecret shows question and reads a line without echo. Whatever ends it,
// the terminal is as before afterwards; while the program is stopped with ^Z,
// too.
func (t *tty) readSecret(ctx context.Context, question string) (string, error) {
	before, err := t.hideInput()
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	fmt.Fprint(t.f, question)
	defer func() {
		t.set(before)
		fmt.Fprintln(t.f)
	}()
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, unix.SIGTSTP)
	defer signal.Stop(stops)

	typed := make(chan answer, 1)
	go func() { typed <- t.readLine() }()
	for {
		select {
		case a := <-typed:
			return a.text, a.err
		case <-ctx.Done():
			// Where terminals cannot be polled the reader stays behind; it
			// ends with the process.
			_ = t.f.SetReadDeadline(time.Unix(1, 0))
			return "", context.Cause(ctx)
		case <-stops:
			t.set(before)
			stopSelf()
			if _, err := t.hideInput(); err != nil {
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

type answer struct {
	text string
	err  error
}

// readLine reads byte by byte: what is typed ahead belongs to the next question.
func (t *tty) readLine() answer {
	var line secretLine
	var b [1]byte
	for {
		if _, err := t.f.Read(b[:]); err != nil {
			return answer{err: fmt.Errorf("terminal: %w", err)}
		}
		if done, err := line.feed(b[0]); done {
			return answer{string(line.buf), err}
		}
	}
}

// hideInput switches echo and line editing off; signals keep working.
func (t *tty) hideInput() (before *unix.Termios, err error) {
	err = t.control(func(fd int) (err error) {
		if before, err = unix.IoctlGetTermios(fd, ioctlGetTermios); err != nil {
			return err
		}
		hidden := *before
		hidden.Lflag &^= unix.ECHO | unix.ICANON
		hidden.Lflag |= unix.ISIG
		hidden.Iflag |= unix.ICRNL
		hidden.Cc[unix.VMIN], hidden.Cc[unix.VTIME] = 1, 0
		return unix.IoctlSetTermios(fd, ioctlSetTermios, &hidden)
	})
	return before, err
}

func (t *tty) set(state *unix.Termios) {
	_ = t.control(func(fd int) error { return unix.IoctlSetTermios(fd, ioctlSetTermios, state) })
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
