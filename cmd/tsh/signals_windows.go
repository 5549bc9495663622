package main

import (
	"os"
	"syscall"
)

// endSignals ask the program to stop: ^C and ^Break, and the console closing.
func endSignals() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM}
}
