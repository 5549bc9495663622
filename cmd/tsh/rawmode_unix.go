//go:build unix

package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/seed-087d674e/tsh/sshclient"
)

// prepareOutput has nothing to do: terminals here understand what a shell sends.
func prepareOutput(*os.File) (restore func()) { return func() {} }

// resizes delivers the terminal's size whenever it changes, until leave.
func (t *rawTerminal) resizes() <-chan sshclient.Size {
	sizes := make(chan sshclient.Size)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	go func() {
		defer signal.Stop(changed)
		for {
			select {
			case <-changed:
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
