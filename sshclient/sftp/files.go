package sftp

import (
	"context"
	"errors"
	"io"
	"io/fs"

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
func (c *Client) do(ctx context.Context, ask, answer byte, op, path string) (*Reply, error) {
	r := c.send(ctx, newPacket(ask, path), answer, op, path)
	return r, r.Wait(ctx)
}

func (c *Client) attrsOf(ctx context.Context, ask byte, name string) (Attrs, error) {
	r, err := c.do(ctx, ask, typeAttrs, "stat", name)
	if err != nil {
		return Attrs{}, err
	}
	return r.attrs, nil
}

// Stat asks about a file; a symbolic link is followed.
func (c *Client) Stat(ctx context.Context, name string) (Attrs, error) {
	return c.attrsOf(ctx, typeStat, name)
}

// Lstat asks about a file or a symbolic link.
func (c *Client) Lstat(ctx context.Context, name string) (Attrs, error) {
	return c.attrsOf(ctx, typeLstat, name)
}

// StartSetstat begins to change what a has of a file.
func (c *Client) StartSetstat(ctx context.Context, name string, a Attrs) *Reply {
	return c.send(ctx, newPacket(typeSetstat, name).attrs(a), typeStatus, "set mode and times", name)
}

// Mkdir makes a directory.
func (c *Client) Mkdir(ctx context.Context, name string, a Attrs) error {
	r := c.send(ctx, newPacket(typeMkdir, name).attrs(a), typeStatus, "make directory", name)
	return r.Wait(ctx)
}

// Remove deletes a file.
func (c *Client) Remove(ctx context.Context, name string) error {
	_, err := c.do(ctx, typeRemove, typeStatus, "remove", name)
	return err
}

// Rmdir deletes an empty directory.
func (c *Client) Rmdir(ctx context.Context, name string) error {
	_, err := c.do(ctx, typeRmdir, typeStatus, "remove directory", name)
	return err
}

// Rename gives a file another name, in one step over a file that has it already where
// the server can. Where it cannot, that file is out of the way for a moment, and back
// there if the new one cannot take its place.
func (c *Client) Rename(ctx context.Context, from, to string) error {
	if _, ok := c.extensions[extPosixRename]; ok {
		return c.send(ctx, newPacket(typeExtended, extPosixRename).str(from).str(to), typeStatus, "rename to", to).Wait(ctx)
	}
	err := c.rename(ctx, from, to)
	if !errors.As(err, new(*StatusError)) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ctx, aside := context.WithoutCancel(ctx), from+"~" // what has begun is brought to an end
	if c.rename(ctx, to, aside) != nil {
		return err
	}
	if err = c.rename(ctx, from, to); err != nil {
		_ = c.rename(ctx, aside, to) // the error is known
		return err
	}
	_ = c.Remove(ctx, aside) // what remains is the old file
	return nil
}

// rename is for a name that no file has.
func (c *Client) rename(ctx context.Context, from, to string) error {
	return c.send(ctx, newPacket(typeRename, from).str(to), typeStatus, "rename to", to).Wait(ctx)
}

// RealPath is the absolute path of a file, without symbolic links where the server
// resolves them.
func (c *Client) RealPath(ctx context.Context, name string) (string, error) {
	return c.oneName(ctx, typeRealpath, "find", name)
}

// ReadLink is what a symbolic link says.
func (c *Client) ReadLink(ctx context.Context, name string) (string, error) {
	return c.oneName(ctx, typeReadlink, "read link", name)
}

func (c *Client) oneName(ctx context.Context, ask byte, op, name string) (string, error) {
	r, err := c.do(ctx, ask, typeName, op, name)
	if err != nil {
		return "", err
	}
	if len(r.names) != 1 || r.names[0].Name == "" {
		err := badf("%d names, of which one is needed, for %s", len(r.names), text.Line(name))
		c.fail(err)
		return "", err
	}
	return r.names[0].Name, nil
}

// List gives the entries of a directory to yield as they come; "." and ".." are not
// among them, everything else is as the server says. An error of yield ends the listing.
func (c *Client) List(ctx context.Context, name string, yield func(Entry) error) error {
	opened, err := c.do(ctx, typeOpendir, typeHandle, "list", name)
	if err != nil {
		return err
	}
	handle := string(opened.body)
	next := func() *Reply {
		return c.send(ctx, newPacket(typeReaddir, handle), typeName, "list", name)
	}
	defer c.send(context.WithoutCancel(ctx), newPacket(typeClose, handle), typeStatus, "close", name)
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
	r := c.send(ctx, newPacket(typeOpen, name).u32(flags).attrs(a), typeHandle, "open", name)
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
		(&File{c, r.path, string(r.body)}).StartClose(context.Background())
	}
}

// StartClose begins to close the file; it must not be used any more.
func (f *File) StartClose(ctx context.Context) *Reply {
	return f.client.send(ctx, newPacket(typeClose, f.handle), typeStatus, "close", f.name)
}

// Stat asks about the open file.
func (f *File) Stat(ctx context.Context) (Attrs, error) {
	r := f.client.send(ctx, newPacket(typeFstat, f.handle), typeAttrs, "stat", f.name)
	if err := r.Wait(ctx); err != nil {
		return Attrs{}, err
	}
	return r.attrs, nil
}

// Setstat changes what a has of the open file.
func (f *File) Setstat(ctx context.Context, a Attrs) error {
	r := f.client.send(ctx, newPacket(typeFsetstat, f.handle).attrs(a), typeStatus, "change", f.name)
	return r.Wait(ctx)
}
