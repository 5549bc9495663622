package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// disk is everything that a transaction does to the directory home; paths are
// relative to it, and no operation leaves it, whatever links somebody plants
// meanwhile.
type disk struct {
	home string
	root *os.Root

	// hook is asked before every operation; see WithFaults.
	hook func(op, path string) error
	mu   sync.Mutex // around hook: flushes run beside each other
}

func (d *disk) before(op, path string) error {
	if d.hook == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.hook(op, filepath.ToSlash(path)); err != nil {
		return &fs.PathError{Op: op, Path: d.abs(path), Err: err}
	}
	return nil
}

func (d *disk) abs(path string) string { return filepath.Join(d.home, path) }

// open makes home, with the directories above it, and holds on to it.
func (d *disk) open() error {
	if err := d.before("mkdir", "."); err != nil {
		return err
	}
	if err := makeHome(d.home); err != nil {
		return err
	}
	return d.openExisting()
}

// makeHome makes a directory and those above it, mode 0700, whatever the umask
// takes away.
func makeHome(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "open", Path: dir, Err: errors.New("is not a directory")}
	case err == nil, !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := makeHome(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(dir, 0o700)
}

func (d *disk) openExisting() (err error) {
	if err := d.before("open", "."); err != nil {
		return err
	}
	d.root, err = os.OpenRoot(d.home)
	return err
}

func (d *disk) close() {
	if d.root != nil {
		_ = d.root.Close()
		d.root = nil
	}
}

// stat does not follow links.
func (d *disk) stat(path string) (fs.FileInfo, error) {
	if err := d.before("stat", path); err != nil {
		return nil, err
	}
	return d.root.Lstat(path)
}

func (d *disk) read(path string, limit int64) ([]byte, error) {
	if err := d.before("read", path); err != nil {
		return nil, err
	}
	return ReadFile(d.abs(path), limit)
}

func (d *disk) list(path string) ([]fs.DirEntry, error) {
	if err := d.before("list", path); err != nil {
		return nil, err
	}
	dir, err := d.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.ReadDir(-1)
}

// mkdir makes one directory, mode 0700, whatever the umask takes away.
func (d *disk) mkdir(path string) error {
	if err := d.before("mkdir", path); err != nil {
		return err
	}
	if err := d.root.Mkdir(path, 0o700); err != nil {
		return err
	}
	return d.root.Chmod(path, 0o700)
}

// closeToOthers takes the permission to write away from others.
func (d *disk) closeToOthers(path string, mode fs.FileMode) error {
	if err := d.before("chmod", path); err != nil {
		return err
	}
	return d.root.Chmod(path, mode.Perm()&^0o022)
}

// create writes a new file. The mode holds from the first instant, whatever the
// umask adds or removes later. The file stays open, to be flushed.
func (d *disk) create(path string, data []byte, mode fs.FileMode) (*os.File, error) {
	if err := d.before("create", path); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	err = d.before("write", path)
	if errors.Is(err, ErrHalf) {
		data = data[:len(data)/2]
	}
	if err == nil || errors.Is(err, ErrHalf) {
		_, writeErr := f.Write(data)
		err = errors.Join(err, writeErr)
	}
	if err == nil {
		err = d.before("chmod", path)
	}
	if err == nil {
		err = setMode(f, mode)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	startFlush(f)
	return f, nil
}

// setMode gives back what the umask took away.
func setMode(f *os.File, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm() == mode {
		return err
	}
	return f.Chmod(mode)
}

// flush writes a file or directory that is open to the disk and closes it. What a
// failed flush has lost is lost for good: the error is final.
func (d *disk) flush(f *os.File, path string) error {
	err := d.before("fsync", path)
	if err == nil {
		err = flushFile(f)
	}
	if closing := d.before("close", path); err == nil {
		err = closing
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

func (d *disk) flushDir(path string) error {
	if !flushesDirs {
		return nil
	}
	if err := d.before("opendir", path); err != nil {
		return err
	}
	dir, err := d.root.Open(path)
	if err != nil {
		return err
	}
	return d.flush(dir, path)
}

func (d *disk) rename(from, to string) error {
	if err := d.before("rename", to); err != nil {
		return err
	}
	return renameIn(d.root, from, to)
}

// remove deletes a file or a link; missing is no error.
func (d *disk) remove(path string) error {
	if err := d.before("remove", path); err != nil {
		return err
	}
	if err := d.root.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeTree deletes whatever is there.
func (d *disk) removeTree(path string) error {
	if err := d.before("remove", path); err != nil {
		return err
	}
	return d.root.RemoveAll(path)
}

// lock takes the lock on the file path without waiting; errBusy.
func (d *disk) lock(path string) (lock, error) {
	if err := d.before("lock", path); err != nil {
		return nil, err
	}
	l, err := lockFile(d.root, path)
	if err != nil || d.hook == nil {
		return l, err
	}
	return &watchedLock{l, d, path}, nil
}

// lock is a lock that is held.
type lock interface {
	// release gives the lock back. A file that was only made to be locked, and that
	// nobody has written to, goes away again.
	release()
	// drop gives it back as the end of the process does.
	drop()
}

// watchedLock is a lock for a disk with a hook: giving it back may remove a file, which
// a process that was killed does not.
type watchedLock struct {
	lock
	disk *disk
	path string
}

func (l *watchedLock) release() {
	if l.disk.before("release", l.path) != nil {
		l.lock.drop()
		return
	}
	l.lock.release()
}
