package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// OwnerError is returned for a file or directory of another user than the one
// who runs the program, who could read or change what we keep there. What root
// owns is nobody else's; root itself may read everything and writes only to its
// own directories.
type OwnerError struct {
	Path string
	UID  int // of the owner
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s belongs to another user (uid %d)", e.Path, e.UID)
}

// CheckOwners looks at files and directories that are about to be read and
// trusted: the first one that belongs to another user is an *OwnerError. Loose
// are the directories among them that others than the owner may write to. A path
// that is missing is passed over. On Windows, where access lists decide, nothing
// is found.
func CheckOwners(paths ...string) (loose []string, err error) {
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil {
			continue // reading it says what is wrong
		}
		if err := mayRead(path, info); err != nil {
			return nil, err
		}
		if info.Mode()&os.ModeSymlink != 0 { // home may be one
			if info, err = os.Stat(path); err != nil {
				continue
			}
			if err := mayRead(path, info); err != nil {
				return nil, err
			}
		}
		if info.IsDir() && othersMayWrite(info) {
			loose = append(loose, path)
		}
	}
	return loose, nil
}

// mayWriteTo refuses a home of another user. One that is missing is ours to make, but
// not for root in the directory of another user.
func mayWriteTo(home string) error {
	for dir := home; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case err == nil && (dir == home || os.Geteuid() == 0):
			return mayWrite(dir, info)
		case err == nil, !errors.Is(err, fs.ErrNotExist), dir == filepath.Dir(dir):
			return nil // opening it says what is wrong
		}
	}
}

// believed reports whether a journal below home and its staging directory can only be of
// those who may change home anyway. What others can write to is no word of ours.
func believed(home, stage string) bool {
	owner, err := os.Stat(home)
	if err != nil {
		return false
	}
	for _, path := range []string{"config", ownDir, journalFile, ownDir + "/" + stage} {
		info, err := os.Lstat(filepath.Join(home, filepath.FromSlash(path)))
		if errors.Is(err, fs.ErrNotExist) && path != journalFile {
			continue // it is done with
		}
		if err != nil || info.Mode()&os.ModeSymlink != 0 || othersMayWrite(info) || !ownedLike(info, owner) {
			return false
		}
	}
	return true
}

// checkOwners refuses to write below a directory of another user.
func (c *commit) checkOwners() error {
	seen := map[string]bool{}
	for _, op := range c.ops {
		for dir := filepath.Dir(op.path); !op.remove && dir != "." && !seen[dir]; dir = filepath.Dir(dir) {
			seen[dir] = true
			if err := c.checkOwner(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *commit) checkOwner(dir string) error {
	info, err := c.disk.stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return mayWrite(c.disk.abs(dir), info)
}

// Protect takes the permissions of others away from the file or directory path, which
// must be ours: 0600 and 0700 are what is left. It returns the permissions that path
// had; a link, a directory that many share (with the sticky bit), and what belongs to
// another user (*OwnerError), is not touched. On Windows, where access lists decide, nothing is done.
func Protect(path string) (had fs.FileMode, err error) { return protect(path) }
