package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"
)

// begin takes our lock and clears the way.
func (t *Tx) begin() error {
	if err := t.prepare(); err != nil {
		return err
	}
	if err := t.takeOwn(); err != nil {
		return err
	}
	return t.settle(maxLockWait)
}

// prepare makes the directory that our files are in.
func (t *Tx) prepare() error {
	if err := mayWriteTo(t.disk.home); err != nil {
		return err
	}
	if err := t.disk.open(); err != nil {
		return err
	}
	c := &commit{Tx: t, dirty: map[string]bool{}}
	if err := plainDirs(t.disk.home, ownDir, t.disk.stat); err != nil {
		return err
	}
	if err := c.makeDirs(ownDir); err != nil {
		return err
	}
	return c.closeOwn()
}

// closeOwn makes sure that nobody else can write to where our journal is. Somebody may
// have made config, for a file of settings, with the permissions of a shared umask.
func (c *commit) closeOwn() error {
	for _, dir := range []string{"config", ownDir} {
		if err := c.checkOwner(dir); err != nil {
			return err
		}
		info, err := c.disk.stat(dir)
		if err != nil || !info.IsDir() || !othersMayWrite(info) {
			continue // what is missing is made closed
		}
		if err := c.disk.closeToOthers(dir, info.Mode()); err != nil {
			return err
		}
	}
	return nil
}

// beginRemoval takes our lock if there can be one.
func (t *Tx) beginRemoval() error {
	if err := t.disk.openExisting(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing is there to be removed
		}
		return err
	}
	if err := plainDirs(t.disk.home, ownDir, t.disk.stat); err != nil {
		return err
	}
	if _, err := t.disk.stat(ownDir); errors.Is(err, fs.ErrNotExist) {
		return nil // none of us has ever written here
	}
	c := &commit{Tx: t}
	if err := c.closeOwn(); err != nil {
		return err
	}
	if err := t.takeOwn(); err != nil {
		return err
	}
	return t.settle(maxLockWait)
}

// settle finishes what a killed process began, under our lock, and clears away what
// it left: that may be private keys. Patience is for the locks of other clients.
func (t *Tx) settle(patience time.Duration) error {
	if err := t.finishJournal(patience); err != nil {
		// It is not the caller's change that counts.
		var unfinished *UnfinishedError
		if errors.As(err, &unfinished) {
			err = unfinished.Err
		}
		return fmt.Errorf("finishing an interrupted change: %w", err)
	}
	for _, name := range t.stages() {
		path := filepath.Join(ownDir, name)
		if err := t.finishDraft(name, patience); err != nil {
			return fmt.Errorf("finishing an interrupted change: %w", err)
		}
		if err := t.disk.removeTree(path); err != nil {
			slog.Debug("staging directory stays", "path", path, "error", err)
		}
	}
	return nil
}

// stages are the staging directories of processes that are no more: while we have
// the lock nobody else has one.
func (t *Tx) stages() (names []string) {
	entries, err := t.disk.list(ownDir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && isStage(e.Name()) && ours(info) {
			names = append(names, e.Name())
		}
	}
	return names
}

func (t *Tx) finishJournal(patience time.Duration) error {
	j, err := t.readJournal()
	if err != nil || j == nil {
		return err
	}
	t.pending = j
	c := &commit{Tx: t, journal: *j, stage: ownDir + "/" + j.Stage, dirty: map[string]bool{}}
	defer c.unlock()
	for _, e := range j.Entries {
		if path := filepath.FromSlash(e.Path); e.Lock && c.reachable(path) {
			if err := c.takeLock(lockRequest{path, patience, 10 * time.Millisecond}); err != nil {
				return err
			}
		}
	}
	steps, err := c.journal.plan(c.disk.read)
	if err != nil {
		return err
	}
	if steps == nil {
		steps = make([]step, len(j.Entries))
	}
	if err := c.complete(steps); err != nil {
		return err
	}
	t.pending = nil
	for _, e := range j.Entries {
		if e.File != "" && c.reachable(filepath.FromSlash(e.Path)) {
			_ = c.disk.remove(j.near(e)) // where another client has taken over
		}
	}
	return nil
}

// finishDraft finishes the change of a stage whose journal never counted as far as the
// disk knows, although something of it is in place: the power went in between.
func (t *Tx) finishDraft(stage string, patience time.Duration) error {
	draft := ownDir + "/" + stage + "/" + draftFile
	data, err := t.disk.read(draft, maxJournal)
	if err != nil {
		return nil // killed before it was written
	}
	j, err := decodeJournal(data)
	if err != nil || j.Stage != stage || !j.begun(t.disk.read) {
		return nil
	}
	if err := t.disk.rename(draft, journalFile); err != nil {
		return err
	}
	return t.finishJournal(patience)
}

// readJournal returns the journal that is there, nil if there is none that counts: what
// is none is removed.
func (t *Tx) readJournal() (*journal, error) {
	data, err := t.disk.read(journalFile, maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j, err := decodeJournal(data)
	if err == nil && !believed(t.disk.home, j.Stage) {
		err = errors.New("others can write to it, or to where it is")
	}
	if errors.Is(err, errNewer) {
		return nil, fmt.Errorf("%s %w", t.disk.abs(journalFile), err)
	}
	if err != nil {
		slog.Debug("journal is not used", "error", err)
		return nil, t.disk.remove(journalFile)
	}
	return j, nil
}

// reachable reports whether the directory of path is there and one of ours.
func (c *commit) reachable(path string) bool {
	dir := filepath.Dir(path)
	if err := plainDirs(c.disk.home, dir, c.disk.stat); err != nil {
		return false
	}
	_, err := c.disk.stat(dir)
	return err == nil
}

// complete carries out the steps that are left of a journal.
func (c *commit) complete(steps []step) error {
	for i, e := range c.journal.Entries {
		if steps[i] == stepNone {
			continue
		}
		dir := filepath.Dir(filepath.FromSlash(e.Path))
		if err := plainDirs(c.disk.home, dir, c.disk.stat); err != nil {
			return err
		}
		if steps[i] == stepMerge {
			if err := c.merge(&c.journal.Entries[i], i); err != nil {
				return err
			}
		}
	}
	if err := c.flushAll(); err != nil {
		return err
	}
	if err := c.lockStaged(steps); err != nil {
		return err
	}
	if err := c.moveAll(steps); err != nil {
		return err
	}
	return c.finish()
}

// merge makes the new content of a file to which others have added lines.
func (c *commit) merge(e *entry, i int) error {
	now, err := c.disk.read(e.Path, maxContent)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ours, err := c.disk.read(c.journal.staged(*e), maxContent)
	if err != nil {
		return err
	}
	e.File = fmt.Sprintf("%03d", len(c.journal.Entries)+i+1)
	staged := c.journal.staged(*e)
	if err := c.disk.remove(staged); err != nil { // of an earlier try
		return err
	}
	f, err := c.disk.create(staged, addLines(now, ours), 0o600)
	if err != nil {
		return err
	}
	c.open = append(c.open, openFile{f, staged})
	return nil
}

// Settle finishes what a killed process began in the directory home, and clears away what
// it left, if nobody else is at it and no lock has to be waited for: a View shows it
// anyway, other clients do not see it before. Only the owner of everything involved does
// it. It costs one look where there is nothing to do.
func Settle(ctx context.Context, home string) error {
	t := newTx(ctx, home)
	defer t.Close()
	if PlainDirs(home, ownDir) != nil || t.disk.openExisting() != nil {
		return nil
	}
	if _, err := t.disk.stat(journalFile); err != nil && len(t.stages()) == 0 {
		return nil
	}
	c := &commit{Tx: t}
	if err := errors.Join(mayWriteTo(home), c.closeOwn()); err != nil {
		return err
	}
	l, err := t.tryOwn()
	if errors.Is(err, errBusy) {
		return nil // its owner finishes it
	}
	if err != nil {
		return err
	}
	t.own = l
	return t.settle(0)
}

// Leftovers returns what killed processes left below home, which the next Tx clears
// away: a change that counts and is not in place, staging directories.
func Leftovers(home string) (paths []string) {
	t := newTx(context.Background(), home)
	if err := PlainDirs(home, ownDir); err != nil || t.disk.openExisting() != nil {
		return nil
	}
	defer t.Close()
	if release, ok := tryShared(t.disk.abs(filepath.FromSlash(lockPath)), true); ok {
		release()
	} else {
		return nil // they are of the process that works there now
	}
	if _, err := t.disk.stat(journalFile); err == nil {
		paths = append(paths, t.disk.abs(filepath.FromSlash(journalFile)))
	}
	for _, name := range t.stages() {
		paths = append(paths, t.disk.abs(filepath.Join(ownDir, name)))
	}
	return paths
}

// checkTargets refuses what a rename must not replace, before anything changes.
func (c *commit) checkTargets() error {
	for _, op := range c.ops {
		if err := plainDirs(c.disk.home, filepath.Dir(op.path), c.disk.stat); err != nil {
			return err
		}
		if op.remove {
			continue
		}
		info, err := c.disk.stat(op.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		// A link is replaced as such, never written through.
		if kind := info.Mode().Type(); kind != 0 && kind != fs.ModeSymlink {
			return fmt.Errorf("%s is not a regular file", c.disk.abs(op.path))
		}
		if err := mayWrite(c.disk.abs(op.path), info); err != nil {
			return err
		}
	}
	return c.checkOwners()
}

// makeDirs makes the directory rel below home and everything between.
func (c *commit) makeDirs(rel string) error {
	dir := ""
	for _, part := range strings.Split(filepath.ToSlash(rel), "/") {
		if part == "." {
			continue
		}
		dir = filepath.Join(dir, part)
		info, err := c.disk.stat(dir)
		switch {
		case err == nil && info.IsDir():
			continue
		case err == nil:
			return fmt.Errorf("%s is not a directory", c.disk.abs(dir))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := c.makeDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) makeDir(dir string) error {
	if err := c.disk.mkdir(dir); err != nil {
		// Another process may have been quicker.
		if info, again := c.disk.stat(dir); again != nil || !info.IsDir() {
			return err
		}
		return nil
	}
	c.made = append(c.made, dir)
	c.dirty[filepath.Dir(dir)] = true
	return nil
}
