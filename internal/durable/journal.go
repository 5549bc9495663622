package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
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
	for _, e := range j.Entries {
		if e.File == "" || !gone(read, j.staged(e)) {
			continue
		}
		if now, err := look(read, e.Path); err == nil && now == e.New {
			return true
		}
	}
	return false
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
	for _, line := range splitLines(now) {
		present[string(line)] = true
	}
	out := bytes.Clone(now)
	for _, line := range splitLines(ours) {
		if present[string(line)] {
			continue
		}
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

// splitLines returns lines without their ends.
func splitLines(data []byte) [][]byte {
	if len(data) == 0 {
		return nil
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	for i, line := range lines {
		lines[i] = bytes.TrimRight(line, "\r")
	}
	return lines
}
