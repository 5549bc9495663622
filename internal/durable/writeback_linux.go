package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// startFlush has the kernel begin to write a file to the disk, so that the flush that
// follows finds most of the work done. It promises nothing.
func startFlush(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}
