//go:build unix

package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// foreign reports whether uid is neither us nor root.
func foreign(uid uint32) bool { return uid != 0 && int(uid) != os.Geteuid() }

func mayRead(path string, info fs.FileInfo) error {
	err := mayWrite(path, info)
	if err != nil && os.Geteuid() == 0 {
		return nil
	}
	return err
}

func mayWrite(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && foreign(st.Uid) {
		return &OwnerError{path, int(st.Uid)}
	}
	return nil
}

// ours reports whether a leftover is of our own making; root clears everything.
func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (int(st.Uid) == os.Geteuid() || os.Geteuid() == 0)
}

func othersMayWrite(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

func protect(path string) (had fs.FileMode, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() {
		return 0, &OwnerError{path, int(st.Uid)}
	}
	had = info.Mode().Perm()
	if info.Mode()&fs.ModeSticky != 0 {
		return had, &fs.PathError{Op: "chmod", Path: path, Err: errors.New("is a directory that many share")}
	}
	if info.IsDir() {
		return had, f.Chmod(0o700)
	}
	return had, f.Chmod(had & 0o600)
}

// ownedLike reports whether a file belongs to us or root, or for root to whom its
// directory belongs.
func ownedLike(info, dir fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !foreign(st.Uid) {
		return ok
	}
	owner, ok := dir.Sys().(*syscall.Stat_t)
	return ok && os.Geteuid() == 0 && owner.Uid == st.Uid
}

// onlyOurs reports whether a file belongs to us and has no other name.
func onlyOurs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && st.Nlink == 1
}
