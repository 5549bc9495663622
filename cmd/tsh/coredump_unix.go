//go:build unix && !linux

package main

import "golang.org/x/sys/unix"

// keepOutOfCoreDumps sees to it that a crash writes no keys to the disk.
func keepOutOfCoreDumps() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }
