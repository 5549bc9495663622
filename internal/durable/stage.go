package durable

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

const (
	stageParent = "config/tsh" // below home; other clients leave config alone
	stagePrefix = "tx-"
	// A running commit holds the lock on this file in its stage directory.
	stageLock  = "stage.lock"
	stageTries = 10
)

// newStage makes our own directory for new content and locks it. Whoever sweeps
// between the two takes the directory away: another one is made then.
func (c *commit) newStage() error {
	for try := 1; ; try++ {
		c.stage = filepath.Join(c.home, stageParent, stagePrefix+rand.Text())
		err := c.files.mkdir(c.stage)
		if err == nil {
			c.stageLock, err = c.files.lock(filepath.Join(c.stage, stageLock))
		}
		swept := errors.Is(err, errBusy) || errors.Is(err, fs.ErrNotExist)
		if err == nil || !swept || try == stageTries {
			return err
		}
	}
}

// dropStage clears our directory away.
func (c *commit) dropStage() {
	if c.stage == "" {
		return
	}
	if err := removeStage(c.files, c.stage, c.stageLock); err != nil {
		slog.Debug("staging directory stays", "path", c.stage, "error", err)
	}
}

// removeStage removes a stage directory under its lock (nil for none) and
// releases the lock.
func removeStage(f files, dir string, l lock) error {
	if l != nil {
		if lockIsOnData {
			defer l.release(false)
		} else {
			l.release(false) // a file that is open cannot be removed
		}
	}
	return f.remove(dir)
}

// Sweep removes the stage directories below home that no running Commit holds:
// what killed processes left there may be private keys. Directories of other
// users and other names are not touched. It returns the directories that stay,
// because they are in use or cannot be removed. Every Commit does it too.
func Sweep(home string) (left []string) { return sweep(diskFiles{}, home) }

func sweep(f files, home string) (left []string) {
	if err := PlainDirs(home, stageParent); err != nil {
		return nil
	}
	parent := filepath.Join(home, stageParent)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		info, err := e.Info()
		if err != nil || !e.IsDir() || !strings.HasPrefix(e.Name(), stagePrefix) || !ours(info) {
			continue
		}
		l, err := f.lock(filepath.Join(path, stageLock))
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process was quicker
		}
		if err == nil {
			slog.Debug("removing what a killed process left", "path", path)
			err = removeStage(f, path, l)
		}
		if err != nil {
			slog.Debug("staging directory stays", "path", path, "error", err)
			left = append(left, path)
		}
	}
	return left
}
