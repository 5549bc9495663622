package main

import (
	"os"
	"syscall"
)

// endSignals ask the program to stop: ^C and ^Break, and the console closing.
func endSignals() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM}
}

// survivePipes has nothing to do: a closed pipe is an error like any other.
func survivePipes() (restore func()) { return func() {} }
