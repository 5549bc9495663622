package sftp

import (
	"context"
	"errors"
	"io"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Flags of [Client.Open], section 6.3.
const (
	Read      = 1
	Write     = 2
	Create    = 8
	Truncate  = 16
	Exclusive = 32
)

// Entry is a name in a directory. The name is whatever the server says.
type Entry struct {
	Name  string
	Attrs Attrs
}

// names reads what READDIR, REALPATH and READLINK answer.
func (f *fields) names() []Entry {
	const least = 4 + 4 + 4 // two empty strings, no attributes
	count := f.u32()
	if count == 0 || int64(count)*least > int64(len(f.rest)) {
		f.bad = true
		return nil
	}
	entries := make([]Entry, 0, count)
	for ; count > 0 && !f.bad; count-- {
		name := string(f.bytes(maxPath))
		f.bytes(maxPacket) // how ls would show it
		entries = append(entries, Entry{name, f.attrs()})
	}
	return entries
}

// do makes a request about a path and waits for the answer.
func (c *Client) do(ctx context.Context, kind byte, what call) (*Reply, error) {
	r := c.send(ctx, newPacket(kind, what.path), what)
	return r, r.Wait(ctx)
}

func (c *Client) attrsOf(ctx context.Context, kind byte, what call) (Attrs, error) {
	r, err := c.do(ctx, kind, what)
	if err != nil {
		return Attrs{}, err
	}
	return r.attrs, nil
}

// Stat asks about a file; a symbolic link is followed.
func (c *Client) Stat(ctx context.Context, name string) (Attrs, error) {
	return c.attrsOf(ctx, typeStat, call{op: "stat", path: name, kind: typeAttrs})
}

// Lstat asks about a file or a symbolic link.
func (c *Client) Lstat(ctx context.Context, name string) (Attrs, error) {
	return c.attrsOf(ctx, typeLstat, call{op: "stat", path: name, kind: typeAttrs})
}

// StartSetstat begins to change what a has of a file.
func (c *Client) StartSetstat(ctx context.Context, name string, a Attrs) *Reply {
	return c.send(ctx, newPacket(typeSetstat, name).attrs(a), call{op: "set mode and times", path: name, kind: typeStatus})
}

// Mkdir makes a directory.
func (c *Client) Mkdir(ctx context.Context, name string, a Attrs) error {
	r := c.send(ctx, newPacket(typeMkdir, name).attrs(a), call{op: "make directory", path: name, kind: typeStatus})
	return r.Wait(ctx)
}

// Remove deletes a file.
func (c *Client) Remove(ctx context.Context, name string) error {
	_, err := c.do(ctx, typeRemove, call{op: "remove", path: name, kind: typeStatus})
	return err
}

// Rmdir deletes an empty directory.
func (c *Client) Rmdir(ctx context.Context, name string) error {
	_, err := c.do(ctx, typeRmdir, call{op: "remove directory", path: name, kind: typeStatus})
	return err
}

// Rename gives a file another name, in one step over a file that has it already where
// the server can. Where it cannot, that file is removed first.
func (c *Client) Rename(ctx context.Context, from, to string) error {
	what := call{op: "rename to", path: to, kind: typeStatus}
	if _, ok := c.extensions[extPosixRename]; ok {
		return c.send(ctx, newPacket(typeExtended, extPosixRename).str(from).str(to), what).Wait(ctx)
	}
	rename := func() error { return c.send(ctx, newPacket(typeRename, from).str(to), what).Wait(ctx) }
	err := rename()
	var status *StatusError
	if !errors.As(err, &status) {
		return err
	}
	if c.Remove(ctx, to) != nil {
		return err
	}
	return rename()
}

// RealPath is the absolute path of a file, without symbolic links where the server
// resolves them.
func (c *Client) RealPath(ctx context.Context, name string) (string, error) {
	return c.oneName(ctx, typeRealpath, call{op: "find", path: name, kind: typeName})
}

// ReadLink is what a symbolic link says.
func (c *Client) ReadLink(ctx context.Context, name string) (string, error) {
	return c.oneName(ctx, typeReadlink, call{op: "read link", path: name, kind: typeName})
}

func (c *Client) oneName(ctx context.Context, kind byte, what call) (string, error) {
	r, err := c.do(ctx, kind, what)
	if err != nil {
		return "", err
	}
	if len(r.names) != 1 || r.names[0].Name == "" {
		err := badf("%d names, of which one is needed, for %s", len(r.names), text.Line(what.path))
		c.fail(err)
		return "", err
	}
	return r.names[0].Name, nil
}

// List gives the entries of a directory to yield as they come; "." and ".." are not
// among them, everything else is as the server says. An error of yield ends the listing.
func (c *Client) List(ctx context.Context, name string, yield func(Entry) error) error {
	opened, err := c.do(ctx, typeOpendir, call{op: "list", path: name, kind: typeHandle})
	if err != nil {
		return err
	}
	handle := string(opened.body)
	next := func() *Reply {
		return c.send(ctx, newPacket(typeReaddir, handle), call{op: "list", path: name, kind: typeName})
	}
	defer c.send(context.WithoutCancel(ctx), newPacket(typeClose, handle), call{op: "close", path: name, kind: typeStatus})
	// One request is ahead of what is being dealt with.
	for current, ahead := next(), next(); ; current, ahead = ahead, next() {
		err := current.Wait(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, entry := range current.names {
			if entry.Name == "." || entry.Name == ".." {
				continue
			}
			if err := yield(entry); err != nil {
				return err
			}
		}
	}
}

// File is an open file.
type File struct {
	client *Client
	name   string
	handle string
}

// Open opens a file; the flags are [Read], [Write] and so on. A file that is made gets
// the attributes a.
func (c *Client) Open(ctx context.Context, name string, flags uint32, a Attrs) (*File, error) {
	r := c.send(ctx, newPacket(typeOpen, name).u32(flags).attrs(a), call{op: "open", path: name, kind: typeHandle})
	if err := r.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			go c.abandon(r) // it may come to be open all the same
		}
		return nil, err
	}
	return &File{c, name, string(r.body)}, nil
}

// abandon closes a file that nobody waited for.
func (c *Client) abandon(r *Reply) {
	<-r.done
	if r.err == nil {
		(&File{c, r.call.path, string(r.body)}).StartClose(context.Background())
	}
}

// StartClose begins to close the file; it must not be used any more.
func (f *File) StartClose(ctx context.Context) *Reply {
	return f.client.send(ctx, newPacket(typeClose, f.handle), call{op: "close", path: f.name, kind: typeStatus})
}

// Stat asks about the open file.
func (f *File) Stat(ctx context.Context) (Attrs, error) {
	r := f.client.send(ctx, newPacket(typeFstat, f.handle), call{op: "stat", path: f.name, kind: typeAttrs})
	if err := r.Wait(ctx); err != nil {
		return Attrs{}, err
	}
	return r.attrs, nil
}

// Setstat changes what a has of the open file.
func (f *File) Setstat(ctx context.Context, a Attrs) error {
	r := f.client.send(ctx, newPacket(typeFsetstat, f.handle).attrs(a), call{op: "change", path: f.name, kind: typeStatus})
	return r.Wait(ctx)
}
