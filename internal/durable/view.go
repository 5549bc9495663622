package durable

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// View is how a reader sees the directory home: with the change that counts and is
// not in place yet, if there is one. It is made for one reading of files that
// belong together, and thrown away.
type View struct {
	home    string
	pending map[string]string // path: where its new content is; "" for removed
}

// Look opens a view of the directory home. It takes no lock and changes nothing.
func Look(home string) *View {
	v := &View{home: home}
	data, err := ReadFile(v.Abs(journalFile), maxJournal)
	if err != nil {
		return v
	}
	j, err := decodeJournal(data)
	if err != nil || !believed(home, j.Stage) {
		return v
	}
	steps, err := j.plan(func(path string, limit int64) ([]byte, error) { return ReadFile(v.Abs(path), limit) })
	if err != nil || steps == nil {
		return v
	}
	v.pending = map[string]string{}
	for i, e := range j.Entries {
		switch {
		case steps[i] == stepNone:
		case e.File == "":
			v.pending[e.Path] = ""
		default:
			v.pending[e.Path] = v.Abs(j.staged(e))
		}
	}
	return v
}

// Abs returns the name of the file path, relative to home, on the disk.
func (v *View) Abs(path string) string { return Below(v.home, path) }

// ReadFile is ReadFile for a path relative to home.
func (v *View) ReadFile(path string, limit int64) ([]byte, error) {
	return through(v, path, func(p string) ([]byte, error) { return ReadFile(p, limit) })
}

// ReadPrivate is ReadPrivate for a path relative to home.
func (v *View) ReadPrivate(path string, limit int64) (data []byte, exposed fs.FileMode, err error) {
	data, err = through(v, path, func(p string) ([]byte, error) {
		data, exposed, err = ReadPrivate(p, limit)
		return data, err
	})
	return data, exposed, err
}

// Stat is os.Stat for a path relative to home.
func (v *View) Stat(path string) (fs.FileInfo, error) { return through(v, path, os.Stat) }

// Lstat is os.Lstat for a path relative to home.
func (v *View) Lstat(path string) (fs.FileInfo, error) { return through(v, path, os.Lstat) }

// ReadDir is os.ReadDir for a path relative to home.
func (v *View) ReadDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(v.Abs(dir))
	if len(v.pending) == 0 || err != nil {
		return entries, err // directories are made before the change counts
	}
	dir = filepath.ToSlash(filepath.Clean(dir))
	others := entries[:0]
	for _, e := range entries {
		if _, waits := v.pending[path.Join(dir, e.Name())]; !waits {
			others = append(others, e)
		}
	}
	entries = others
	for p := range v.pending {
		if path.Dir(p) != dir {
			continue
		}
		if info, err := v.Lstat(p); err == nil {
			entries = append(entries, stagedEntry{fs.FileInfoToDirEntry(info), path.Base(p)})
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// stagedEntry is a file that has another name until it is in place.
type stagedEntry struct {
	fs.DirEntry
	name string
}

func (e stagedEntry) Name() string { return e.name }

// through reads a path where its content is now. New content may be put in place
// at this moment, and is then found there.
func through[T any](v *View, path string, read func(string) (T, error)) (T, error) {
	at, waits := v.pending[filepath.ToSlash(path)]
	if waits && at == "" {
		var none T
		return none, &fs.PathError{Op: "open", Path: v.Abs(path), Err: fs.ErrNotExist}
	}
	if waits {
		if got, err := read(at); !errors.Is(err, fs.ErrNotExist) {
			return got, err
		}
	}
	return read(v.Abs(path))
}
