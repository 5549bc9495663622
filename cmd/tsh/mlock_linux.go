package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockMemory keeps all pages of the program, those to come as well, in memory from
// when they are first used. Where a limit would be met later, with some allocation,
// nothing is locked: the program would end there. For root there is none, unless the
// system says so at once.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Cur != unix.RLIM_INFINITY && os.Geteuid() != 0 {
		return fmt.Errorf("no more than %d KiB may be locked", limit.Cur>>10)
	}
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
}
