package durable

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// File is a file that WriteFiles puts in place.
type File struct {
	Name string // in the directory
	Data []byte
}

const (
	// leftPrefix begins the names of files on their way, which a process that was killed
	// leaves behind.
	leftPrefix = ".tsh-out-"
	// leftAge is how old such a file must be to be nobody's any more.
	leftAge = 10 * time.Minute
)

// WriteFiles puts files with secrets in them into a directory that a person named, which
// must exist: mode 0600 from the first instant, complete and flushed before they get
// their names, in the order given. Without overwrite a file that is there is an error
// that matches fs.ErrExist, before anything has changed. What is no regular file, a link
// or a device, is never replaced. There is no journal in a directory of somebody else:
// when the disk fails between two names the first ones are new, and the error says so.
func WriteFiles(ctx context.Context, dir string, files []File, overwrite bool) error {
	d := &disk{home: dir, hook: faultsIn(ctx)}
	if err := CheckFiles(dir, files, overwrite); err != nil {
		return err
	}
	if err := d.openExisting(); err != nil {
		return err
	}
	defer d.close()
	d.clearLeftovers()
	temps, err := d.writeTemps(files)
	if err == nil {
		err = CheckFiles(dir, files, overwrite) // the person may have taken their time
	}
	for i := range files {
		if err != nil {
			break
		}
		if err = d.rename(temps[i], files[i].Name); err != nil && i > 0 {
			err = fmt.Errorf("%w (%s is new already)", err, d.abs(files[0].Name))
		}
		if err == nil {
			temps[i] = ""
		}
	}
	if err == nil {
		return d.flushDir(".")
	}
	for _, temp := range temps {
		if temp != "" {
			_ = d.remove(temp)
		}
	}
	return err
}

// CheckFiles returns the error that WriteFiles would return for what is there.
func CheckFiles(dir string, files []File, overwrite bool) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "write", Path: dir, Err: errors.New("is not a directory")}
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && info.Mode()&fs.ModeSymlink != 0:
			err = &fs.PathError{Op: "write", Path: path, Err: ErrLink}
		case err == nil && info.IsDir():
			err = &fs.PathError{Op: "write", Path: path, Err: errors.New("is a directory")}
		case err == nil && !info.Mode().IsRegular():
			err = &fs.PathError{Op: "write", Path: path, Err: errors.New("is not a regular file")}
		case err == nil && !overwrite:
			err = &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeTemps writes the files under names of no meaning. Those that were written are
// returned after an error, too.
func (d *disk) writeTemps(files []File) (temps []string, err error) {
	for _, f := range files {
		temp := leftPrefix + rand.Text()
		temps = append(temps, temp)
		open, err := d.create(temp, f.Data, 0o600)
		if err != nil {
			return temps, err
		}
		if err := d.flush(open, temp); err != nil {
			return temps, err
		}
	}
	return temps, nil
}

// clearLeftovers removes what killed processes left here: there may be keys in it.
func (d *disk) clearLeftovers() {
	entries, err := d.list(".")
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), leftPrefix) {
			continue
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && ours(info) && time.Since(info.ModTime()) > leftAge {
			_ = d.remove(e.Name())
		}
	}
}
