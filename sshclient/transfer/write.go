package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

// writer takes the content of a file.
type writer interface {
	// write takes the next piece. That it was written is certain after commit.
	write(ctx context.Context, p []byte) error
	// commit makes what was written the file, with the mode and times of of.
	commit(ctx context.Context, of *info) error
	// existing prepares a part of the file that is there already to be written from at
	// on, and returns what it has before.
	existing(ctx context.Context, at int64) ([]byte, error)
	// abort gives up; the target is as it was.
	abort(keep bool)
}

// slot is where in a directory a file goes, and how.
type slot struct {
	dir      *dir
	name     string
	explicit bool   // the person named this very file: it may be a link or a device
	times    bool   // copy them
	resume   string // what it is a copy of, if a part of it may be there; else ""
}

// cleanUp bounds what is still done after a failure or ^C.
const cleanUp = time.Second

// create begins to write a file. at is how much of it is there already; what precedes
// that place has to be compared by the caller, see existing.
func (s slot) create(ctx context.Context, of *info) (w writer, at int64, err error) {
	if s.dir.root == nil {
		return s.createRemote(ctx, of)
	}
	return s.createLocal(ctx, of)
}

type localWriter struct {
	_ [0]func() // never compared
	slot
	f    *os.File
	temp string // "": in place
}

func (s slot) createLocal(ctx context.Context, of *info) (writer, int64, error) {
	if fi, err := s.dir.root.Lstat(s.name); err == nil && !fi.Mode().IsRegular() && fi.Mode()&fs.ModeSymlink == 0 {
		switch {
		case fi.IsDir():
			return nil, 0, errors.New("there is a directory of this name")
		case !s.explicit:
			return nil, 0, errors.New("what has this name is no regular file; it was left alone")
		}
		f, err := s.dir.root.OpenFile(s.name, os.O_WRONLY, 0)
		return &localWriter{slot: s, f: f}, 0, err
	}
	w := &localWriter{slot: s, temp: tempName(s.name, s.resume)}
	flags := os.O_RDWR | os.O_CREATE | os.O_EXCL
	if s.resume != "" {
		// Where others can write, too, one of them may have made a file of this name.
		if fi, err := s.dir.root.Lstat(w.temp); err == nil && fi.Mode().IsRegular() && ownerOf(fi) == int64(os.Geteuid()) {
			flags &^= os.O_EXCL
		}
	}
	var err error
	if w.f, err = s.dir.root.OpenFile(w.temp, flags, 0o600); err != nil {
		return nil, 0, err
	}
	fi, err := w.f.Stat()
	if err != nil {
		w.abort(false)
		return nil, 0, err
	}
	return w, resumeAt(fi.Size(), of.size), nil
}

func (w *localWriter) write(_ context.Context, p []byte) error {
	_, err := w.f.Write(p)
	return err
}

func (w *localWriter) commit(ctx context.Context, of *info) error {
	if w.temp == "" {
		return w.f.Close()
	}
	fi, err := w.f.Stat()
	if err == nil {
		mode := keptMode(of, w.times, ownerOf(fi))
		if !w.times { // a server does not make files here that everybody can write to
			mode &^= w.dir.fold.mask
		}
		err = w.f.Chmod(mode)
	}
	if err = errors.Join(err, w.f.Close()); err != nil {
		return err
	}
	if w.times {
		if err := w.dir.root.Chtimes(w.temp, time.Now(), of.mtime); err != nil {
			return err
		}
	}
	return w.publish(ctx)
}

// publish gives the file its name, unless another file of this copy has that already.
func (w *localWriter) publish(ctx context.Context) error {
	fi, err := w.dir.root.Lstat(w.temp)
	if err != nil {
		return err
	}
	// The lock makes two files that are ready at once come one after the other.
	w.dir.renaming.Lock()
	defer w.dir.renaming.Unlock()
	if there, err := w.dir.root.Lstat(w.name); err == nil {
		if id, ok := identity(there); ok && w.dir.has(id) {
			return errTwice
		}
	}
	if err := w.dir.claimLocal(ctx, w.name, fi); err != nil {
		return err
	}
	if err := w.dir.root.Rename(w.temp, w.name); err != nil {
		return err
	}
	w.temp = ""
	return nil
}

func (w *localWriter) abort(keep bool) {
	w.f.Close()
	if !keep && w.temp != "" {
		_ = w.dir.root.Remove(w.temp)
	}
}

// keptMode is the permissions of a copy. What makes a program run as somebody else is
// kept only with -p, for a file that belongs to the same user here and there.
func keptMode(of *info, preserve bool, owner int64) fs.FileMode {
	mode := of.mode.Perm()
	if preserve && owner >= 0 && owner == of.uid {
		mode |= of.mode & (fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	}
	return mode
}

type remoteWriter struct {
	_ [0]func() // never compared
	slot
	client *sftp.Client
	f      *sftp.File
	w      *sftp.Writer
	temp   string // "": in place
	final  string
	closed bool
}

func (s slot) createRemote(ctx context.Context, of *info) (writer, int64, error) {
	if !s.explicit {
		if err := s.dir.claimName(ctx, s.name); err != nil {
			return nil, 0, err
		}
	}
	c := s.dir.place.Client
	w := &remoteWriter{slot: s, client: c, final: s.dir.place.join(s.dir.path, s.name)}
	w.temp = s.dir.place.join(s.dir.path, tempName(s.name, s.resume))
	// What has the name is looked at while the temporary file is made.
	type found struct {
		sftp.Attrs
		err error
	}
	there := make(chan found, 1)
	go func() {
		a, err := c.Lstat(ctx, w.final)
		there <- found{a, err}
	}()
	flags := uint32(sftp.Write | sftp.Create | sftp.Exclusive)
	if s.resume != "" {
		flags = sftp.Read | sftp.Write | sftp.Create
	}
	var err error
	w.f, err = c.Open(ctx, w.temp, flags, modeAttrs(0o600))
	target := <-there
	if err != nil {
		return nil, 0, err
	}
	if target.err == nil && !target.IsRegular() && target.TypeKnown() {
		return w.special(ctx, target.Attrs)
	}
	var at int64
	if s.resume != "" {
		a, err := w.f.Stat(ctx)
		if err != nil {
			w.abort(true)
			return nil, 0, err
		}
		at = resumeAt(int64(a.Size), of.size)
	}
	return w, at, nil
}

// special deals with a target that is no regular file: a link is followed, a device that
// the person named is written to.
func (w *remoteWriter) special(ctx context.Context, a sftp.Attrs) (writer, int64, error) {
	fail := func(err error) (writer, int64, error) {
		w.abort(false)
		return nil, 0, err
	}
	if a.IsLink() {
		behind, err := w.client.Stat(ctx, w.final)
		if errors.Is(err, fs.ErrNotExist) {
			return w, 0, nil // it leads nowhere: it is replaced
		}
		if err != nil {
			return fail(err)
		}
		if a = behind; a.IsRegular() {
			real, err := w.client.RealPath(ctx, w.dir.path)
			if err == nil {
				w.final, err = w.dir.place.follow(ctx, real, w.name)
			}
			if err != nil {
				return fail(err)
			}
			moved := *w
			moved.slot.dir = &dir{place: w.dir.place, path: path.Dir(w.final)}
			moved.temp = w.dir.place.join(moved.dir.path, tempName(path.Base(w.final), ""))
			w.abort(false)
			if moved.f, err = w.client.Open(ctx, moved.temp, sftp.Write|sftp.Create|sftp.Exclusive, modeAttrs(0o600)); err != nil {
				return nil, 0, err
			}
			moved.closed = false
			return &moved, 0, nil
		}
	}
	switch {
	case a.IsDir():
		return fail(errors.New("there is a directory of this name"))
	case !w.explicit:
		return fail(errors.New("what has this name is no regular file; it was left alone"))
	}
	w.abort(false)
	f, err := w.client.Open(ctx, w.final, sftp.Write, sftp.Attrs{})
	return &remoteWriter{slot: w.slot, client: w.client, f: f, final: w.final}, 0, err
}

func (w *remoteWriter) write(ctx context.Context, p []byte) error {
	if w.w == nil {
		w.w = w.f.Writer(0)
	}
	return w.w.Write(ctx, p)
}

func (w *remoteWriter) commit(ctx context.Context, of *info) error {
	a := modeAttrs(keptMode(of, false, -1))
	if special := of.mode & (fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky); special != 0 && w.times {
		if there, err := w.f.Stat(ctx); err == nil && there.HasOwner {
			a.SetMode(keptMode(of, true, int64(there.UID)))
		}
	}
	if w.times {
		a.SetTimes(of.mtime)
	}
	// All of it is under way at once; the server does it in this order.
	w.closed = true
	var set *sftp.Reply
	over := w.f.StartClose(ctx)
	if w.temp != "" {
		set = w.client.StartSetstat(ctx, w.temp, a)
	}
	if w.w != nil {
		if err := w.w.Flush(ctx); err != nil {
			return err
		}
	}
	if err := over.Wait(ctx); err != nil || w.temp == "" {
		return err
	}
	refused := set.Wait(ctx)
	var status *sftp.StatusError
	if refused != nil && !errors.As(refused, &status) {
		return refused
	}
	if err := w.client.Rename(ctx, w.temp, w.final); err != nil {
		return err
	}
	w.temp = ""
	return refused // everything is there but for mode and times
}

// abort waits a moment for the temporary file to be gone, ^C or not.
func (w *remoteWriter) abort(keep bool) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanUp)
	defer cancel()
	if w.w != nil {
		w.w.Close()
	}
	if !w.closed {
		w.closed = true
		w.f.StartClose(ctx)
	}
	if w.temp != "" && !keep {
		_ = w.client.Remove(ctx, w.temp)
	}
}

// Of a part that is there, the last bytes are written again: what was under way when it
// ended may have left gaps. Before that, some are compared.
const (
	rewritten = 8 << 20
	compared  = 64 << 10
)

// resumeAt is how much of a part is kept.
func resumeAt(part, whole int64) int64 {
	if part > whole || part <= rewritten {
		return 0
	}
	return part - rewritten
}

// existing reads what the part has in the bytes before at, and prepares it to be written
// from at on; at 0 it is emptied.
func (w *localWriter) existing(_ context.Context, at int64) ([]byte, error) {
	if w.temp == "" {
		return nil, nil
	}
	if err := w.f.Truncate(at); err != nil {
		return nil, err
	}
	if _, err := w.f.Seek(at, io.SeekStart); err != nil {
		return nil, err
	}
	tail := make([]byte, min(at, compared))
	_, err := io.ReadFull(io.NewSectionReader(w.f, at-int64(len(tail)), int64(len(tail))), tail)
	return tail, ignoreEOF(err)
}

func (w *remoteWriter) existing(ctx context.Context, at int64) ([]byte, error) {
	if w.temp == "" {
		return nil, nil
	}
	if err := w.f.Setstat(ctx, sftp.Attrs{HasSize: true, Size: uint64(at)}); err != nil {
		return nil, err
	}
	w.w = w.f.Writer(at)
	n := min(at, compared)
	r := w.f.Reader(at-n, at)
	defer r.Close()
	var tail []byte
	for int64(len(tail)) < n {
		piece, err := r.Next(ctx)
		if err != nil {
			return nil, err
		}
		tail = append(tail, piece...)
	}
	return tail, nil
}
