//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// endSignals ask the program to stop. The runtime would answer SIGQUIT with the
// stacks of all goroutines, over whatever state the terminal is in.
func endSignals() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
}

// survivePipes has writes to a closed pipe fail, on stdout and stderr as well,
// where the runtime would end the program on the spot. restore undoes it.
func survivePipes() (restore func()) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGPIPE)
	return func() { signal.Stop(ignored) }
}
