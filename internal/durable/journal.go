package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	ownDir      = "config/tsh" // below home; other clients leave config alone
	journalFile = ownDir + "/journal"
	stagePrefix = "tx-"
	draftFile   = "journal" // in the stage, until it counts

	journalVersion = 1
	maxJournal     = 256 << 10
	maxEntries     = 512
	// maxContent is the largest file that a change may touch.
	maxContent = 32 << 20
)

// journal says what a change is to make of which files.
type journal struct {
	Version int     `json:"version"`
	Stage   string  `json:"stage"` // directory beside the journal with the new content
	Entries []entry `json:"entries"`
}

// entry is one file. Fingerprints tell whether it is as the change found it, as the
// change leaves it, or has met another client since.
type entry struct {
	_     [0]func() // never compared
	Path  string    `json:"path"`            // below home, with slashes
	File  string    `json:"file,omitempty"`  // new content, in Stage; none: Path is removed
	Old   string    `json:"old,omitempty"`   // fingerprint before; none: missing
	New   string    `json:"new,omitempty"`   // fingerprint of the new content
	Lines bool      `json:"lines,omitempty"` // other clients add lines to it
	Lock  bool      `json:"lock,omitempty"`  // other clients lock it
}

func (j *journal) encode() ([]byte, error) {
	data, err := json.MarshalIndent(j, "", " ")
	if err == nil && (len(data) > maxJournal || len(j.Entries) > maxEntries) {
		err = fmt.Errorf("too many files for one change: %d", len(j.Entries))
	}
	return append(data, '\n'), err
}

// errNewer is a journal that a later version of us has written: it has to finish it.
var errNewer = errors.New("was written by a newer version of this program, which has to finish it")

// decodeJournal reads a journal and makes sure that it names only files below home.
func decodeJournal(data []byte) (*journal, error) {
	var j journal
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, errors.New("is no complete journal")
	}
	switch {
	case j.Version > journalVersion:
		return nil, errNewer
	case j.Version != journalVersion:
		return nil, fmt.Errorf("has the unknown version %d", j.Version)
	case !isStage(j.Stage):
		return nil, fmt.Errorf("names the directory %q", j.Stage)
	case len(j.Entries) > maxEntries:
		return nil, fmt.Errorf("has %d entries", len(j.Entries))
	}
	seen := map[string]bool{}
	for _, e := range j.Entries {
		if err := e.check(); err != nil {
			return nil, err
		}
		if seen[e.Path] {
			return nil, fmt.Errorf("names %q twice", e.Path)
		}
		seen[e.Path] = true
	}
	return &j, nil
}

func (e *entry) check() error {
	local := filepath.FromSlash(e.Path)
	switch {
	case !filepath.IsLocal(local), path.Clean(e.Path) != e.Path, e.Path == ".", strings.ContainsAny(e.Path, "\\\x00"):
		return fmt.Errorf("names the path %q", e.Path)
	case e.Path == journalFile, e.Path == lockPath, strings.HasPrefix(e.Path, ownDir+"/"+stagePrefix):
		return fmt.Errorf("names its own file %q", e.Path)
	case e.File != "" && !isStaged(e.File):
		return fmt.Errorf("names the content %q", e.File)
	case (e.File == "") != (e.New == ""):
		return fmt.Errorf("says two things about %q", e.Path)
	}
	return nil
}

// isStage reports whether name can be one of our staging directories.
func isStage(name string) bool {
	rest, ok := strings.CutPrefix(name, stagePrefix)
	return ok && rest != "" && len(rest) <= 64 && strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

func isStaged(name string) bool {
	return len(name) == 3 && strings.Trim(name, "0123456789") == ""
}

// fingerprint tells one content from another. Missing is "".
func fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// reader reads a file below home; ReadFile with the home it is about.
type reader func(path string, limit int64) ([]byte, error)

// look returns the fingerprint of what is at path now.
func look(read reader, path string) (string, error) {
	data, err := read(path, maxContent)
	switch {
	case err == nil:
		return fingerprint(data), nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, ErrLink):
		return "link", nil // a change replaces links, it never makes them
	}
	return "", err
}

func gone(read reader, path string) bool {
	_, err := read(path, 0)
	return errors.Is(err, fs.ErrNotExist)
}

// bounded is read for one plan, which reads no more than a change can have written.
func bounded(read reader) reader {
	left := int64(2 * maxContent)
	return func(path string, limit int64) ([]byte, error) {
		data, err := read(path, min(limit, left))
		left -= int64(len(data))
		return data, err
	}
}

// step is what is left to do for an entry.
type step int

const (
	stepNone  step = iota // nothing: it is done, or another client has taken over
	stepMove              // the file is as the change found it
	stepMerge             // others have added lines since
	stepLost              // the new content has not reached the disk
	stepTaken             // another client has taken over
)

// plan says what is left to do for each entry. It is nil when the change does not
// count: not all new content has reached the disk.
//
// Another client knows nothing of the journal and may have written files since. It
// writes all files of a login, so that what is left of ours for the same proxy is
// dropped; a half of each would fit nobody.
func (j *journal) plan(read reader) ([]step, error) {
	read = bounded(read)
	steps := make([]step, len(j.Entries))
	taken := map[string]bool{}
	for i, e := range j.Entries {
		s, err := j.stepFor(e, read)
		switch {
		case err != nil:
			return nil, err
		case s == stepLost:
			return nil, nil
		case s == stepTaken:
			taken[group(e.Path)] = true
		}
		steps[i] = s
	}
	for i, e := range j.Entries {
		if taken[group(e.Path)] {
			steps[i] = stepNone
		}
	}
	return steps, nil
}

func (j *journal) stepFor(e entry, read reader) (step, error) {
	if dir := path.Dir(e.Path); dir != "." && gone(read, dir) {
		return stepTaken, nil // the change has made it, and another client has cleared it away
	}
	now, err := look(read, e.Path)
	switch {
	case err != nil:
		return stepNone, err
	case e.File == "" && now != "" && e.untouched(now):
		return stepMove, nil
	case e.File == "", now == e.New:
		return stepNone, nil
	}
	staged, err := look(read, j.staged(e))
	if err == nil && staged == "" {
		// It may have been put in place since we looked there.
		now, err = look(read, e.Path)
	}
	if err != nil {
		return stepNone, err
	}
	return e.stepWith(now, staged), nil
}

// stepWith judges new content by the fingerprints of what is there now and of what is
// staged.
func (e *entry) stepWith(now, staged string) step {
	switch {
	case now == e.New:
		return stepNone
	case staged == e.New && e.untouched(now):
		return stepMove
	case staged == e.New && e.Lines:
		return stepMerge
	case staged != e.New && e.untouched(now):
		return stepLost
	}
	return stepTaken
}

// begun reports whether some new content is in place and no longer staged.
func (j *journal) begun(read reader) bool {
	read = bounded(read)
	return slices.ContainsFunc(j.Entries, func(e entry) bool {
		if e.File == "" || !gone(read, j.staged(e)) {
			return false
		}
		now, err := look(read, e.Path)
		return err == nil && now == e.New
	})
}

// untouched reports whether now is the fingerprint of a file as the change found it.
// Whoever locks a missing file makes it, empty.
func (e *entry) untouched(now string) bool {
	empty := fingerprint(nil)
	return now == e.Old || e.Lock && (now == "" || now == empty) && (e.Old == "" || e.Old == empty)
}

// near is where new content is written once more if its directory is on another file
// system: beside its place, but not in cas, where other clients read whatever there is.
func (j *journal) near(e entry) string {
	dir := filepath.Dir(filepath.FromSlash(e.Path))
	if filepath.Base(dir) == "cas" {
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, "."+j.Stage+"-"+e.File)
}

func (j *journal) staged(e entry) string { return ownDir + "/" + j.Stage + "/" + e.File }

// group names the files that make sense only together: a user's keys and certificates
// below keys/<proxy>. Authorities, which other clients write more often, and what lies
// elsewhere stand for themselves.
func group(p string) string {
	parts := strings.SplitN(p, "/", 3)
	if len(parts) < 3 || parts[0] != "keys" || parts[2] == "certs.pem" || strings.HasPrefix(parts[2], "cas/") {
		return p
	}
	return parts[0] + "/" + parts[1]
}

// addLines returns the lines of now and those of ours that it lacks.
func addLines(now, ours []byte) []byte {
	present := map[string]bool{}
	for line := range bytes.Lines(now) {
		present[string(bytes.TrimRight(line, "\r\n"))] = true
	}
	out := bytes.Clone(now)
	for line := range bytes.Lines(ours) {
		text := bytes.TrimRight(line, "\r\n")
		if present[string(text)] {
			continue
		}
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(append(out, text...), '\n')
	}
	return out
}

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
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		_, waits := v.pending[path.Join(dir, e.Name())]
		return waits
	})
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
