//go:build unix

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkWritable finds out whether a login can be stored below home before the person
// goes through it. It makes nothing: what is missing is judged by what it would be
// made in.
func checkWritable(home string) error {
	for dir := filepath.Join(home, "config", "tsh"); ; dir = filepath.Dir(dir) {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)) && dir != filepath.Dir(dir) {
			continue
		}
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			err = unix.ENOTDIR
		}
		if err != nil {
			return &os.PathError{Op: "write to", Path: dir, Err: err}
		}
		return nil
	}
}
