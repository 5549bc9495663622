//go:build unix

package doctor

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// mayWrite asks whether files can be made in a directory.
func mayWrite(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

// exposed says what others can do with the file that they should not; "" for nothing.
func (f file) exposed() string {
	switch perm := f.info.Mode().Perm(); {
	case f.secret && f.info.Mode().IsRegular() && perm&0o044 != 0:
		return describeMode(f.info, "read")
	case perm&0o022 != 0, f.secret && f.info.Mode().IsRegular() && perm&0o077 != 0:
		return describeMode(f.info, "change")
	}
	return ""
}

func describeMode(info fs.FileInfo, what string) string {
	return fmt.Sprintf("other users can %s it (mode %04o)", what, info.Mode().Perm())
}
