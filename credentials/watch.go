package credentials

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// maxLinks limits the links on the way to a file, as systems do.
const maxLinks = 40

// watcher notices changes in the directories on the way to a file. What it misses, or cannot
// watch, shows when the file is looked at.
type watcher struct {
	notify *fsnotify.Watcher // nil if the system has none to give
	dirs   map[string]stamp  // that are watched
	events <-chan fsnotify.Event
	errors <-chan error
}

func newWatcher() *watcher {
	w := &watcher{dirs: make(map[string]stamp)}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		slog.Debug("no notice of changes, files are looked at now and then", "error", err)
		return w
	}
	w.notify, w.events, w.errors = notify, notify.Events, notify.Errors
	return w
}

func (w *watcher) close() {
	if w.notify != nil {
		_ = w.notify.Close()
	}
}

// follow watches the directories that lead to path, and no others.
func (w *watcher) follow(path string) {
	for range maxLinks {
		if w.notify == nil || !w.followOnce(path) {
			return
		}
	}
}

// followOnce reports whether it watches something that was not watched before: what is
// there may have changed in between.
func (w *watcher) followOnce(path string) (more bool) {
	wanted := dirsToward(path)
	watched := w.notify.WatchList()
	for dir := range w.dirs {
		if !slices.Contains(wanted, dir) {
			_ = w.notify.Remove(dir)
			delete(w.dirs, dir)
		}
	}
	for _, dir := range wanted {
		now := identityOf(dir)
		if w.dirs[dir] == now && slices.Contains(watched, dir) {
			continue
		}
		_ = w.notify.Remove(dir) // another directory of this name
		if err := w.notify.Add(dir); err != nil {
			slog.Debug("a directory is not watched", "dir", dir, "error", err)
			delete(w.dirs, dir)
			continue
		}
		w.dirs[dir], more = now, true
	}
	return more
}

// identityOf tells directories of the same name apart.
func identityOf(dir string) stamp {
	s := stampOf(dir)
	return stamp{device: s.device, inode: s.inode}
}

// dirsToward are the directories in which a change can make path lead elsewhere: that of
// the file, or the last one there is on the way to it, and those with a link on the way.
// Links in the root directory are not followed by rotations but part of the system.
func dirsToward(path string) (dirs []string) {
	at, rest := splitPath(path)
	top := at
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		info, err := os.Lstat(next)
		switch {
		case err != nil, len(rest) == 1 && info.Mode()&os.ModeSymlink == 0:
			dirs = append(dirs, at)
			rest = nil
		case info.Mode()&os.ModeSymlink != 0:
			if at != top {
				dirs = append(dirs, at)
			}
			target, err := os.Readlink(next)
			if links++; err != nil || links > maxLinks {
				return unique(dirs)
			}
			if filepath.IsAbs(target) {
				var first []string
				at, first = splitPath(target)
				rest = append(first, rest[1:]...)
			} else {
				rest = append(strings.Split(filepath.ToSlash(filepath.Clean(target)), "/"), rest[1:]...)
			}
		default:
			at, rest = next, rest[1:]
		}
	}
	return unique(dirs)
}

func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// splitPath is the root that path begins at, and the names on the way from there.
func splitPath(path string) (root string, names []string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return ".", nil
	}
	volume := filepath.VolumeName(path)
	root = volume + string(filepath.Separator)
	rest := strings.Trim(filepath.ToSlash(path[len(volume):]), "/")
	if rest == "" {
		return root, nil
	}
	return root, strings.Split(rest, "/")
}
