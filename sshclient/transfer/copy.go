package transfer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

const (
	// filesAtOnce is how many files are under way: two or three round trips each.
	filesAtOnce = 128
	// walkersAtOnce is how many directories are listed at the same time.
	walkersAtOnce = 32
	// maxGrowth is how much longer than it was a file may become while it is copied,
	// unless it is large itself; more is a file without an end.
	maxGrowth = 1 << 30
)

// Source is a file or directory to copy.
type Source struct {
	Place Place
	Path  string
}

// Options say how to copy.
type Options struct {
	Recursive bool  // copy directories, too
	Times     bool  // copy times as well as modes, and special bits of files of the same owner
	Continue  bool  // keep parts of files after a failure, and use them; implies times
	Limit     int64 // bytes per second; 0: none
	growth    int64 // maxGrowth, in tests less

	// Started and Finished, if set, are told of each file; Failed of each one, or
	// directory, that was not or not properly copied, with its path for people; Note of
	// what is worth to be known and no failure. They are called from many goroutines.
	Started  func(*File)
	Finished func(*File)
	Failed   func(path string, err error)
	Note     func(path, message string)
}

// File is a file being copied.
type File struct {
	Path string // for people; as it is
	Size int64
	done atomic.Int64
	kept atomic.Int64
}

// Kept is how many bytes were there from an earlier run.
func (f *File) Kept() int64 { return f.kept.Load() }

// Done is how many bytes of it are there.
func (f *File) Done() int64 { return f.done.Load() }

// Summary is what became of a copy.
type Summary struct {
	Files  int64 `json:"files"`  // copied
	Bytes  int64 `json:"bytes"`  // of them
	Failed int64 `json:"failed"` // files and directories that were not, or not properly
}

// copier is one copy.
type copier struct {
	Options
	jobs    chan *job
	tokens  chan struct{} // of walkers
	walkers sync.WaitGroup
	held    atomic.Int64 // see walk
	rate    limiter

	files, bytes, failed atomic.Int64
}

// job is a file to copy.
type job struct {
	from Place
	path string
	info *info
	to   slot
	node *node // told when it is over; may be nil
}

// Copy copies the sources to target. Several sources need a directory there, which is
// made if it is missing; a single one gets the name of the target, or keeps its own in
// a directory that exists. What fails is told to Failed and counted, and the rest goes
// on; the error is the cause of ctx, or that of a connection that broke, or about the
// target itself.
func Copy(ctx context.Context, sources []Source, to Source, o Options) (Summary, error) {
	o.Times = o.Times || o.Continue
	c := &copier{Options: o, jobs: make(chan *job, walkersAtOnce), tokens: make(chan struct{}, walkersAtOnce)}
	c.rate.perSecond = o.Limit
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	places := []Place{to.Place}
	for _, s := range sources {
		places = append(places, s.Place)
	}
	var workers sync.WaitGroup
	for range workersFor(ctx, places) {
		workers.Go(func() {
			for j := range c.jobs {
				c.run(ctx, j)
				if err := broken(places); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := c.start(ctx, sources, to)
	c.walkers.Wait()
	close(c.jobs)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if lost := broken(places); lost != nil {
		err = lost
	}
	return Summary{c.files.Load(), c.bytes.Load(), c.failed.Load()}, err
}

// workersFor is how many files may be open at once.
func workersFor(ctx context.Context, places []Place) int {
	n := filesAtOnce
	for _, p := range places {
		if p.Client == nil {
			continue
		}
		p.Client.Chunk(ctx)
		if most := p.Client.MaxHandles(); most > 0 {
			n = max(min(n, most/2-walkersAtOnce), 1)
		}
	}
	return n
}

// broken says why one of the connections is over.
func broken(places []Place) error {
	for _, p := range places {
		if p.Client != nil && p.Client.Err() != nil {
			return p.Client.Err()
		}
	}
	return nil
}

func (c *copier) fail(path string, err error) {
	c.failed.Add(1)
	if c.Failed != nil {
		c.Failed(path, shorten(err))
	}
}

// shorten leaves out the path, which is told beside the error.
func shorten(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	var status *sftp.StatusError
	switch {
	case errors.As(err, new(*targetError)):
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	case errors.As(err, &status):
		short := *status
		short.Path = ""
		return &short
	}
	return err
}

// targetError is what went wrong with the copy rather than with the source.
type targetError struct {
	path string
	err  error
}

func (e *targetError) Error() string { return text.Line(e.path) + ": " + shorten(e.err).Error() }
func (e *targetError) Unwrap() error { return e.err }

// wrap says where the copy was to be.
func (s slot) wrap(err error) error {
	if err == nil {
		return nil
	}
	return &targetError{s.dir.place.show(s.dir.place.join(s.dir.path, s.name)), err}
}

func (c *copier) note(path, message string) {
	if c.Note != nil {
		c.Note(path, message)
	}
}

// run copies one file and says what became of it.
func (c *copier) run(ctx context.Context, j *job) {
	defer j.node.done(ctx, c)
	if ctx.Err() != nil {
		return
	}
	f := &File{Path: j.from.show(j.path), Size: j.info.size}
	if c.Started != nil {
		c.Started(f)
	}
	err := c.file(ctx, j, f)
	if c.Finished != nil {
		c.Finished(f)
	}
	var protocol *sftp.ProtocolError
	switch {
	case err == nil:
		c.files.Add(1)
		c.bytes.Add(f.Done())
	case ctx.Err() != nil || errors.As(err, &protocol):
		c.failed.Add(1) // one message about the whole is enough
	default:
		c.fail(f.Path, err)
	}
}

// file copies one file.
func (c *copier) file(ctx context.Context, j *job, f *File) (err error) {
	if c.Continue {
		j.to.resume = fmt.Sprintf("%s %d %d", j.from.show(j.path), j.info.size, j.info.mtime.Unix())
		if j.to.complete(ctx, j.info) {
			f.done.Store(j.info.size)
			f.kept.Store(j.info.size)
			return nil
		}
	}
	r, err := j.from.open(ctx, j.path, 0, j.info)
	if err != nil {
		return err
	}
	defer func() { r.close() }()
	w, at, err := j.to.create(ctx, j.info)
	if err != nil {
		return j.to.wrap(err)
	}
	defer func() {
		if err != nil {
			w.abort(c.Continue && !errors.Is(err, errTwice))
		}
	}()
	if j.to.resume != "" {
		if at, err = c.resume(ctx, j, w, at); err != nil {
			return err
		}
		if at > 0 {
			r.close()
			if r, err = j.from.open(ctx, j.path, at, j.info); err != nil {
				return err
			}
			f.done.Store(at)
			f.kept.Store(at)
		}
	}
	if err := c.pump(ctx, r, w, j.to, f); err != nil {
		return err
	}
	return j.to.wrap(w.commit(ctx, j.info))
}

// resume compares the end of what is there with the source, and returns where to go on.
func (c *copier) resume(ctx context.Context, j *job, w writer, at int64) (int64, error) {
	tail, err := w.existing(ctx, at)
	if err != nil || at == 0 {
		return 0, err
	}
	r, err := j.from.open(ctx, j.path, at-int64(len(tail)), &info{size: at})
	if err != nil {
		return 0, err
	}
	defer r.close()
	for rest := tail; len(rest) > 0; {
		piece, err := r.next(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		n := min(len(piece), len(rest))
		if n == 0 || !bytes.Equal(piece[:n], rest[:n]) {
			c.note(j.from.show(j.path), "the part that is there is of another file; starting anew")
			_, err = w.existing(ctx, 0)
			return 0, err
		}
		rest = rest[n:]
	}
	c.note(j.from.show(j.path), fmt.Sprintf("continued at %d bytes", at))
	return at, nil
}

// pump copies from r to w until the end.
func (c *copier) pump(ctx context.Context, r reader, w writer, to slot, f *File) error {
	most := f.Size + max(f.Size, cmp.Or(c.growth, maxGrowth))
	for {
		piece, err := r.next(ctx)
		if errors.Is(err, io.EOF) {
			return c.atEnd(ctx, r, f)
		}
		if err != nil {
			return err
		}
		if f.Done()+int64(len(piece)) > most {
			return fmt.Errorf("it had %d bytes and does not end", f.Size)
		}
		if err := c.rate.wait(ctx, len(piece)); err != nil {
			return err
		}
		if err := w.write(ctx, piece); err != nil {
			return to.wrap(err)
		}
		f.done.Add(int64(len(piece)))
	}
}

// atEnd tells a file that became shorter from one that did not come as a whole.
func (c *copier) atEnd(ctx context.Context, r reader, f *File) error {
	got := f.Done()
	if got >= f.Size {
		return nil
	}
	now, err := r.size(ctx)
	if err != nil {
		return err
	}
	if now > got {
		return fmt.Errorf("it ended after %d of %d bytes: %w", got, now, io.ErrUnexpectedEOF)
	}
	c.note(f.Path, fmt.Sprintf("became shorter while it was copied: %d of %d bytes", got, f.Size))
	return nil
}

// limiter lets so many bytes through in a second.
type limiter struct {
	_         [0]func() // never compared
	perSecond int64
	mu        sync.Mutex
	free      time.Time // when what was let through is paid for
}

func (l *limiter) wait(ctx context.Context, n int) error {
	if l.perSecond <= 0 {
		return nil
	}
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.perSecond) * float64(time.Second)))
	d := l.free.Sub(now)
	l.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
