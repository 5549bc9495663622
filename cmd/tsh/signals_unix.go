//go:build unix

package main

import (
	"os"
	"syscall"
)

// endSignals ask the program to stop.
func endSignals() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
}
