package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxMatches bounds what one pattern stands for.
const maxMatches = 100_000

// Expand returns the paths that a pattern with *, ? and [] stands for, in order, or the
// pattern itself if there are none. A node is asked for the names in a directory and the
// matching is done here. Names that begin with a dot need a pattern that does.
func Expand(ctx context.Context, place Place, pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}, nil
	}
	if place.Client == nil {
		if _, err := os.Lstat(pattern); err == nil { // the shell has done it
			return []string{pattern}, nil
		}
		pattern = filepath.ToSlash(pattern)
	}
	found, err := expand(ctx, place, pattern)
	if err != nil || len(found) == 0 {
		return []string{pattern}, err
	}
	return found, nil
}

func expand(ctx context.Context, place Place, pattern string) ([]string, error) {
	dirs := []string{""}
	if strings.HasPrefix(pattern, "/") {
		dirs[0] = "/"
	}
	var parts []string
	for _, part := range strings.Split(pattern, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	for n, part := range parts {
		last := n == len(parts)-1
		var next []string
		for _, dir := range dirs {
			if !strings.ContainsAny(part, "*?[") {
				next = append(next, join(dir, part))
				continue
			}
			names, err := matches(ctx, place, dir, part)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				next = append(next, join(dir, name))
			}
			if len(next) > maxMatches {
				return nil, fmt.Errorf("%s stands for more than %d files", place.show(pattern), maxMatches)
			}
		}
		if dirs = next; last && !strings.ContainsAny(part, "*?[") {
			dirs = existing(ctx, place, dirs)
		}
	}
	return dirs, nil
}

func join(dir, name string) string {
	if dir == "" || dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// existing drops what is not there, where a pattern was followed by a plain name.
func existing(ctx context.Context, place Place, paths []string) []string {
	return slices.DeleteFunc(paths, func(p string) bool {
		_, err := place.stat(ctx, p)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// matches lists the names in a directory that a pattern matches. A directory that
// cannot be listed has none, as has a pattern that is none.
func matches(ctx context.Context, place Place, dir, pattern string) ([]string, error) {
	var names []string
	err := place.list(ctx, join(dir, "."), func(i *info) error {
		if checkName(i.name, false) != nil || strings.HasPrefix(i.name, ".") && !strings.HasPrefix(pattern, ".") {
			return nil
		}
		ok, err := path.Match(pattern, i.name)
		if ok {
			names = append(names, i.name)
		}
		if len(names) > maxMatches {
			err = fmt.Errorf("%s stands for more than %d files", place.show(join(dir, pattern)), maxMatches)
		}
		return err
	})
	slices.Sort(names)
	if ctx.Err() == nil && len(names) <= maxMatches {
		err = nil
	}
	return names, err
}
