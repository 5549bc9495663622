package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

// reader gives the content of a file piece by piece.
type reader interface {
	// next returns the next piece, valid until the next call, and in the end io.EOF.
	next(ctx context.Context) ([]byte, error)
	// size is how long the file is now.
	size(ctx context.Context) (int64, error)
	close()
}

// errNoFile is what can be opened and is no file to copy: a pipe, a socket, a device.
var errNoFile = errors.New("not a regular file; skipped")

// open opens a file to read it from a place on.
func (p Place) open(ctx context.Context, name string, from int64, of *info) (reader, error) {
	if p.Client != nil {
		f, err := p.Client.Open(ctx, name, sftp.Read, sftp.Attrs{})
		if err != nil {
			return nil, err
		}
		return &remoteReader{f, f.Reader(from, of.size)}, nil
	}
	f, err := openForReading(name)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errNoFile
	}
	if err == nil && from > 0 {
		_, err = f.Seek(from, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &localReader{f: f, buf: make([]byte, min(max(fi.Size()-from, 0)+1, pieceSize))}, nil
}

// pieceSize is how much of a local file is read at once.
const pieceSize = 128 << 10

type localReader struct {
	f   *os.File
	buf []byte
}

func (r *localReader) next(context.Context) ([]byte, error) {
	n, err := r.f.Read(r.buf)
	if n > 0 {
		return r.buf[:n], nil
	}
	return nil, err
}

func (r *localReader) size(context.Context) (int64, error) {
	fi, err := r.f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (r *localReader) close() { r.f.Close() }

type remoteReader struct {
	f *sftp.File
	r *sftp.Reader
}

func (r *remoteReader) next(ctx context.Context) ([]byte, error) { return r.r.Next(ctx) }

func (r *remoteReader) size(ctx context.Context) (int64, error) {
	a, err := r.f.Stat(ctx)
	if err == nil && !a.HasSize {
		err = fs.ErrInvalid
	}
	return int64(a.Size), err
}

// close does not wait for the answer: nothing depends on it.
func (r *remoteReader) close() {
	r.r.Close()
	r.f.StartClose(context.Background())
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
