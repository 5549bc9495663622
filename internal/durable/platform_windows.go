package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// lockIsOnData is false: the lock is on a companion, which nobody renames.
const lockIsOnData = false

// flushesDirs is false: Windows has no flush for a directory.
const flushesDirs = false

// isOtherDevice reports whether a rename failed because the two names are on different
// volumes.
func isOtherDevice(err error) bool { return errors.Is(err, windows.ERROR_NOT_SAME_DEVICE) }

func flushFile(f *os.File) error { return f.Sync() }

// renameIn replaces to. A reader that has the old file open, or a virus scanner,
// can make Windows refuse for a moment: it is tried again for up to two seconds.
func renameIn(root *os.Root, from, to string) error {
	const step, tries = 20 * time.Millisecond, 100
	for n := 0; ; n++ {
		err := root.Rename(from, to)
		busy := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if err == nil || !busy || n == tries {
			return err
		}
		time.Sleep(step)
	}
}

// ReadFile returns the content of the regular file path. A file of more than
// limit bytes, a link (ErrLink), a pipe, a device or a directory is an error; a
// missing file is fs.ErrNotExist.
func ReadFile(path string, limit int64) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, &fs.PathError{Op: "read", Path: path, Err: err} }
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return fail(ErrLink)
	}
	if !info.Mode().IsRegular() {
		return fail(errors.New("not a regular file"))
	}
	if info.Size() > limit {
		return fail(fmt.Errorf("%d bytes, more than the %d allowed", info.Size(), limit))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("grew beyond the %d bytes allowed", limit)
	}
	if err != nil {
		return fail(err)
	}
	return data, nil
}

// ReadPrivate is ReadFile for a secret. On Windows the access list that a file
// inherits from the profile directory decides who reads it; exposed is always 0.
func ReadPrivate(path string, limit int64) (data []byte, exposed fs.FileMode, err error) {
	data, err = ReadFile(path, limit)
	return data, 0, err
}

// fileLock is LockFileEx on a companion of the data file.
type fileLock struct {
	file *os.File
	at   uint64 // the byte that is locked
}

// ownByte is far behind the end: the text in our own lock can be read by others
// while it is locked.
const ownByte = 1 << 40

// lockFile takes the exclusive lock that other clients take: one byte at offset 0
// of <file>.lock.tmp, which is never deleted.
func lockFile(root *os.Root, path string) (lock, error) {
	return openAndLock(root, companion(path), 0)
}

// lockOwn takes the lock on a file of our own, and writes into it who has it.
func lockOwn(root *os.Root, path string) (lock, error) {
	l, err := openOwn(root, path)
	if err != nil {
		return nil, err
	}
	l.write(ownName())
	return l, nil
}

// openOwn takes the lock on a file of our own and leaves the text in it as it is.
func openOwn(root *os.Root, path string) (*fileLock, error) {
	return openAndLock(root, path, ownByte)
}

func openAndLock(root *os.Root, path string, at uint64) (*fileLock, error) {
	f, err := root.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &fileLock{f, at}
	if err := l.acquire(windows.LOCKFILE_EXCLUSIVE_LOCK); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// TryShared takes the lock of readers on the file path, without waiting and
// without making a file: while it is held no writer that respects locks is
// between two of its files. ok is false when a writer has the lock now; where
// there is no file there is no lock, and ok is true. Release is never nil.
func TryShared(path string) (release func(), ok bool) { return tryShared(path, false) }

func tryShared(path string, own bool) (release func(), ok bool) {
	none := func() {}
	l := &fileLock{}
	if own {
		l.at = ownByte
	} else {
		path = companion(path)
	}
	var err error
	if l.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return none, true
	}
	if err := l.acquire(0); err != nil {
		_ = l.file.Close()
		return none, !errors.Is(err, errBusy)
	}
	return func() { l.release() }, true
}

func companion(path string) string {
	if strings.HasSuffix(path, ".lock") {
		return path
	}
	return path + ".lock.tmp"
}

func (l *fileLock) where() *windows.Overlapped {
	return &windows.Overlapped{Offset: uint32(l.at), OffsetHigh: uint32(l.at >> 32)}
}

func (l *fileLock) acquire(how uint32) error {
	err := windows.LockFileEx(windows.Handle(l.file.Fd()), how|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, l.where())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errBusy
	}
	return err
}

func (l *fileLock) release() {
	_ = windows.UnlockFileEx(windows.Handle(l.file.Fd()), 0, 1, 0, l.where())
	_ = l.file.Close()
}

func (l *fileLock) drop() { l.release() }
