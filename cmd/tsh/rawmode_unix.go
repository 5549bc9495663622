//go:build unix

package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/sshclient"
)

// canSuspend: a shell can stop programs here and continue them.
const canSuspend = true

// prepareOutput has nothing to do: terminals here understand what a shell sends.
func prepareOutput(*os.File) (restore func()) { return func() {} }

// resizes delivers the terminal's size whenever it changes, until leave.
func (t *rawTerminal) resizes() <-chan sshclient.Size {
	sizes := make(chan sshclient.Size)
	signal.Notify(t.resized, unix.SIGWINCH)
	go func() {
		defer signal.Stop(t.resized)
		for {
			select {
			case <-t.resized:
			case <-t.stop:
				return
			}
			select {
			case sizes <- t.size():
			case <-t.stop:
				return
			}
		}
	}()
	return sizes
}

// attend keeps the terminal right while others stop and continue the program.
func (t *rawTerminal) attend() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGTSTP, unix.SIGCONT)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case s := <-signals:
				if s == unix.SIGTSTP {
					t.suspend()
				} else {
					t.resume()
				}
			case <-t.stop:
				return
			}
		}
	}()
}

// suspend stops the program with the terminal as it was, and returns when it has been
// continued.
func (t *rawTerminal) suspend() {
	t.mu.Lock()
	if t.raw {
		_ = term.Restore(int(t.in.Fd()), t.before)
	}
	t.mu.Unlock()
	stopSelf()
	t.resume()
}

// resume is for what may have happened while the program was stopped: the shell has
// taken the terminal back, the window has another size.
func (t *rawTerminal) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.raw {
		return
	}
	_, _ = term.MakeRaw(int(t.in.Fd()))
	select {
	case t.resized <- unix.SIGWINCH:
	default:
	}
}
