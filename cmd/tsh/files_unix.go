//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// leastFiles is how many files have to be open at once for Go's own part of the program,
// which ends it with a page of addresses where it gets none.
const leastFiles = 16

// needFiles ends the program where it may not open enough files for that.
func needFiles() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur < leastFiles {
		_, _ = os.Stderr.WriteString("ERROR: tsh needs 16 open files (ulimit -n)\n")
		os.Exit(exitFailure)
	}
}
