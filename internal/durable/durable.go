// Package durable changes several files below one directory as one step that
// survives crashes, full disks and other processes.
//
// A program opens a Tx, gathers changes in it and makes them with Commit. New
// content is first written and flushed in a place of our own (config/tsh below the
// directory, which other clients leave alone) together with a journal that says
// where it belongs. From the moment the journal is there the change counts: a View
// reads through it, and whoever opens the next Tx finishes what a killed process
// did not. Without a journal everything is as it was.
//
// One Tx is open at a time, in all processes: a lock on a file of our own sees to
// that. Other clients do not know that lock; where they have their own, on the data
// files, Commit takes those as well.
//
// WriteFiles is for files elsewhere, in a directory that a person named.
//
// View, ReadFile and ReadPrivate are the reading side: no lock, regular files only,
// bounded.
package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// ErrLink is returned for a symbolic link where a file or directory of its own
// is required.
var ErrLink = errors.New("is a symbolic link")

// UnfinishedError is returned by Commit for a change that counts and is not in
// place yet, because the disk refused. A View sees it; the next Tx finishes it.
type UnfinishedError struct{ Err error }

func (e *UnfinishedError) Error() string {
	return "the change is recorded and not in place yet, the next command finishes it: " + e.Err.Error()
}

// Unwrap returns what the disk refused.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Tx gathers changes to files below one directory, with nobody else of us changing
// anything there. It is used by one goroutine and once: Begin, changes, Commit,
// and Close in any case.
type Tx struct {
	ctx   context.Context
	disk  *disk
	own   lock // nil after Close, and where there is none
	ops   []change
	locks []lockRequest
	wait  func(context.Context, time.Duration) error // between two tries to get a lock
	err   error                                      // first mistake of the caller

	pending *journal // an interrupted change that could not be finished
	trouble error    // of BeginRemoval
}

type change struct {
	path   string // below home
	data   []byte
	mode   fs.FileMode
	limit  int64
	edit   func(old []byte) ([]byte, error) // not nil: data is made under the locks
	remove bool

	// What edit found and made, during Commit.
	seen bool
	old  string // fingerprint
	same bool
}

type lockRequest struct {
	path           string
	timeout, retry time.Duration
}

// Begin opens a transaction for the directory home, which is made, mode 0700, when
// it is missing. It waits up to 5 s for the one that another process has open (a
// *BusyError names that process), finishes what a killed one began, and clears away
// what it left. A home of another user is an *OwnerError. Close must follow.
func Begin(ctx context.Context, home string) (*Tx, error) {
	tx := newTx(ctx, home)
	if err := tx.begin(); err != nil {
		tx.Close()
		return nil, err
	}
	return tx, nil
}

// BeginRemoval is Begin for a transaction that only removes. It makes no directory, and
// always succeeds: to remove secrets nothing is waited for that cannot be had. Trouble
// returns what it could not have.
func BeginRemoval(ctx context.Context, home string) *Tx {
	tx := newTx(ctx, home)
	tx.trouble = tx.beginRemoval()
	return tx
}

// Trouble returns what was wrong when a removal was begun: the lock could not be had, or
// an interrupted change not be finished.
func (t *Tx) Trouble() error { return t.trouble }

func newTx(ctx context.Context, home string) *Tx {
	return &Tx{ctx: ctx, disk: &disk{home: home, hook: faultsIn(ctx)}, wait: pause}
}

// Close ends the transaction; without a Commit before it nothing has changed. It
// may be called again.
func (t *Tx) Close() {
	if t.own != nil {
		t.own.release()
		t.own = nil
	}
	t.disk.close()
}

// Write replaces or creates the file path, relative to home, with data and the
// permissions mode. Missing directories are made with mode 0700. Renames happen
// in the order of the calls.
func (t *Tx) Write(path string, data []byte, mode fs.FileMode) {
	t.add(change{path: path, data: data, mode: mode})
}

// Update is Write for a file of lines that others change too: edit gets the content
// the file has during Commit, with the lock on it held (nil when it is missing), and
// returns the new one. Content that stays equal is not written. A file larger than
// limit bytes or an error from edit ends Commit before anything changed. Should
// another client change the file between a crash and the next Tx, the lines that
// are missing are added to what it left.
func (t *Tx) Update(path string, mode fs.FileMode, limit int64, edit func(old []byte) ([]byte, error)) {
	t.add(change{path: path, mode: mode, limit: limit, edit: edit})
}

// Remove deletes a file or a link, or in a transaction that only removes a whole
// directory; links are not followed. A path that is missing is no error. Without
// Write and Update beside them removals do not stop at the first error: all are
// tried, and Commit returns what went wrong.
func (t *Tx) Remove(path string) {
	t.add(change{path: path, remove: true})
}

// Lock makes Commit hold the exclusive advisory lock that other clients of the
// same directory take on the file path: around the whole Update of the file, around
// the renames for others. The lock is on the data file itself (on Windows on a
// companion), so a missing file is created empty. Commit gives up after timeout,
// trying every retry, before it has changed anything, with a *BusyError; all its
// locks together are waited for no longer than 5 s. Locks are taken in the order of
// calls.
func (t *Tx) Lock(path string, timeout, retry time.Duration) {
	if t.local(path) && !t.isLocked(path) {
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
		t.err = fmt.Errorf("path %q does not lie below %s", path, t.disk.home)
	}
	return ok
}

// Commit makes the changes. It refuses (*OwnerError) to write where directories or
// files belong to another user. After an error everything is as it was, unless the
// error is an *UnfinishedError. An error from a removal comes after all removals
// were tried.
func (t *Tx) Commit() error {
	if t.err != nil {
		return t.err
	}
	if len(t.ops) == 0 {
		return nil
	}
	c := &commit{Tx: t, dirty: map[string]bool{}}
	defer c.unlock()
	for _, op := range t.ops {
		if !op.remove {
			return c.run()
		}
	}
	return c.removeAll()
}

// pause is the wait between two tries.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
