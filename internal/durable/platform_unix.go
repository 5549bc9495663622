//go:build unix

package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockIsOnData says that the lock is on the data file, so that replacing the
// file by a rename needs a lock on both.
const lockIsOnData = true

// flushesDirs says that a directory has to be flushed for its entries to last.
const flushesDirs = true

func renameIn(root *os.Root, from, to string) error { return root.Rename(from, to) }

// isOtherDevice reports whether a rename failed because the two names are on different
// file systems.
func isOtherDevice(err error) bool { return errors.Is(err, syscall.EXDEV) }

func flushFile(f *os.File) error {
	err := f.Sync() // with F_FULLFSYNC on macOS
	// Some file systems cannot flush a directory and need not.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		if info, statErr := f.Stat(); statErr == nil && info.IsDir() {
			return nil
		}
	}
	return err
}

// ReadFile returns the content of the regular file path. A file of more than
// limit bytes, a link (ErrLink), a pipe, a device or a directory is an error; a
// missing file is fs.ErrNotExist.
func ReadFile(path string, limit int64) ([]byte, error) {
	data, _, err := read(path, limit)
	return data, err
}

// ReadPrivate is ReadFile for a secret. Exposed holds the file's permissions if
// it is ours and others may read or write it, else 0: other clients read such
// files without a word, so it is no reason to refuse them, but one to say so. A
// file of another user is an *OwnerError, unless we are root.
func ReadPrivate(path string, limit int64) (data []byte, exposed fs.FileMode, err error) {
	data, st, err := read(path, limit)
	if err != nil {
		return nil, 0, err
	}
	if foreign(st.Uid) && os.Geteuid() != 0 {
		clear(data)
		return nil, 0, &OwnerError{path, int(st.Uid)}
	}
	if perm := fs.FileMode(st.Mode).Perm(); perm&0o077 != 0 && int(st.Uid) == os.Geteuid() {
		exposed = perm
	}
	return data, exposed, nil
}

// read uses plain system calls: the file is a regular one, so the runtime's
// poller, which os.Open would ask, has nothing to do here.
func read(path string, limit int64) (data []byte, st syscall.Stat_t, err error) {
	fail := func(err error) ([]byte, syscall.Stat_t, error) {
		return nil, syscall.Stat_t{}, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	if strings.IndexByte(path, 0) >= 0 {
		return fail(syscall.EINVAL)
	}
	// O_NONBLOCK: opening a pipe nobody writes to must not hang.
	fd, err := openRetry(path, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, syscall.ELOOP) {
			err = ErrLink
		}
		return fail(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Fstat(fd, &st); err != nil {
		return fail(err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fail(errors.New("not a regular file"))
	}
	if st.Size > limit {
		return fail(fmt.Errorf("%d bytes, more than the %d allowed", st.Size, limit))
	}
	data, err = readAll(fd, st.Size, limit)
	if err != nil {
		return fail(err)
	}
	return data, st, nil
}

func readAll(fd int, size, limit int64) ([]byte, error) {
	data := make([]byte, 0, size+1) // one more, to meet the end in one call
	for {
		n, err := syscall.Read(fd, data[len(data):cap(data)])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		data = data[:len(data)+max(n, 0)]
		switch {
		case int64(len(data)) > limit:
			return nil, fmt.Errorf("grew beyond the %d bytes allowed", limit)
		case len(data) < cap(data):
			return data, nil // a regular file gives less than asked for only at its end
		}
		data = append(data, 0)[:len(data)] // it grew while we read
	}
}

func openRetry(path string, flags int, perm uint32) (int, error) {
	for {
		fd, err := syscall.Open(path, flags, perm)
		if !errors.Is(err, syscall.EINTR) {
			return fd, err
		}
	}
}

// fileLock is flock(2) on the data file.
type fileLock struct {
	_       [0]func() // never compared
	file    *os.File
	root    *os.Root // nil for a reader
	path    string
	created bool
}

const lockFlags = os.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// lockFile takes the exclusive lock that other clients take: flock(2) on the data
// file itself, which is created empty, mode 0600, when it is missing.
func lockFile(root *os.Root, path string) (lock, error) {
	path, err := lockTarget(path, root.Readlink)
	if err != nil {
		return nil, err
	}
	l := &fileLock{path: path, root: root}
	l.file, err = root.OpenFile(path, lockFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		l.file, err = root.OpenFile(path, lockFlags|os.O_CREATE|os.O_EXCL, 0o600)
		l.created = err == nil
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, errBusy // it came and goes: look again
	}
	if err != nil {
		return nil, err
	}
	if err := l.acquire(syscall.LOCK_EX, root.Lstat); err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
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
	f, err := root.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	l := &fileLock{file: f, path: path}
	if err := l.acquire(syscall.LOCK_EX, root.Lstat); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil || !onlyOurs(info) {
		return nil, errors.Join(fmt.Errorf("%s is not a file of ours alone", path), err, f.Close())
	}
	return l, nil
}

// TryShared takes the lock of readers on the file path, without waiting and
// without making the file: while it is held no writer that respects locks is
// between two of its files. ok is false when a writer has the lock now; where
// there is no file there is no lock, and ok is true. Release is never nil.
func TryShared(path string) (release func(), ok bool) { return tryShared(path, false) }

func tryShared(path string, _ bool) (release func(), ok bool) {
	none := func() {}
	path, err := lockTarget(path, os.Readlink)
	if err != nil {
		return none, true
	}
	l := &fileLock{path: path}
	if l.file, err = os.OpenFile(path, lockFlags, 0); err != nil {
		return none, true
	}
	if err := l.acquire(syscall.LOCK_SH, os.Lstat); err != nil {
		_ = l.file.Close()
		return none, !errors.Is(err, errBusy)
	}
	return func() { l.release() }, true
}

func (l *fileLock) acquire(how int, lstat func(string) (fs.FileInfo, error)) error {
	held, err := l.file.Stat()
	if err != nil {
		return err
	}
	if !held.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	err = syscall.Flock(int(l.file.Fd()), how|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
		return errBusy
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		return fmt.Errorf("the file system there has no file locks (%w); TELEPORT_HOME names another directory", err)
	case err != nil:
		return err
	}
	// The file may have been replaced before the lock was ours: a lock on the
	// old one protects nothing.
	now, err := lstat(l.path)
	if err != nil || !os.SameFile(held, now) {
		return errBusy
	}
	return nil
}

func (l *fileLock) release() {
	if l.created && l.root != nil {
		now, err := l.root.Lstat(l.path)
		held, heldErr := l.file.Stat()
		if err == nil && heldErr == nil && now.Size() == 0 && os.SameFile(held, now) {
			_ = l.root.Remove(l.path)
		}
	}
	l.drop()
}

func (l *fileLock) drop() { _ = l.file.Close() } // closing releases the lock

// lockTarget follows one link to a file beside it: where <user>.key is a link to
// <user>, other clients lock what it points to.
func lockTarget(path string, readlink func(string) (string, error)) (string, error) {
	target, err := readlink(path)
	if err != nil {
		return path, nil // not a link, or missing
	}
	if target != filepath.Base(target) || target == "." || target == ".." {
		return "", fmt.Errorf("%s %w to another directory", path, ErrLink)
	}
	return filepath.Join(filepath.Dir(path), target), nil
}
