package main

import "golang.org/x/sys/unix"

// Requests to get, set, and set and drop what was typed.
const (
	ioctlGetTermios   = unix.TCGETS
	ioctlSetTermios   = unix.TCSETS
	ioctlFlushTermios = unix.TCSETSF
)
