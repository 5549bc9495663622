//go:build unix

package main

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchWord is the argument that makes the program the watcher of a terminal.
const watchWord = "__watch-terminal"

// ttyStates are what a watcher has to know of a terminal: how it was, and how it is
// during the session.
type ttyStates struct{ before, raw unix.Termios }

func (s *ttyStates) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(s)), unsafe.Sizeof(*s))
}

// watchTerminal starts a watcher: a process of its own that puts the terminal back into
// the state before, should this one be killed or crash during the session. It is out of
// reach of what ends us and our group. Starting it takes a moment that nobody waits
// for; where it cannot be started the session goes on without.
func watchTerminal(in *os.File, before *unix.Termios) (dismiss func()) {
	started := make(chan *os.File, 1)
	go func() {
		w, err := startWatcher(in, before)
		if err != nil {
			slog.Debug("nobody watches the terminal", "error", err)
		}
		started <- w
	}()
	return func() {
		if w := <-started; w != nil {
			_, _ = w.Write([]byte{0})
			_ = w.Close()
		}
	}
}

func startWatcher(in *os.File, before *unix.Termios) (*os.File, error) {
	raw, err := unix.IoctlGetTermios(int(in.Fd()), ioctlGetTermios)
	if err != nil || before == nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: program, Args: []string{"tsh", watchWord}, Env: []string{}, Dir: "/",
		Stdin: r, ExtraFiles: []*os.File{in}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	states := ttyStates{*before, *raw}
	if _, err = w.Write(states.bytes()); err == nil { // there is room in a pipe, so we may end now
		err = cmd.Start()
	}
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	go func() { _ = cmd.Wait() }()
	return w, nil
}

// beWatcher is the watcher's whole life: if standard input ends without a word, the
// process that wrote the states is gone. A terminal that is in another state than that
// one left it in has found somebody else who cares for it.
func beWatcher(args []string) bool {
	const terminal = 3 // the first of ExtraFiles
	if len(args) != 2 || args[1] != watchWord {
		return false
	}
	var states ttyStates
	if _, err := io.ReadFull(os.Stdin, states.bytes()); err != nil {
		return true
	}
	if n, _ := os.Stdin.Read(make([]byte, 1)); n > 0 {
		return true
	}
	if now, err := unix.IoctlGetTermios(terminal, ioctlGetTermios); err == nil && *now == states.raw {
		_ = unix.IoctlSetTermios(terminal, ioctlSetTermios, &states.before)
	}
	return true
}

// ttyState is the state of a terminal, nil where there is none.
func ttyState(f *os.File) *unix.Termios {
	state, err := unix.IoctlGetTermios(int(f.Fd()), ioctlGetTermios)
	if err != nil {
		return nil
	}
	return state
}
