package sftp_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	server "github.com/pkg/sftp"

	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// connect speaks with the server of another library about the files in dir.
func connect(t testing.TB, dir string, o sftp.Options, more ...server.ServerOption) *sftp.Client {
	t.Helper()
	near, far := net.Pipe()
	s, err := server.NewServer(far, append(more, server.WithServerWorkingDirectory(dir))...)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.Serve()
	}()
	c, err := sftp.New(deadline(t), near, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-over })
	return c
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func readAll(t testing.TB, r *sftp.Reader) ([]byte, error) {
	t.Helper()
	ctx := deadline(t)
	var all []byte
	for {
		piece, err := r.Next(ctx)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, piece...)
	}
}

// Every request, with a server that was not written for this client.
func TestRequests(t *testing.T) {
	dir := t.TempDir()
	c := connect(t, dir, sftp.Options{})
	ctx := deadline(t)
	content := noise(1000)
	write(t, filepath.Join(dir, "f"), content)
	if err := os.Symlink("f", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	a, err := c.Stat(ctx, "l")
	if err != nil || !a.IsRegular() || a.Size != 1000 || a.Mode() != 0o644 {
		t.Errorf("stat: %+v, %v", a, err)
	}
	if a, err := c.Lstat(ctx, "l"); err != nil || !a.IsLink() {
		t.Errorf("lstat: %+v, %v", a, err)
	}
	if to, err := c.ReadLink(ctx, "l"); err != nil || to != "f" {
		t.Errorf("readlink: %q, %v", to, err)
	}
	if p, err := c.RealPath(ctx, "."); err != nil || p != dir {
		t.Errorf("realpath: %q, %v", p, err)
	}
	if err := c.Mkdir(ctx, "d", sftp.Attrs{}); err != nil {
		t.Error(err)
	}
	var set sftp.Attrs
	set.SetMode(0o711)
	set.SetTimes(time.Unix(1_000_000_000, 0))
	if err := c.StartSetstat(ctx, "d", set).Wait(ctx); err != nil {
		t.Error(err)
	}
	if a, err := c.Stat(ctx, "d"); err != nil || !a.IsDir() || a.Mode() != 0o711 || a.ModTime().Unix() != 1_000_000_000 {
		t.Errorf("after setstat: %+v, %v", a, err)
	}
	if err := c.Rename(ctx, "f", "d/g"); err != nil {
		t.Error(err)
	}
	var names []string
	if err := c.List(ctx, ".", func(e sftp.Entry) error { names = append(names, e.Name); return nil }); err != nil {
		t.Error(err)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"d", "l"}) {
		t.Errorf("list: %q", names)
	}
	f, err := c.Open(ctx, "d/g", sftp.Read, sftp.Attrs{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(t, f.Reader(0, 1000)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read: %d bytes, %v", len(got), err)
	}
	if a, err := f.Stat(ctx); err != nil || a.Size != 1000 {
		t.Errorf("fstat: %+v, %v", a, err)
	}
	if err := f.StartClose(ctx).Wait(ctx); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.Remove(ctx, "d/g"), c.Rmdir(ctx, "d")); err != nil {
		t.Error(err)
	}
	_, err = c.Stat(ctx, "d")
	var status *sftp.StatusError
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &status) || status.Path != "d" {
		t.Errorf("stat of nothing: %v", err)
	}
}

// What is read is the file, whatever was thought of its size, and however much the server
// gives at once; what was written is there.
func TestStreams(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []sftp.Options{{}, {Chunk: 1000, Window: 3}, {Chunk: 200 << 10, Window: 4}} {
		c := connect(t, dir, o)
		ctx := deadline(t)
		for _, size := range []int{0, 1, 999, 1000, 1001, 32 << 10, 100_000, 3<<20 + 17} {
			content := noise(size)
			f, err := c.Open(ctx, "up", sftp.Write|sftp.Create|sftp.Truncate, sftp.Attrs{})
			if err != nil {
				t.Fatal(err)
			}
			w := f.Writer(0)
			for rest := content; len(rest) > 0; {
				n := min(len(rest), 77_777)
				if err := w.Write(ctx, rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := errors.Join(w.Flush(ctx), f.StartClose(ctx).Wait(ctx)); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "up")); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%+v: %d bytes written, %d are there, %v", o, size, len(got), err)
			}
			for _, guess := range []int{size, 0, size / 2, size + 1, size + 500_000} {
				f, err := c.Open(ctx, "up", sftp.Read, sftp.Attrs{})
				if err != nil {
					t.Fatal(err)
				}
				from := size / 3
				if got, err := readAll(t, f.Reader(int64(from), int64(guess))); err != nil || !bytes.Equal(got, content[from:]) {
					t.Errorf("%+v: %d bytes expected to be %d: %d read, %v", o, size, guess, len(got), err)
				}
				f.StartClose(ctx)
			}
		}
	}
}

// A server that gives less than was asked for.
func TestShortReads(t *testing.T) {
	dir := t.TempDir()
	content := noise(1 << 20)
	write(t, filepath.Join(dir, "f"), content)
	c := connect(t, dir, sftp.Options{Chunk: 128 << 10, Window: 8}, server.WithMaxTxPacket(40_000))
	f, err := c.Open(deadline(t), "f", sftp.Read, sftp.Attrs{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(t, f.Reader(0, 1<<20)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Requests of many goroutines at once do not get each other's answers.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	c := connect(t, dir, sftp.Options{Chunk: 512, Window: 5})
	ctx := deadline(t)
	results := make(chan error)
	const n = 40
	for i := range n {
		go func() {
			content := bytes.Repeat([]byte{byte(i)}, 5000+i)
			name := string(rune('A' + i))
			write(t, filepath.Join(dir, name), content)
			f, err := c.Open(ctx, name, sftp.Read, sftp.Attrs{})
			if err == nil {
				var got []byte
				if got, err = readAll(t, f.Reader(0, 5000)); err == nil && !bytes.Equal(got, content) {
					err = errors.New("other content")
				}
			}
			results <- err
		}()
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// A wait ends with its context, and with the connection.
func TestNoAnswer(t *testing.T) {
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	go io.Copy(io.Discard, far)
	if _, err := sftp.New(ctx, near, sftp.Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c := hostile(t, func(byte, uint32, []byte) []byte { return nil })
	ctx, cancel = context.WithCancel(t.Context())
	go cancel()
	if _, err := c.Stat(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go c.Close()
	if _, err := c.Stat(t.Context(), "x"); !errors.Is(err, sftp.ErrClosed) {
		t.Error(err)
	}
}
