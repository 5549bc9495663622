package durable

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// commit is the state of one Commit, or of finishing somebody else's.
type commit struct {
	*Tx
	journal journal
	stage   string          // our directory for new content, "" before it is made
	open    []openFile      // new content and journal, not flushed yet
	made    []string        // directories, in the order they were made
	dirty   map[string]bool // directories to flush
	held    []heldLock      // in the order taken
	waited  time.Duration   // for locks
}

type openFile struct {
	file *os.File
	path string
}

func (c *commit) run() error {
	if err := c.checkTargets(); err != nil {
		return err
	}
	err := c.prepare()
	if err == nil && len(c.journal.Entries) > 0 {
		return c.carryOut()
	}
	c.undo()
	return err
}

// prepare writes new content to our own directory. Nothing is flushed yet.
func (c *commit) prepare() error {
	for _, op := range c.ops {
		if op.remove {
			continue
		}
		if err := c.makeDirs(filepath.Dir(op.path)); err != nil {
			return err
		}
	}
	if err := c.takeLocks(c.isUpdate); err != nil {
		return err
	}
	for i := range c.ops {
		if err := c.edit(&c.ops[i]); err != nil {
			return err
		}
	}
	c.journal = journal{Version: journalVersion, Stage: stagePrefix + rand.Text()}
	c.stage = ownDir + "/" + c.journal.Stage
	if err := c.makeDir(c.stage); err != nil {
		return err
	}
	for i := range c.ops {
		if err := c.put(&c.ops[i]); err != nil {
			return err
		}
	}
	return nil
}

// edit makes the new content of a file that others change too.
func (c *commit) edit(op *change) error {
	if op.edit == nil {
		return nil
	}
	old, err := c.disk.read(op.path, op.limit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, editErr := op.edit(old)
	if editErr != nil {
		return fmt.Errorf("%s: %w", c.disk.abs(op.path), editErr)
	}
	op.data, op.seen, op.same = data, true, bytes.Equal(data, old)
	if err == nil {
		op.old = fingerprint(old)
	}
	return nil
}

// put writes the new content of one file and notes it in the journal.
func (c *commit) put(op *change) error {
	if op.same {
		return nil
	}
	e := entry{Path: filepath.ToSlash(op.path), Lines: op.edit != nil, Lock: c.isLocked(op.path)}
	e.Old = op.old
	if !op.seen {
		var err error
		if e.Old, err = look(c.disk.read, op.path); err != nil {
			return err
		}
	}
	if op.remove {
		if e.Old != "" {
			c.journal.Entries = append(c.journal.Entries, e)
		}
		return nil
	}
	e.File, e.New = fmt.Sprintf("%03d", len(c.journal.Entries)+1), fingerprint(op.data)
	staged := c.journal.staged(e)
	f, err := c.disk.create(staged, op.data, op.mode)
	if err != nil {
		return fmt.Errorf("preparing %s: %w", c.disk.abs(op.path), err)
	}
	c.open = append(c.open, openFile{f, staged})
	c.journal.Entries = append(c.journal.Entries, e)
	return nil
}

// carryOut makes the change count and puts everything in its place. Once the journal
// is there nothing is taken back: readers see the new state.
func (c *commit) carryOut() error {
	draft, err := c.writeJournal()
	if err == nil {
		err = c.flushAll()
	}
	steps := make([]step, len(c.journal.Entries))
	for i := range steps {
		steps[i] = stepMove
	}
	if err == nil {
		err = c.takeLocks(func(path string) bool { return !c.isUpdate(path) })
	}
	if err == nil {
		err = c.lockStaged(steps)
	}
	if err == nil {
		err = c.disk.rename(draft, journalFile)
	}
	if err != nil {
		c.undo()
		return err
	}
	// It is flushed with what is put in place: if the power goes in between, and the disk
	// has kept some of it and not the journal, the draft tells.
	c.dirty[ownDir] = true
	if err := c.moveAll(steps); err != nil {
		return &UnfinishedError{err}
	}
	return c.finish()
}

// writeJournal writes the journal where it does not count yet.
func (c *commit) writeJournal() (draft string, err error) {
	data, err := c.journal.encode()
	if err != nil {
		return "", err
	}
	draft = c.stage + "/" + draftFile
	f, err := c.disk.create(draft, data, 0o600)
	if err != nil {
		return "", err
	}
	c.open = append(c.open, openFile{f, draft})
	c.dirty[c.stage] = true
	return draft, nil
}

// undo removes what was prepared.
func (c *commit) undo() {
	c.unlock() // its empty files go first
	for _, f := range c.open {
		_ = f.file.Close()
	}
	c.open = nil
	if c.stage != "" {
		c.dropStage(c.stage)
	}
	for i := len(c.made) - 1; i >= 0; i-- {
		_ = c.disk.remove(c.made[i]) // not if somebody uses it by now
	}
}

func (c *commit) dropStage(stage string) {
	if err := c.disk.removeTree(stage); err != nil {
		slog.Debug("staging directory stays", "path", stage, "error", err)
	}
}

// moveAll puts new content in its place, in the order of the journal.
func (c *commit) moveAll(steps []step) error {
	for i, e := range c.journal.Entries {
		if steps[i] == stepNone {
			continue
		}
		err := c.move(e)
		if err != nil {
			err = c.move(e) // what is refused once is often granted a moment later
		}
		if err != nil {
			return err
		}
		c.dirty[filepath.Dir(filepath.FromSlash(e.Path))] = true
	}
	return nil
}

func (c *commit) move(e entry) error {
	to := filepath.FromSlash(e.Path)
	if e.File == "" {
		return c.disk.remove(to)
	}
	err := c.disk.rename(c.journal.staged(e), to)
	if isOtherDevice(err) {
		return c.moveAcross(e, to)
	}
	return err
}

// moveAcross takes new content to a directory on another file system: there it is
// written once more, under a name that whoever finishes the change finds again.
func (c *commit) moveAcross(e entry, to string) error {
	data, err := c.disk.read(c.journal.staged(e), maxContent)
	if err != nil {
		return err
	}
	defer clear(data)
	near := c.journal.near(e)
	if err := c.disk.remove(near); err != nil { // of an earlier try
		return err
	}
	f, err := c.disk.create(near, data, 0o600)
	if err == nil {
		err = c.disk.flush(f, near)
	}
	if err == nil {
		err = c.disk.rename(near, to)
	}
	if err != nil {
		_ = c.disk.remove(near) // if the change is withdrawn nobody looks for it again
	}
	return err
}

// finish flushes what was put in place and takes the journal away.
func (c *commit) finish() error {
	c.unlock()
	if err := c.flushAll(); err != nil {
		return &UnfinishedError{err}
	}
	if err := c.disk.remove(journalFile); err != nil {
		slog.Debug("journal stays, nothing is left to do", "error", err)
		return nil
	}
	c.dropStage(c.stage)
	return nil
}

// flushAll flushes what is open and every dirty directory, side by side: the disk
// does them together.
func (c *commit) flushAll() error {
	flushes := make([]func() error, 0, len(c.open)+len(c.dirty))
	for _, f := range c.open {
		flushes = append(flushes, func() error { return c.disk.flush(f.file, f.path) })
	}
	for dir := range c.dirty {
		flushes = append(flushes, func() error { return c.disk.flushDir(dir) })
	}
	c.open = nil
	clear(c.dirty)
	results := make(chan error, len(flushes))
	for _, flush := range flushes {
		go func() { results <- flush() }()
	}
	var first error
	for range flushes {
		if err := <-results; first == nil {
			first = err
		}
	}
	return first
}

// removeAll makes the changes of a transaction that only removes. The first removal
// makes the rest of no use, so that no journal is needed, and none stands in the way
// on a full disk.
func (c *commit) removeAll() error {
	if c.disk.root == nil {
		return nil // there is no home, or BeginRemoval has said why we cannot get in
	}
	var errs []error
	for _, op := range c.ops {
		if err := plainDirs(c.disk.home, filepath.Dir(op.path), c.disk.stat); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := c.removeOne(op.path); err != nil {
			errs = append(errs, err)
			continue
		}
		c.dirty[filepath.Dir(op.path)] = true
		errs = append(errs, c.removePending(op.path))
	}
	return errors.Join(append(errs, c.flushAll())...)
}

// removePending removes the new content that an interrupted change has for path or for
// what is below it. Nobody can finish that change then as far as path is concerned.
func (c *commit) removePending(path string) error {
	if c.pending == nil {
		return nil
	}
	path = filepath.ToSlash(filepath.Clean(path))
	var errs []error
	for _, e := range c.pending.Entries {
		if e.File != "" && (e.Path == path || strings.HasPrefix(e.Path, path+"/")) {
			errs = append(errs, c.disk.remove(c.pending.staged(e)))
		}
	}
	return errors.Join(errs...)
}

func (c *commit) removeOne(path string) error {
	err := c.disk.remove(path)
	if err == nil {
		return nil
	}
	if info, statErr := c.disk.stat(path); statErr != nil || !info.IsDir() {
		return err
	}
	return c.disk.removeTree(path)
}

// PlainDirs returns an error when one of the directories of rel, below home, is
// something else than a directory. Home itself may be a link to one; a link below
// it is refused with ErrLink, because whoever can plant it could send secrets
// elsewhere. Directories that are missing are no error.
func PlainDirs(home, rel string) error {
	return plainDirs(home, rel, func(path string) (fs.FileInfo, error) { return os.Lstat(Below(home, path)) })
}

func plainDirs(home, rel string, lstat func(string) (fs.FileInfo, error)) error {
	rel = filepath.Clean(rel)
	for end := 0; rel != "." && end < len(rel); {
		next := strings.IndexByte(rel[end+1:], filepath.Separator)
		if end += next + 1; next < 0 {
			end = len(rel)
		}
		info, err := lstat(rel[:end])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s %w", Below(home, rel[:end]), ErrLink)
		case !info.IsDir():
			return fmt.Errorf("%s is not a directory", Below(home, rel[:end]))
		}
	}
	return nil
}
