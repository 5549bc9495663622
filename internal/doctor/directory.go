package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
)

func (e *exam) abs(rel string) string { return filepath.Join(e.Home, filepath.FromSlash(rel)) }

// directory looks at the profile directory itself. It is false where nothing in it
// can be looked at.
func (e *exam) directory() (usable bool) {
	f := Finding{Check: checkDirectory, Status: Problem, Subject: e.Home}
	info, err := os.Stat(e.Home)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !exists(e.Home):
		e.ok(checkDirectory, e.Home, "does not exist yet; the first login makes it")
		return false
	case err != nil:
		f.Message = err.Error()
	case !info.IsDir():
		f.Message = "is not a directory"
	default:
		if _, err = durable.CheckOwners(e.Home); err != nil {
			f.Message, f.Hint = err.Error(), "TELEPORT_HOME names another directory"
		}
	}
	if f.Message != "" {
		e.add(f)
		return false
	}
	good := e.writable()
	for _, rel := range []string{"keys", "config/tsh"} {
		if err := durable.PlainDirs(e.Home, rel); err != nil {
			f.Message, f.Subject, good = err.Error(), e.abs(rel), false
			f.Hint = "put the directory itself there, or move it out of the way and log in again"
			e.add(f)
		}
	}
	if good {
		e.ok(checkDirectory, e.Home, "is there and can be written to")
	}
	return true
}

// writable looks whether something can be stored at all.
func (e *exam) writable() bool {
	err := mayWrite(e.Home)
	if err == nil {
		return true
	}
	f := Finding{Check: checkDirectory, Status: Problem, Subject: e.Home, Message: "cannot be written to: " + err.Error()}
	if !errors.Is(err, fs.ErrPermission) {
		e.add(f)
		return false
	}
	e.repair(f, func() error {
		_, err := e.store.Protect([]string{e.Home}) // also gives us what we need
		return errors.Join(err, mayWrite(e.Home))
	})
	return false
}

// modes looks for private keys that others can read and for files and directories
// that others can change.
func (e *exam) modes() {
	good := true
	for _, f := range e.files() {
		found := Finding{Check: checkModes, Status: Problem, Subject: f.path}
		if _, err := durable.CheckOwners(f.path); err != nil {
			found.Message, found.Hint = err.Error(), hintOwner
			e.add(found)
			good = false
			continue
		}
		found.Message = f.exposed()
		if found.Message == "" {
			continue
		}
		good = false
		e.repair(found, func() error {
			_, err := e.store.Protect([]string{f.path})
			return err
		})
	}
	if good {
		e.ok(checkModes, e.Home, "nobody else can change files or read private keys")
	}
}

// file is one whose permissions matter.
type file struct {
	path   string
	info   fs.FileInfo
	secret bool
}

// maxFiles bounds what is looked at: a login has a dozen files.
const maxFiles = 20_000

// files lists what is in the directory and decides over a login. Links are left out:
// what they may lead to is listed by itself.
func (e *exam) files() (all []file) {
	if info, err := os.Stat(e.Home); err == nil {
		all = append(all, file{e.Home, info, false})
	}
	add := func(path string) {
		info, err := os.Lstat(path)
		if err == nil && (info.IsDir() || info.Mode().IsRegular()) {
			all = append(all, file{path, info, isSecret(path)})
		}
	}
	for _, name := range listDir(e.Home) {
		if filepath.Ext(name) == yamlSuffix || name == "current-profile" || name == "known_hosts" {
			add(e.abs(name))
		}
	}
	for _, rel := range []string{"keys", "config/tsh"} {
		if durable.PlainDirs(e.Home, rel) != nil {
			continue // the directory's own finding
		}
		_ = filepath.WalkDir(e.abs(rel), func(path string, _ fs.DirEntry, err error) error {
			if len(all) >= maxFiles || e.ctx.Err() != nil {
				return fs.SkipAll
			}
			if err == nil {
				add(path)
			}
			return nil // what cannot be entered is not looked at
		})
	}
	return all
}

// isSecret goes by names, and for the SSH key, which has no suffix of its own, by those
// beside it.
func isSecret(path string) bool {
	switch filepath.Ext(path) {
	case ".key", ".cred", ".ppk":
		return true
	}
	return exists(path+".pub") || exists(path+".key") || exists(path+sshDirSuffix)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// isOldAndEmpty reports whether path is an empty file that nobody has just made.
func isOldAndEmpty(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == 0 && time.Since(info.ModTime()) > tooYoung
}

// listDir returns the names in a directory, as far as it can be read and maxFiles.
func listDir(path string) []string {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return nil // opening a pipe would hang
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxFiles) // what there is counts
	return names
}
