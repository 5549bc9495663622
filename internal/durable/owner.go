package durable

import (
	"fmt"
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

// checkOwners refuses to write below a directory of another user.
func (c *commit) checkOwners() error {
	seen := map[string]bool{}
	check := func(rel string) error {
		if seen[rel] {
			return nil
		}
		seen[rel] = true
		info, err := os.Stat(c.abs(rel))
		if err != nil {
			return nil // missing, or making it says what is wrong
		}
		return mayWrite(c.abs(rel), info)
	}
	dirs := []string{stageParent}
	for _, op := range c.ops {
		if !op.remove {
			dirs = append(dirs, filepath.Dir(op.path))
		}
	}
	if len(dirs) == 1 {
		return nil // removing what is ours is never wrong
	}
	for _, dir := range dirs {
		for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
			if err := check(dir); err != nil {
				return err
			}
			if dir == "." {
				break
			}
		}
	}
	return nil
}
