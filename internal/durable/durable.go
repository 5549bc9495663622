// Package durable changes several files below one directory as one step.
//
// A program gathers changes in a Tx and makes them with Commit: everything is
// first written and flushed in a place of our own (config/tsh below the
// directory, which other clients leave alone), and only then renamed over the
// old files, in the order in which the changes were asked for. What points to
// other files is therefore written last. Readers in this process or another one
// see the old or the new content of a file, never a part of it.
//
// ReadFile and ReadPrivate are the reading side: regular files only, bounded.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// ErrLink is returned for a symbolic link where a file or directory of its own
// is required.
var ErrLink = errors.New("is a symbolic link")

// Tx gathers changes to files below one directory. It is used by one goroutine
// and once: Begin, changes, Commit.
type Tx struct {
	home  string
	ops   []change
	locks []lockRequest
	files files
	wait  func(time.Duration) // between two tries to get a lock
	err   error               // first mistake of the caller
}

type change struct {
	path   string // below home
	data   []byte
	mode   fs.FileMode
	limit  int64
	edit   func(old []byte) ([]byte, error) // not nil: data is made under the locks
	remove bool
	staged string // where the new content waits; "" when there is nothing to do
}

type lockRequest struct {
	path           string
	timeout, retry time.Duration
}

// Begin returns an empty transaction for the directory home, which need not
// exist yet. Nothing is touched before Commit.
func Begin(home string) *Tx {
	return &Tx{home: home, files: diskFiles{}, wait: pause}
}

// Write replaces or creates the file path, relative to home, with data and the
// permissions mode. Missing directories are made with mode 0700. Renames happen
// in the order of the calls.
func (t *Tx) Write(path string, data []byte, mode fs.FileMode) {
	t.add(change{path: path, data: data, mode: mode})
}

// Update is Write for a file that others change too: edit gets the content the
// file has during Commit, with every lock of the transaction held (nil when it
// is missing), and returns the new one. Content that stays equal is not written.
// A file larger than limit bytes or an error from edit ends Commit before
// anything is renamed.
func (t *Tx) Update(path string, mode fs.FileMode, limit int64, edit func(old []byte) ([]byte, error)) {
	t.add(change{path: path, mode: mode, limit: limit, edit: edit})
}

// Remove deletes a file, a link or a whole directory; links are not followed. A
// path that is missing is no error. Removals do not stop at the first error:
// all are tried, and Commit returns what went wrong.
func (t *Tx) Remove(path string) {
	t.add(change{path: path, remove: true})
}

// Lock makes Commit hold the exclusive advisory lock that other clients of the
// same directory take on the file path, from before the first rename to after
// the last. The lock is on the data file itself (on Windows on a companion), so
// a missing file is created empty. Commit gives up after timeout, trying every
// retry, before it has changed anything, with an error that names the file; all
// its locks together are waited for no longer than 5 s. Locks are taken in the
// order of calls.
func (t *Tx) Lock(path string, timeout, retry time.Duration) {
	asked := func(r lockRequest) bool { return r.path == path }
	if t.local(path) && !slices.ContainsFunc(t.locks, asked) {
		t.locks = append(t.locks, lockRequest{path, timeout, retry})
	}
}

func (t *Tx) add(c change) {
	if t.local(c.path) {
		t.ops = append(t.ops, c)
	}
}

func (t *Tx) local(path string) bool {
	ok := filepath.IsLocal(path) && filepath.Clean(path) != "."
	if !ok && t.err == nil {
		t.err = fmt.Errorf("path %q does not lie below %s", path, t.home)
	}
	return ok
}

// Commit makes the changes. It refuses (*OwnerError) to write where directories or
// files belong to another user. An error before the first rename leaves every file
// as it was; an error from a removal comes after everything else was done.
func (t *Tx) Commit() error {
	if t.err != nil {
		return t.err
	}
	if len(t.ops) == 0 {
		return nil
	}
	c := &commit{Tx: t, dirty: map[string]bool{}}
	err := c.run()
	c.finish(err != nil)
	return err
}

// commit is the state of one Commit.
type commit struct {
	*Tx
	stage string          // our directory for new content, "" when not needed
	held  []heldLock      // in the order taken
	dirty map[string]bool // directories to flush
	count int

	stageLock lock          // says that stage is in use
	waited    time.Duration // for locks
}

type heldLock struct {
	path string
	lock lock
}

func (c *commit) run() error {
	if err := c.checkTargets(); err != nil {
		return err
	}
	sweep(c.files, c.home)
	if err := c.prepare(); err != nil {
		return err
	}
	for i := range c.ops {
		if op := &c.ops[i]; !op.remove && op.edit == nil {
			if err := c.put(op); err != nil {
				return err
			}
		}
	}
	if err := c.takeLocks(); err != nil {
		return err
	}
	for i := range c.ops {
		if op := &c.ops[i]; op.edit != nil {
			if err := c.update(op); err != nil {
				return err
			}
		}
	}
	return c.apply()
}

func (c *commit) update(op *change) error {
	old, err := ReadFile(c.abs(op.path), op.limit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := op.edit(old)
	if err != nil {
		return fmt.Errorf("%s: %w", c.abs(op.path), err)
	}
	if bytes.Equal(data, old) {
		return nil
	}
	op.data = data
	return c.put(op)
}

// put writes the new content of one file to our own directory.
func (c *commit) put(op *change) error {
	c.count++
	staged := filepath.Join(c.stage, fmt.Sprintf("%03d", c.count))
	if err := c.files.create(staged, op.data, op.mode); err != nil {
		return fmt.Errorf("preparing %s: %w", c.abs(op.path), err)
	}
	op.staged = staged
	return nil
}

func (c *commit) apply() error {
	if err := c.lockStaged(); err != nil {
		return err
	}
	var removals []error
	for i := range c.ops {
		op := &c.ops[i]
		to := c.abs(op.path)
		// What lies directly in home points to the directories below it. After a
		// power loss it must not be there without them.
		if filepath.Dir(op.path) == "." {
			if !c.changesBelow(i) {
				c.unlockBelow()
			}
			if err := c.flush(); err != nil {
				return err
			}
		}
		switch {
		case op.remove:
			if err := c.files.remove(to); err != nil {
				removals = append(removals, err)
			}
		case op.staged == "":
			continue
		default:
			if err := c.files.rename(op.staged, to); err != nil {
				return err
			}
		}
		c.dirty[filepath.Dir(to)] = true
	}
	return errors.Join(append(removals, c.flush())...)
}

// changesBelow reports whether a change after the i-th one lies in a directory
// below home.
func (c *commit) changesBelow(i int) bool {
	return slices.ContainsFunc(c.ops[i:], func(op change) bool { return filepath.Dir(op.path) != "." })
}

func (c *commit) flush() error {
	for dir := range c.dirty {
		delete(c.dirty, dir)
		if err := c.files.syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (t *Tx) abs(path string) string { return filepath.Join(t.home, path) }

// pause is the wait between two tries.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}
