package durable

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	lockPath = ownDir + "/lock"
	// How long a transaction waits for the one before it. Each takes milliseconds.
	ownWait  = 5 * time.Second
	ownRetry = 5 * time.Millisecond
	// maxLockWait bounds what one Commit waits for all locks of others together.
	maxLockWait = 5 * time.Second
)

// errBusy says that somebody else holds a lock, or that the locked file was
// replaced while we waited for it.
var errBusy = errors.New("locked by another process")

// BusyError is returned when a lock could not be had in time.
type BusyError struct {
	_      [0]func()     // never compared
	Path   string        // the file that is locked
	Holder string        // who holds it, "process 123 (tsh)", as far as that can be seen
	Waited time.Duration // for how long we have tried
}

func (e *BusyError) Error() string {
	who := e.Holder
	if who == "" {
		who = "another process"
	}
	if e.Waited == 0 {
		return fmt.Sprintf("%s is locked by %s", e.Path, who)
	}
	return fmt.Sprintf("%s is locked by %s; waited %v", e.Path, who, e.Waited)
}

// takeOwn waits for the lock that lets one transaction at a time in.
func (t *Tx) takeOwn() error {
	for waited := time.Duration(0); ; waited += ownRetry {
		l, err := t.tryOwn()
		if err == nil {
			t.own = l
			return nil
		}
		if !errors.Is(err, errBusy) {
			return fmt.Errorf("locking %s: %w", t.disk.abs(lockPath), err)
		}
		if waited >= ownWait {
			return &BusyError{Path: t.disk.abs(lockPath), Holder: ownHolder(t.disk.home), Waited: ownWait}
		}
		if err := t.wait(t.ctx, ownRetry); err != nil {
			return err
		}
	}
}

func (t *Tx) tryOwn() (lock, error) {
	if err := t.disk.before("lock", lockPath); err != nil {
		return nil, err
	}
	return lockOwn(t.disk.root, lockPath)
}

// ownHolder says who has our lock: as the system tells, or else as it wrote itself.
func ownHolder(home string) string {
	if who := holderOf(filepath.Join(home, filepath.FromSlash(lockPath))); who != "" {
		return who
	}
	data, err := ReadFile(filepath.Join(home, filepath.FromSlash(lockPath)), 256)
	if err != nil {
		return ""
	}
	pid, program, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	if n, err := strconv.Atoi(pid); err != nil || n <= 0 {
		return ""
	}
	return holderName(pid, program)
}

func holderName(pid, program string) string {
	name := "process " + pid
	if program != "" {
		name += " (" + text.Cut(text.Line(program), 64) + ")"
	}
	return name
}

// Lock is a lock that somebody holds.
type Lock struct {
	Path   string
	Holder string // as in BusyError
}

// Locks returns those of the files given, relative to home, that are locked now,
// our own lock included, with their holders. It takes no lock for longer than it
// needs to see.
func Locks(home string, paths ...string) []Lock {
	var held []Lock
	for _, path := range append([]string{lockPath}, paths...) {
		abs := filepath.Join(home, filepath.FromSlash(path))
		release, ok := tryShared(abs, path == lockPath)
		if ok {
			release()
			continue
		}
		who := holderOf(abs)
		if path == lockPath {
			who = ownHolder(home)
		}
		held = append(held, Lock{abs, who})
	}
	return held
}

// takeLocks takes the locks of other clients that are asked for and chosen.
func (c *commit) takeLocks(chosen func(path string) bool) error {
	for _, r := range c.locks {
		if !chosen(r.path) {
			continue
		}
		if err := c.takeLock(r); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) takeLock(r lockRequest) error {
	for tries := int(r.timeout / max(r.retry, time.Millisecond)); ; tries-- {
		l, err := c.disk.lock(r.path)
		if err == nil {
			c.held = append(c.held, heldLock{r.path, l})
			return nil
		}
		path := c.disk.abs(r.path)
		if !errors.Is(err, errBusy) {
			return fmt.Errorf("locking %s: %w", path, err)
		}
		if tries <= 0 || c.waited >= maxLockWait {
			return &BusyError{Path: path, Holder: holderOf(path), Waited: min(r.timeout, maxLockWait)}
		}
		if err := c.wait(c.ctx, r.retry); err != nil {
			return err
		}
		c.waited += r.retry
	}
}

// isUpdate reports whether the new content of path depends on the old one.
func (c *commit) isUpdate(path string) bool {
	for _, op := range c.ops {
		if op.path == path && op.edit != nil {
			return true
		}
	}
	return false
}

func (t *Tx) isLocked(path string) bool {
	for _, r := range t.locks {
		if r.path == path {
			return true
		}
	}
	return false
}

type heldLock struct {
	path string
	lock lock
}

// lockStaged also locks the new files that will take the place of locked ones:
// whoever opens the new file while we work waits as it would have for the old.
func (c *commit) lockStaged(steps []step) error {
	if !lockIsOnData {
		return nil
	}
	locked := map[string]bool{}
	for _, h := range c.held {
		locked[filepath.ToSlash(h.path)] = true
	}
	for i, e := range c.journal.Entries {
		if e.File == "" || steps[i] == stepNone || !locked[e.Path] {
			continue
		}
		l, err := c.disk.lock(c.journal.staged(e))
		if err != nil {
			return err
		}
		c.held = append(c.held, heldLock{e.Path, l})
	}
	return nil
}

// unlock gives back the locks of other clients. They do not wait long for them, and
// a flush can take long.
func (c *commit) unlock() {
	for i := len(c.held) - 1; i >= 0; i-- {
		c.held[i].lock.release()
	}
	c.held = nil
}
