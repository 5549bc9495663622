//go:build unix && !linux

package main

import "golang.org/x/sys/unix"

// lockMemory keeps all pages of the program, those to come as well, in memory. macOS
// says that it cannot.
func lockMemory() error { return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE) }
