package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// files is everything that a commit does to the disk. Tests put a recording or
// failing twin in its place.
type files interface {
	mkdir(path string) error // one level, mode 0700; an error when it exists
	create(path string, data []byte, mode fs.FileMode) error
	rename(from, to string) error
	remove(path string) error // file, link or tree; missing is no error
	syncDir(path string) error
	lock(path string) (lock, error) // without waiting; errBusy
}

// lock is a lock that is held.
type lock interface {
	// release gives the lock back. After a failed commit a file that was only
	// made to be locked goes away again.
	release(failed bool)
}

// diskFiles is the real disk.
type diskFiles struct{}

func (diskFiles) mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	// The umask may have taken our own permissions away.
	return os.Chmod(path, 0o700)
}

// create writes a new file and flushes it. The mode holds from the first
// instant, whatever the umask adds or removes later.
func (diskFiles) create(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode))
	if err == nil {
		// A flush that fails has lost the data for good: the error is final.
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (diskFiles) rename(from, to string) error { return rename(from, to) }

func (diskFiles) remove(path string) error {
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if info, statErr := os.Lstat(path); statErr != nil || !info.IsDir() {
		return err
	}
	return os.RemoveAll(path)
}

func (diskFiles) syncDir(path string) error { return syncDir(filepath.Clean(path)) }
