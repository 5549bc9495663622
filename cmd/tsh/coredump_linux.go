package main

import "golang.org/x/sys/unix"

// keepOutOfCoreDumps sees to it that a crash writes no keys to the disk. The first
// call is for a core file, the second for a program that the kernel pipes cores to,
// and keeps other processes of the same user from reading our memory.
func keepOutOfCoreDumps() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
