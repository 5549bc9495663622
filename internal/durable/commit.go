package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxLockWait bounds what one Commit waits for all its locks together.
const maxLockWait = 5 * time.Second

// errBusy says that somebody else holds a lock, or that the locked file was
// replaced while we waited for it.
var errBusy = errors.New("locked by another process")

// checkTargets refuses what a rename must not replace, before anything changes.
func (c *commit) checkTargets() error {
	for _, op := range c.ops {
		if err := PlainDirs(c.home, filepath.Dir(op.path)); err != nil {
			return err
		}
		if op.remove {
			continue
		}
		info, err := os.Lstat(c.abs(op.path))
		if err != nil {
			continue // missing, or the rename will say what is wrong
		}
		// A link is replaced as such, never written through.
		if kind := info.Mode().Type(); kind != 0 && kind != fs.ModeSymlink {
			return fmt.Errorf("%s is not a regular file", c.abs(op.path))
		}
		if err := mayWrite(c.abs(op.path), info); err != nil {
			return err
		}
	}
	return c.checkOwners()
}

// prepare makes the directories that the new files need and our own one.
func (c *commit) prepare() error {
	writes := false
	for _, op := range c.ops {
		if op.remove {
			continue
		}
		writes = true
		if err := c.makeDirs(filepath.Dir(op.path)); err != nil {
			return err
		}
	}
	if !writes {
		return nil
	}
	if err := PlainDirs(c.home, stageParent); err != nil {
		return err
	}
	if err := c.makeDirs(stageParent); err != nil {
		return err
	}
	return c.newStage()
}

// makeDirs makes the directory rel below home and everything above it.
func (c *commit) makeDirs(rel string) error {
	if err := c.makeDir(c.home); err != nil {
		return err
	}
	dir := c.home
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		if part == "." {
			continue
		}
		dir = filepath.Join(dir, part)
		if err := c.makeDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) makeDir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir && dir == c.home {
		if err := c.makeDir(parent); err != nil {
			return err
		}
	}
	if err := c.files.mkdir(dir); err != nil {
		// Another process may have been quicker.
		if info, again := os.Stat(dir); again != nil || !info.IsDir() {
			return err
		}
	}
	c.dirty[filepath.Dir(dir)] = true
	return nil
}

func (c *commit) takeLocks() error {
	for _, r := range c.locks {
		path := c.abs(r.path)
		for tries := int(r.timeout / max(r.retry, time.Millisecond)); ; tries-- {
			l, err := c.files.lock(path)
			if err == nil {
				c.held = append(c.held, heldLock{r.path, l})
				break
			}
			if !errors.Is(err, errBusy) {
				return fmt.Errorf("locking %s: %w", path, err)
			}
			if tries <= 0 || c.waited >= maxLockWait {
				return fmt.Errorf("%s was %w for %v", path, errBusy, min(r.timeout, maxLockWait))
			}
			c.wait(r.retry)
			c.waited += r.retry
		}
	}
	return nil
}

// lockStaged also locks the new files that will take the place of locked ones:
// whoever opens the new file while we work waits as it would have for the old.
func (c *commit) lockStaged() error {
	if !lockIsOnData {
		return nil
	}
	for _, h := range c.held { // what is appended below is not visited
		for i := range c.ops {
			if c.ops[i].path != h.path || c.ops[i].staged == "" {
				continue
			}
			l, err := c.files.lock(c.ops[i].staged)
			if err != nil {
				return err
			}
			c.held = append(c.held, heldLock{h.path, l})
		}
	}
	return nil
}

// unlockBelow releases the locks of files in directories below home, whose
// renames are done. Others do not wait long for them, and a flush can take long.
func (c *commit) unlockBelow() {
	c.held = slices.DeleteFunc(c.held, func(h heldLock) bool {
		below := filepath.Dir(h.path) != "."
		if below {
			h.lock.release(false)
		}
		return below
	})
}

// finish releases the locks and clears our directory away.
func (c *commit) finish(failed bool) {
	for i := len(c.held) - 1; i >= 0; i-- {
		c.held[i].lock.release(failed)
	}
	c.dropStage()
}

// PlainDirs returns an error when one of the directories of rel, below home, is
// something else than a directory. Home itself may be a link to one; a link below
// it is refused with ErrLink, because whoever can plant it could send secrets
// elsewhere. Directories that are missing are no error.
func PlainDirs(home, rel string) error {
	rel = filepath.Clean(rel)
	for end := 0; rel != "." && end < len(rel); {
		next := strings.IndexByte(rel[end+1:], filepath.Separator)
		if end += next + 1; next < 0 {
			end = len(rel)
		}
		dir := filepath.Join(home, rel[:end])
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s %w", dir, ErrLink)
		case !info.IsDir():
			return fmt.Errorf("%s is not a directory", dir)
		}
	}
	return nil
}
