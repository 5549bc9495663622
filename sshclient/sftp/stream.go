package sftp

import (
	"context"
	"errors"
	"io"
)

const (
	// smallChunk is what every server takes (section 3: packets of 34000 bytes).
	smallChunk = 32 << 10
	// largeChunk is asked for where a server says that it takes it: four times fewer
	// packets to deal with.
	largeChunk = 128 << 10
	// defaultInFlight is how many bytes are under way at once in either direction: twice
	// what the window of an SSH channel lets through.
	defaultInFlight = 4 << 20
)

// Chunk is how many bytes of data go into one request. It waits for what the server has
// to say about it, once.
func (c *Client) Chunk(ctx context.Context) int {
	c.settle.Do(func() {
		if c.chunk != 0 {
			return
		}
		c.chunk = smallChunk
		if c.limits == nil || c.limits.Wait(ctx) != nil {
			return
		}
		f := fields{rest: c.limits.body}
		longest, read, write, handles := f.u64(), f.u64(), f.u64(), f.u64()
		if f.bad {
			return
		}
		c.handles = int(min(handles, 1<<20))
		if min(longest, read, write) >= largeChunk && longest >= maxPacket {
			c.chunk = largeChunk
			for range cap(c.reads) - defaultInFlight/largeChunk {
				c.reads <- struct{}{}
				c.writes <- struct{}{}
			}
		}
	})
	return c.chunk
}

// MaxHandles is how many files the server lets one client have open, 0 if it does not
// say. It is known once Chunk was called.
func (c *Client) MaxHandles() int { return c.handles }

// Reader reads a file from a place on, piece by piece, with requests in flight as far as
// the file is expected to reach. It is for one goroutine.
type Reader struct {
	file   *File
	size   int64 // as far as is asked for without being sure that there is anything
	next   int64 // where the next request begins
	probed bool  // a request beyond size is under way
	chunk  int
	ahead  []*readRequest
	err    error
}

type readRequest struct {
	*Reply
	at   int64
	want int
}

// Reader reads from offset on. The file is expected to end at size; where it does not,
// it is read to its end all the same, more slowly.
func (f *File) Reader(offset, size int64) *Reader {
	return &Reader{file: f, size: size, next: offset}
}

// Next returns the next piece, at least one byte, and in the end io.EOF. The piece is
// valid until Next is called again.
func (r *Reader) Next(ctx context.Context) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	piece, err := r.read(ctx)
	if err != nil {
		r.err = err
		r.Close()
	}
	return piece, err
}

func (r *Reader) read(ctx context.Context) ([]byte, error) {
	if r.chunk == 0 {
		r.chunk = r.file.client.Chunk(ctx)
	}
	if err := r.ask(ctx); err != nil {
		return nil, err
	}
	head := r.ahead[0]
	if err := head.Wait(ctx); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, err
	}
	r.ahead = r.ahead[1:]
	if head.at >= r.size {
		r.probed = false
	}
	piece := head.body
	if missing := head.want - len(piece); missing > 0 {
		// The end, or a server that gives less at once than was asked for: the rest is
		// needed before what has been asked for since.
		rest := r.request(ctx, head.at+int64(len(piece)), missing)
		r.ahead = append([]*readRequest{rest}, r.ahead...)
		if len(piece) >= 4<<10 {
			r.chunk = min(r.chunk, len(piece))
		}
	} else {
		r.release()
	}
	return piece, nil
}

// ask sends requests until the window is full or the end is asked for.
func (r *Reader) ask(ctx context.Context) error {
	slots := r.file.client.reads
	for r.next < r.size || !r.probed {
		if r.next >= r.size && len(r.ahead) > 0 && r.next > r.size {
			return nil // growing: one at a time
		}
		select {
		case slots <- struct{}{}:
		default:
			if len(r.ahead) > 0 {
				return nil
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		want := r.chunk
		if r.next < r.size {
			want = int(min(int64(want), r.size-r.next))
		} else {
			r.probed = true
		}
		r.ahead = append(r.ahead, r.request(ctx, r.next, want))
		r.next += int64(want)
	}
	return nil
}

func (r *Reader) request(ctx context.Context, at int64, want int) *readRequest {
	p := newPacket(typeRead, r.file.handle).u64(uint64(at)).u32(uint32(want))
	reply := r.file.client.sendData(ctx, p, nil, &Reply{kind: typeData, op: "read", path: r.file.name, most: uint32(want)})
	return &readRequest{reply, at, want}
}

func (r *Reader) release() { <-r.file.client.reads }

// Close gives up what is still under way. The file stays open.
func (r *Reader) Close() {
	for range r.ahead {
		r.release()
	}
	r.ahead = nil
	if r.err == nil {
		r.err = ErrClosed
	}
}

// Writer writes a file from a place on with requests in flight. It is for one goroutine.
type Writer struct {
	file  *File
	at    int64
	under []*Reply
	err   error
}

// Writer writes from offset on.
func (f *File) Writer(offset int64) *Writer { return &Writer{file: f, at: offset} }

// Write sends p, of any length, which may be used again when it returns. Whether it was
// written shows in a later error: the first one stays. Only after Flush has returned nil
// is everything written.
func (w *Writer) Write(ctx context.Context, p []byte) error {
	chunk := w.file.client.Chunk(ctx)
	for len(p) > 0 && w.err == nil {
		n := min(chunk, len(p))
		if w.err = w.slot(ctx); w.err != nil {
			break
		}
		head := newPacket(typeWrite, w.file.handle).u64(uint64(w.at)).u32(uint32(n))
		w.under = append(w.under, w.file.client.sendData(ctx, head, p[:n], &Reply{kind: typeStatus, op: "write", path: w.file.name}))
		w.at += int64(n)
		p = p[n:]
	}
	return w.err
}

// slot waits until one more request may be under way, and takes note of what has been
// answered.
func (w *Writer) slot(ctx context.Context) error {
	for len(w.under) > 0 {
		select {
		case <-w.under[0].done:
			if err := w.first(ctx); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	slots := w.file.client.writes
	for {
		select {
		case slots <- struct{}{}:
			return nil
		default:
		}
		if len(w.under) > 0 {
			if err := w.first(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// first waits for the first request under way.
func (w *Writer) first(ctx context.Context) error {
	err := w.under[0].Wait(ctx)
	if err == nil {
		w.under = w.under[1:]
		<-w.file.client.writes
	}
	return err
}

// Flush waits until everything is written, and says whether it was.
func (w *Writer) Flush(ctx context.Context) error {
	for len(w.under) > 0 && w.err == nil {
		w.err = w.first(ctx)
	}
	return w.err
}

// Close gives up what is still under way. The file stays open.
func (w *Writer) Close() {
	for range w.under {
		<-w.file.client.writes
	}
	w.under = nil
	if w.err == nil {
		w.err = ErrClosed
	}
}
