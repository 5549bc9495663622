package main

import (
	"os"
	"time"

	"golang.org/x/sys/windows"

	"github.com/seed-087d674e/tsh/sshclient"
)

// prepareOutput has the console act on the escape sequences that a remote
// shell sends.
func prepareOutput(out *os.File) (restore func()) {
	handle := windows.Handle(out.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(handle, &mode); err != nil {
		return func() {} // not a console: nothing to prepare
	}
	wanted := mode | windows.ENABLE_PROCESSED_OUTPUT | windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING
	if err := windows.SetConsoleMode(handle, wanted); err != nil {
		return func() {}
	}
	return func() { _ = windows.SetConsoleMode(handle, mode) }
}

// resizes delivers the console's size whenever it has changed, until leave.
// Consoles send no signal, so the size is looked at now and then.
func (t *rawTerminal) resizes() <-chan sshclient.Size {
	const interval = 250 * time.Millisecond
	sizes := make(chan sshclient.Size)
	go func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		last := t.size()
		for {
			select {
			case <-ticker.C:
			case <-t.stop:
				return
			}
			now := t.size()
			if now == last {
				continue
			}
			last = now
			select {
			case sizes <- now:
			case <-t.stop:
				return
			}
		}
	}()
	return sizes
}
