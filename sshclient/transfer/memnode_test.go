package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// serve runs a server at the far end of a pipe, or of what through makes of one.
func serve(t testing.TB, run func(net.Conn), near, far net.Conn, o sftp.Options) Place {
	t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		run(far)
		far.Close()
	}()
	c, err := sftp.New(deadline(t), near, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-over })
	return Place{Client: c, Name: "node"}
}

// diskNode is a node with the files in dir.
func diskNode(t testing.TB, dir string) Place {
	t.Helper()
	near, far := net.Pipe()
	return serve(t, diskServer(t, dir), near, far, sftp.Options{})
}

func diskServer(t testing.TB, dir string) func(net.Conn) {
	return func(conn net.Conn) {
		s, err := server.NewServer(conn, server.WithServerWorkingDirectory(dir))
		if err != nil {
			t.Error(err)
			return
		}
		s.Serve()
	}
}

// memNode is a node that has in memory what a test says, and lies as the test says.
type memNode struct {
	fold bool // names are equal that differ in case

	mu      sync.Mutex
	dirs    map[string][]*memFile // what a directory lists
	files   map[string]*memFile   // by path, what there is
	removed []string
	renamed []string
	list    func(dir string, offset int64) []*memFile // instead of dirs
}

type memFile struct {
	name     string
	mode     fs.FileMode
	size     int64 // what is said of it
	uid      uint32
	data     []byte
	read     func(p []byte, at int64) (int, error)
	writeErr func(at int64) error
	closeErr error

	mu sync.Mutex // for data and size, while it is written
}

func (f *memFile) Name() string       { return f.name }
func (f *memFile) Size() int64        { return f.size }
func (f *memFile) Mode() fs.FileMode  { return f.mode }
func (f *memFile) ModTime() time.Time { return time.Unix(1e9, 0) }
func (f *memFile) IsDir() bool        { return f.mode.IsDir() }
func (f *memFile) Sys() any           { return nil }
func (f *memFile) Uid() uint32        { return f.uid }
func (f *memFile) Gid() uint32        { return f.uid }

func (f *memFile) ReadAt(p []byte, at int64) (int, error) {
	if f.read != nil {
		return f.read(p, at)
	}
	return bytes.NewReader(f.data).ReadAt(p, at)
}

func (f *memFile) WriteAt(p []byte, at int64) (int, error) {
	if f.writeErr != nil {
		if err := f.writeErr(at); err != nil {
			return 0, err
		}
	}
	// The server writes what comes in several requests at the same time.
	f.mu.Lock()
	defer f.mu.Unlock()
	if grown := int(at) + len(p) - len(f.data); grown > 0 {
		f.data = append(f.data, make([]byte, grown)...)
	}
	f.size = int64(len(f.data))
	return copy(f.data[at:], p), nil
}

func (f *memFile) Close() error { return f.closeErr }

type memLister []*memFile

func (l memLister) ListAt(out []fs.FileInfo, offset int64) (n int, err error) {
	for n < len(out) && offset+int64(n) < int64(len(l)) {
		out[n] = l[offset+int64(n)]
		n++
	}
	if n < len(out) {
		err = io.EOF
	}
	return n, err
}

type endlessLister struct {
	dir  string
	list func(dir string, offset int64) []*memFile
}

func (l endlessLister) ListAt(out []fs.FileInfo, offset int64) (n int, err error) {
	for _, f := range l.list(l.dir, offset) {
		if n == len(out) {
			break
		}
		out[n] = f
		n++
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (m *memNode) key(name string) string {
	if m.fold {
		return strings.ToLower(name)
	}
	return name
}

func (m *memNode) Fileread(r *server.Request) (io.ReaderAt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[m.key(r.Filepath)]; f != nil {
		return f, nil
	}
	return nil, os.ErrNotExist
}

func (m *memNode) Filewrite(r *server.Request) (io.WriterAt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &memFile{name: path.Base(r.Filepath), mode: 0o600}
	if like := m.files["/like"]; like != nil {
		f.writeErr, f.closeErr = like.writeErr, like.closeErr
	}
	if m.files == nil {
		m.files = make(map[string]*memFile)
	}
	m.files[m.key(r.Filepath)] = f
	return f, nil
}

func (m *memNode) Filecmd(r *server.Request) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch r.Method {
	case "Remove":
		m.removed = append(m.removed, r.Filepath)
		delete(m.files, m.key(r.Filepath))
	case "Mkdir":
		m.files[m.key(r.Filepath)] = &memFile{name: path.Base(r.Filepath), mode: fs.ModeDir | 0o755}
	case "Setstat":
		if f := m.files[m.key(r.Filepath)]; f != nil {
			f.mode = f.mode&^0o7777 | r.Attributes().FileMode()
		}
	}
	return nil
}

func (m *memNode) PosixRename(r *server.Request) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.renamed = append(m.renamed, r.Target)
	m.files[m.key(r.Target)] = m.files[m.key(r.Filepath)]
	delete(m.files, m.key(r.Filepath))
	return nil
}

func (m *memNode) Filelist(r *server.Request) (server.ListerAt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Method == "List" {
		if m.list != nil {
			return endlessLister{r.Filepath, m.list}, nil
		}
		return memLister(m.dirs[r.Filepath]), nil
	}
	if f := m.files[m.key(r.Filepath)]; f != nil {
		return memLister{f}, nil
	}
	if _, ok := m.dirs[r.Filepath]; ok || m.list != nil || r.Filepath == "/" {
		return memLister{{name: path.Base(r.Filepath), mode: fs.ModeDir | 0o755}}, nil
	}
	return nil, os.ErrNotExist
}

// start connects to the node.
func (m *memNode) start(t testing.TB) Place {
	t.Helper()
	if m.files == nil {
		m.files = make(map[string]*memFile)
	}
	for dir, entries := range m.dirs {
		for _, f := range entries {
			if f.size == 0 {
				f.size = int64(len(f.data))
			}
			m.files[m.key(path.Join(dir, f.name))] = f
		}
	}
	near, far := net.Pipe()
	return serve(t, func(conn net.Conn) {
		server.NewRequestServer(conn, server.Handlers{FileGet: m, FilePut: m, FileCmd: m, FileList: m}).Serve()
	}, near, far, sftp.Options{})
}

// record keeps what a copy says.
type record struct {
	mu     sync.Mutex
	failed map[string]string
	notes  []string
}

func (r *record) options(o Options) Options {
	r.failed = make(map[string]string)
	o.Failed = func(path string, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failed[path] = err.Error()
	}
	o.Note = func(path, message string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notes = append(r.notes, path+": "+message)
	}
	return o
}

func (r *record) wants(t testing.TB, failed map[string]string) {
	t.Helper()
	for path, why := range failed {
		if !strings.Contains(r.failed[path], why) {
			t.Errorf("%q: %q, want %q", path, r.failed[path], why)
		}
	}
	for path, why := range r.failed {
		if _, ok := failed[path]; !ok {
			t.Errorf("%q failed: %s", path, why)
		}
	}
}

// ls is every path below dir, with directories ending in a slash.
func ls(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if p == dir || err != nil {
			return err
		}
		p, _ = filepath.Rel(dir, p)
		if d.IsDir() {
			p += "/"
		}
		names = append(names, filepath.ToSlash(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func put(t testing.TB, name string, data []byte) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	return name
}

func content(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func dirOf(entries ...*memFile) map[string][]*memFile { return map[string][]*memFile{"/src": entries} }

func from(p Place, paths ...string) (s []Source) {
	for _, path := range paths {
		s = append(s, Source{p, path})
	}
	return s
}
