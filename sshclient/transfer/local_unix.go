//go:build unix

package transfer

import (
	"io/fs"
	"os"
	"syscall"
)

const windows = false

// openForReading does not wait for who writes into a pipe: it is looked at first.
func openForReading(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

func ownerOf(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int64(st.Uid)
	}
	return -1
}

// identity tells files apart whatever their names are made of.
func identity(fi fs.FileInfo) ([2]uint64, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return [2]uint64{}, false
	}
	return [2]uint64{uint64(st.Dev), uint64(st.Ino)}, true
}

// umask is what the modes of new files lack. It can be had only by setting it; what is
// made in that moment is for this user alone.
func umask() fs.FileMode {
	mask := syscall.Umask(0o077)
	syscall.Umask(mask)
	return fs.FileMode(mask)
}
