//go:build unix

package tshconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const systemFile = "/etc/tsh.yaml"

// checkWriters refuses a file that others than the person and root can write. That a
// group can does not matter where the directory of directories lets nobody else in,
// as that of profiles does not.
func checkWriters(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("belongs to user %d, not to you", st.Uid)
	}
	open := info.Mode().Perm() & 0o022
	if open == 0 {
		return nil
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for range 2 {
		path = filepath.Dir(path)
		dir, err := os.Stat(path)
		if err != nil {
			return err
		}
		if dir.Mode().Perm()&0o010 == 0 { // the group gets no further than here
			open &^= 0o020
		}
		if dir.Mode().Perm()&0o001 == 0 {
			open &^= 0o002
		}
	}
	if open != 0 {
		return errors.New("can be written by others; chmod go-w is the remedy")
	}
	return nil
}
