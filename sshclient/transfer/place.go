package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

// Place is where files are: on this machine if Client is nil, else on a node.
type Place struct {
	Client *sftp.Client
	Name   string // of the node, in front of its paths in messages
}

// info is what is known of a file.
type info struct {
	_     [0]func() // never compared
	name  string
	size  int64
	mode  fs.FileMode // type, permissions, special bits
	known bool        // ... the type
	mtime time.Time
	uid   int64 // -1: unknown
}

func (i *info) dir() bool     { return i != nil && i.known && i.mode.IsDir() }
func (i *info) regular() bool { return i.known && i.mode.IsRegular() }

func remoteInfo(name string, a sftp.Attrs) *info {
	i := &info{name: name, size: int64(a.Size), mode: a.Mode(), known: a.TypeKnown(), mtime: a.ModTime(), uid: -1}
	if a.HasOwner {
		i.uid = int64(a.UID)
	}
	switch {
	case !a.HasMode:
		i.mode = 0o644
	case a.IsDir():
		i.mode |= fs.ModeDir
	case a.IsLink():
		i.mode |= fs.ModeSymlink
	case !a.IsRegular():
		i.mode |= fs.ModeIrregular
	}
	return i
}

func localInfo(fi fs.FileInfo) *info {
	return &info{name: fi.Name(), size: fi.Size(), mode: fi.Mode(), known: true, mtime: fi.ModTime(), uid: ownerOf(fi)}
}

// stat follows symbolic links.
func (p Place) stat(ctx context.Context, name string) (*info, error) {
	if p.Client == nil {
		fi, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		return localInfo(fi), nil
	}
	a, err := p.Client.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	return remoteInfo(path.Base(name), a), nil
}

// list gives the entries of a directory, symbolic links as such.
func (p Place) list(ctx context.Context, name string, yield func(*info) error) error {
	if p.Client != nil {
		return p.Client.List(ctx, name, func(e sftp.Entry) error { return yield(remoteInfo(e.Name, e.Attrs)) })
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		const batch = 256
		entries, err := d.ReadDir(batch)
		for _, entry := range entries {
			fi, err := entry.Info()
			if err != nil {
				continue // gone since
			}
			if err := yield(localInfo(fi)); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if len(entries) == 0 {
			return ignoreEOF(err)
		}
	}
}

// real is the absolute path without symbolic links.
func (p Place) real(ctx context.Context, name string) (string, error) {
	if p.Client != nil {
		return p.Client.RealPath(ctx, name)
	}
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(name)
}

// maxLinks bounds the links that one path leads through, as kernels do.
const maxLinks = 40

// follow is the path without links of a link in dir, which has none. Nodes are asked
// link by link: not all of them resolve links when asked for a real path.
func (p Place) follow(ctx context.Context, dir, name string) (string, error) {
	if p.Client == nil {
		return p.real(ctx, filepath.Join(dir, name))
	}
	rest := []string{name}
	for links := 0; len(rest) > 0; {
		next := rest[0]
		rest = rest[1:]
		if next == ".." || next == "." || next == "" {
			dir = path.Join(dir, next)
			continue
		}
		to, err := p.Client.ReadLink(ctx, path.Join(dir, next))
		var status *sftp.StatusError
		if errors.As(err, &status) { // no link
			dir = path.Join(dir, next)
			continue
		}
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", errLoop
		}
		if strings.HasPrefix(to, "/") {
			dir = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return dir, nil
}

func (p Place) join(dir, name string) string {
	if p.Client != nil {
		return path.Join(dir, name)
	}
	return filepath.Join(dir, name)
}

// split takes the last element off a path; it is "" for a path that names no entry of
// a directory, as "..", "x/." and "/" do.
func (p Place) split(name string) (dir, base string) {
	self := strings.HasSuffix(name, "/.") || p.Client == nil && windows && strings.HasSuffix(name, `\.`)
	if p.Client != nil {
		name = path.Clean(name)
		dir, base = path.Dir(name), path.Base(name)
	} else {
		name = filepath.Clean(name)
		dir, base = filepath.Dir(name), filepath.Base(name)
	}
	if self || base == "." || base == ".." || base == "/" || dir == name {
		return name, ""
	}
	return dir, base
}

// show is a path as people know it.
func (p Place) show(name string) string {
	if p.Client != nil && p.Name != "" {
		return p.Name + ":" + name
	}
	return name
}
