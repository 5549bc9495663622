package transfer

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

// maxEntries bounds the entries of one directory.
const maxEntries = 1 << 20

// dir is a directory that is written to.
type dir struct {
	place Place
	path  string
	root  *os.Root // local ones
	made  bool     // by this copy
	info  *info    // what it is a copy of
	fold  *folding // of the place

	renaming sync.Mutex // held while a name is checked and given to a file

	mu      sync.Mutex
	claimed map[uint64]struct{} // hashes of what this copy has put there
}

// folding is whether a place takes names for equal that differ in case. It is found out
// when that matters. And it is what the modes of new files here lack.
type folding struct {
	_    [0]func() // never compared
	mask fs.FileMode
	seed maphash.Seed // random, so that no server can find names that are alike in it
	once sync.Once
	yes  bool
}

// openDir opens a directory that is there.
func openDir(place Place, path string) (*dir, error) {
	d := &dir{place: place, path: path, claimed: make(map[uint64]struct{}), fold: &folding{seed: maphash.MakeSeed()}}
	if place.Client == nil {
		var err error
		if d.root, err = os.OpenRoot(path); err != nil {
			return nil, err
		}
		d.fold.mask = umask()
	}
	return d, nil
}

// makeDir makes a directory if it is missing, and opens it.
func makeDir(ctx context.Context, place Place, path string) (*dir, error) {
	made := false
	if place.Client == nil {
		if err := os.Mkdir(path, 0o777); err == nil {
			made = true
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	} else if err := place.Client.Mkdir(ctx, path, sftp.Attrs{}); err == nil {
		made = true
	} else if i, failed := place.stat(ctx, path); failed != nil || !i.dir() {
		return nil, err
	}
	d, err := openDir(place, path)
	if err == nil {
		d.made = made
	}
	return d, err
}

func modeAttrs(mode fs.FileMode) (a sftp.Attrs) {
	a.SetMode(mode)
	return a
}

// sub makes or opens a directory in d.
func (d *dir) sub(ctx context.Context, name string) (*dir, error) {
	s := &dir{place: d.place, path: d.place.join(d.path, name), claimed: make(map[uint64]struct{}), fold: d.fold}
	if d.root == nil {
		if err := d.claimName(ctx, name); err != nil {
			return nil, err
		}
		err := d.place.Client.Mkdir(ctx, s.path, modeAttrs(0o700))
		if s.made = err == nil; !s.made {
			if i, failed := d.place.stat(ctx, s.path); failed != nil || !i.dir() {
				return nil, err
			}
		}
		return s, nil
	}
	err := d.root.Mkdir(name, 0o700)
	if s.made = err == nil; err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if s.root, err = d.root.OpenRoot(name); err != nil {
		return nil, err
	}
	fi, err := s.root.Stat(".")
	if err == nil {
		err = d.claimLocal(ctx, name, fi)
	}
	if err != nil {
		s.root.Close()
		return nil, err
	}
	return s, nil
}

// claimLocal notes that what fi describes is there because of this copy; nothing may be
// there twice.
func (d *dir) claimLocal(ctx context.Context, name string, fi fs.FileInfo) error {
	id, ok := identity(fi)
	if !ok {
		return d.claimName(ctx, name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.claim(maphash.Comparable(d.fold.seed, id))
}

func (d *dir) claim(id uint64) error {
	if _, taken := d.claimed[id]; taken {
		return errTwice
	}
	if len(d.claimed) >= 2*maxEntries { // a name may count twice
		return fmt.Errorf("more than %d entries in one directory", maxEntries)
	}
	d.claimed[id] = struct{}{}
	return nil
}

// has reports whether this copy has put there what id is.
func (d *dir) has(id [2]uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.claimed[maphash.Comparable(d.fold.seed, id)]
	return ok
}

// claimName is for places that do not tell files apart but by their names.
func (d *dir) claimName(ctx context.Context, name string) error {
	d.mu.Lock()
	exact := d.claim(maphash.String(d.fold.seed, name))
	folded := d.claim(maphash.String(d.fold.seed, "/"+strings.ToLower(name)))
	d.mu.Unlock()
	if exact != nil || folded == nil {
		return exact
	}
	d.fold.once.Do(func() { d.fold.yes = windows && d.root != nil || d.root == nil && d.foldsCase(ctx) })
	if d.fold.yes {
		return errTwice
	}
	return nil
}

// foldsCase asks the node's file system what it makes of two names.
func (d *dir) foldsCase(ctx context.Context) bool {
	name := d.place.join(d.path, tempName("a", ""))
	f, err := d.place.Client.Open(ctx, name, sftp.Write|sftp.Create|sftp.Exclusive, modeAttrs(0o600))
	if err != nil {
		return false
	}
	f.StartClose(ctx)
	_, err = d.place.Client.Lstat(ctx, d.place.join(d.path, strings.ToUpper(name[strings.LastIndexByte(name, '/')+1:])))
	_ = d.place.Client.Remove(context.WithoutCancel(ctx), name)
	return err == nil
}

// finish gives the directory its mode, if it is new or times are copied, and its times.
func (d *dir) finish(ctx context.Context, times bool) (err error) {
	if d.root != nil {
		defer d.root.Close()
	}
	if !d.made && !times || d.info == nil {
		return nil
	}
	mode := d.info.mode.Perm()
	if d.root == nil {
		a := modeAttrs(mode)
		if times {
			a.SetTimes(d.info.mtime)
		}
		return d.place.Client.StartSetstat(ctx, d.path, a).Wait(ctx)
	}
	if !times {
		mode &^= d.fold.mask
	}
	if err = d.root.Chmod(".", mode); err == nil && times {
		err = d.root.Chtimes(".", time.Now(), d.info.mtime)
	}
	return err
}

func (d *dir) close() {
	if d.root != nil {
		d.root.Close()
	}
}
