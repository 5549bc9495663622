package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
)

const (
	// maxDepth bounds the directories inside each other.
	maxDepth = 256
	// maxHeld bounds the names of directories that wait to be listed, in bytes.
	maxHeld = 64 << 20
)

// node is a directory that is being copied; it is done when all in it is.
type node struct {
	_       [0]func() // never compared
	parent  *node
	dir     *dir
	pending atomic.Int64
}

// done counts down, and finishes what is complete, upwards.
func (n *node) done(ctx context.Context, c *copier) {
	for ; n != nil && n.pending.Add(-1) == 0; n = n.parent {
		if ctx.Err() != nil {
			n.dir.close()
		} else if err := n.dir.finish(ctx, c.Times); err != nil {
			c.fail(n.dir.place.show(n.dir.path), err)
		}
	}
}

// branch is a directory to copy, on the way from the source to here.
type branch struct {
	_    [0]func() // never compared
	up   *branch
	real string // path without links, by which loops are found
	from Place
	path string
	node *node
}

func (b *branch) depth() (n int) {
	for ; b != nil; b = b.up {
		n++
	}
	return n
}

// loops reports whether real is a directory that we are in.
func (b *branch) loops(real string) bool {
	for ; b != nil; b = b.up {
		if b.real == real {
			return true
		}
	}
	return false
}

// errLoop is a link to a directory that it is in.
var errLoop = errors.New("a symbolic link leads back to a directory that it is in; skipped")

// walk copies what is in a directory. Directories in it are walked at the same time as
// far as there are tokens, else after one another.
func (c *copier) walk(ctx context.Context, b *branch) {
	defer b.node.done(ctx, c)
	if b.depth() > maxDepth {
		c.fail(b.from.show(b.path), fmt.Errorf("more than %d directories are inside each other", maxDepth))
		return
	}
	var subs []*info
	var size int64
	err := b.from.list(ctx, b.path, func(i *info) error {
		sub := c.entry(ctx, b, i)
		if sub == nil {
			return context.Cause(ctx)
		}
		subs = append(subs, sub)
		const each = 128
		size += each + int64(len(i.name))
		if c.held.Add(each+int64(len(i.name))) > maxHeld {
			return errors.New("too many directories")
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		c.fail(b.from.show(b.path), err)
	}
	for _, sub := range subs {
		if ctx.Err() != nil {
			break
		}
		c.descend(ctx, b, sub)
	}
	c.held.Add(-size)
}

// entry copies an entry of a directory unless it is a directory, which it returns.
func (c *copier) entry(ctx context.Context, b *branch, i *info) *info {
	if err := checkName(i.name, windows && b.node.dir.root != nil); err != nil {
		c.fail(b.from.show(b.path), err)
		return nil
	}
	path := b.from.join(b.path, i.name)
	if !i.known || i.mode&fs.ModeSymlink != 0 {
		behind, err := b.from.stat(ctx, path)
		if err != nil {
			if ctx.Err() == nil {
				c.fail(b.from.show(path), err)
			}
			return nil
		}
		link := i.known
		behind.name, i = i.name, behind
		if link && i.dir() {
			i.mode |= fs.ModeSymlink // its real path is elsewhere
			return i
		}
	}
	switch {
	case i.dir():
		return i
	case !i.regular():
		c.fail(b.from.show(path), errNoFile)
	default:
		b.node.pending.Add(1)
		c.submit(ctx, &job{b.from, path, i, slot{dir: b.node.dir, name: i.name, times: c.Times}, b.node})
	}
	return nil
}

func (c *copier) submit(ctx context.Context, j *job) {
	select {
	case c.jobs <- j:
	case <-ctx.Done():
		j.node.done(ctx, c)
	}
}

// descend walks a directory in a directory, beside the others if there is a token.
func (c *copier) descend(ctx context.Context, up *branch, i *info) {
	up.node.pending.Add(1)
	select {
	case c.tokens <- struct{}{}:
		c.walkers.Go(func() {
			defer func() { <-c.tokens }()
			c.enter(ctx, up, i)
		})
	default:
		c.enter(ctx, up, i)
	}
}

// enter makes the copy of a directory and walks it.
func (c *copier) enter(ctx context.Context, up *branch, i *info) {
	b := &branch{up: up, from: up.from, path: up.from.join(up.path, i.name), real: up.from.join(up.real, i.name)}
	var err error
	if i.mode&fs.ModeSymlink != 0 {
		b.real, err = b.from.follow(ctx, up.real, i.name)
	}
	if err == nil && up.loops(b.real) {
		err = errLoop
	}
	var d *dir
	if err == nil {
		d, err = up.node.dir.sub(ctx, i.name)
	}
	if err != nil {
		if ctx.Err() == nil {
			c.fail(b.from.show(b.path), err)
		}
		up.node.done(ctx, c)
		return
	}
	d.info = i
	b.node = &node{parent: up.node, dir: d}
	b.node.pending.Add(1)
	c.walk(ctx, b)
}

// start looks at target and sources, and sets off.
func (c *copier) start(ctx context.Context, sources []Source, to Source) error {
	target, err := to.Place.stat(ctx, to.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return fmt.Errorf("%s: %w", to.Place.show(to.Path), err)
	}
	if len(sources) > 1 {
		if !missing && !target.dir() {
			return fmt.Errorf("%s: several sources need a directory", to.Place.show(to.Path))
		}
		d, err := makeDir(ctx, to.Place, to.Path)
		if err != nil {
			return fmt.Errorf("%s: %w", to.Place.show(to.Path), err)
		}
		root := &node{dir: d}
		root.pending.Add(1)
		for _, s := range sources {
			c.source(ctx, s, root, "")
		}
		root.done(ctx, c)
		return nil
	}
	if target.dir() {
		d, err := openDir(to.Place, to.Path)
		if err != nil {
			return err
		}
		root := &node{dir: d}
		root.pending.Add(1)
		c.source(ctx, sources[0], root, "")
		root.done(ctx, c)
		return nil
	}
	return c.single(ctx, sources[0], to, missing)
}

// single copies one source to a target that is not a directory.
func (c *copier) single(ctx context.Context, s Source, to Source, missing bool) error {
	if !missing && to.Place.Client == nil {
		// The person named it, so a link is followed.
		if behind, err := filepath.EvalSymlinks(to.Path); err == nil {
			to.Path = behind
		}
	}
	parent, name := to.Place.split(to.Path)
	if name == "" {
		return fmt.Errorf("%s: no such directory", to.Place.show(to.Path))
	}
	if last := to.Path[len(to.Path)-1]; last == '/' || windows && to.Place.Client == nil && last == '\\' {
		if i, err := s.Place.stat(ctx, s.Path); err == nil && !i.dir() {
			return fmt.Errorf("%s: no such directory", to.Place.show(to.Path))
		}
	}
	d, err := openDir(to.Place, parent)
	if err != nil {
		return err
	}
	root := &node{dir: d}
	root.pending.Add(1)
	c.source(ctx, s, root, name)
	root.done(ctx, c)
	return nil
}

// source copies one source into a directory, as name, or under its own if that is "".
func (c *copier) source(ctx context.Context, s Source, root *node, name string) {
	explicit := name != ""
	if !explicit {
		_, name = s.Place.split(s.Path)
	}
	i, err := c.admit(ctx, s, root, name)
	if err == nil && !i.dir() {
		root.pending.Add(1)
		c.submit(ctx, &job{s.Place, s.Path, i, slot{dir: root.dir, name: name, times: c.Times, explicit: explicit}, root})
		return
	}
	if err == nil {
		err = c.tree(ctx, s, i, root, name)
	}
	if err != nil && ctx.Err() == nil {
		c.fail(s.Place.show(s.Path), err)
	}
}

// admit looks at a source and refuses what cannot be copied to there.
func (c *copier) admit(ctx context.Context, s Source, root *node, name string) (*info, error) {
	i, err := s.Place.stat(ctx, s.Path)
	switch {
	case err != nil:
		return nil, err
	case i.dir() && !c.Recursive:
		return nil, errors.New("it is a directory; -r copies directories")
	case !i.dir() && !i.regular() && i.known:
		return nil, errNoFile
	}
	if name != "" {
		err = checkName(name, windows && root.dir.root != nil)
	}
	if err == nil && s.Place.Client == root.dir.place.Client {
		err = notItself(ctx, s, root.dir, name)
	}
	return i, err
}

// tree copies a directory.
func (c *copier) tree(ctx context.Context, s Source, i *info, root *node, name string) error {
	real, err := s.Place.real(ctx, s.Path)
	if err != nil {
		return err
	}
	b := &branch{from: s.Place, path: s.Path, real: real, node: root}
	if name == "" { // what is in ".", into the target itself
		root.pending.Add(1)
	} else {
		d, err := root.dir.sub(ctx, name)
		if err != nil {
			return err
		}
		d.info = i
		b.node = &node{parent: root, dir: d}
		b.node.pending.Add(1)
		root.pending.Add(1)
	}
	c.walk(ctx, b)
	return nil
}

// notItself refuses to copy a file to itself, and a directory into itself.
func notItself(ctx context.Context, s Source, d *dir, name string) error {
	from, err := s.Place.real(ctx, s.Path)
	if err != nil {
		return err
	}
	to, err := s.Place.real(ctx, d.path)
	if err != nil {
		return err
	}
	target := s.Place.join(to, name)
	if behind, err := s.Place.real(ctx, target); err == nil {
		target = behind
	}
	if from == target {
		return errors.New("source and target are the same")
	}
	if strings.HasPrefix(target, strings.TrimSuffix(from, "/")+"/") {
		return errors.New("a directory cannot be copied into itself")
	}
	return nil
}
