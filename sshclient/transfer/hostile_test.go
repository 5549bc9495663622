package transfer

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

// case X01: what is no name is refused and reported; the rest arrives.
func TestNamesFromTheServer(t *testing.T) {
	var entries []*memFile
	bad := []string{"", "a/b", "/abs", "../up", "nul\x00byte"}
	failed := make(map[string]string)
	for _, name := range bad {
		entries = append(entries, &memFile{name: name, mode: 0o644, data: []byte("bad")})
	}
	for _, name := range []string{".", ".."} { // every directory lists them
		entries = append(entries, &memFile{name: name, mode: fs.ModeDir | 0o755})
	}
	entries = append(entries, &memFile{name: "good", mode: 0o644, data: []byte("good")})
	failed["node:/src"] = "is refused"
	node := (&memNode{dirs: dirOf(entries...)}).start(t)
	dir := t.TempDir()
	var r record
	sum, err := Copy(deadline(t), from(node, "/src"), Source{Path: filepath.Join(dir, "dst")}, r.options(Options{Recursive: true}))
	if err != nil || sum.Files != 1 || sum.Failed != int64(len(bad)) {
		t.Errorf("%+v, %v", sum, err)
	}
	r.wants(t, failed)
	if got := ls(t, dir); !slices.Equal(got, []string{"dst/", "dst/good"}) {
		t.Errorf("%q", got)
	}
}

// case X01: what a name would mean on Windows is refused there, and nowhere else.
func TestNamesOnWindows(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "con": false, "CON.txt": false, "console": true, "nul ": false, "NUL.tar.gz": false, "com1": false, "COM0.x": false,
		"com10": true, "lpt9": false, "LPT": true, "COM¹": false, "aux": false, "conin$": false,
		"C:x": false, `a\b`: false, "file:stream": false, "dot.": false, "blank ": false, "a*": false, "a\nb": false, "日本": true,
	} {
		if err := checkName(name, true); (err == nil) != ok {
			t.Errorf("%q on Windows: %v", name, err)
		}
		if err := checkName(name, false); err != nil {
			t.Errorf("%q elsewhere: %v", name, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a/b", "a\x00", `a\b`, "C:x", "con", "NUL.txt", "com¹", "x.", strings.Repeat("é", 200), "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkName(name, false) == nil {
			if filepath.Base("/d/"+name) != name || strings.ContainsRune(name, 0) {
				t.Errorf("%q was let through", name)
			}
			if temp := tempName(name, ""); checkName(temp, false) != nil || len(name) <= maxName && len(temp) > maxName {
				t.Errorf("%q becomes %q", name, temp)
			}
		}
		if checkName(name, true) == nil && strings.ContainsAny(name, `/\:`) {
			t.Errorf("%q was let through on Windows", name)
		}
	})
}

// case X02: a pattern is matched here; a node that lists something else gives nothing.
func TestPatternsAreMatchedHere(t *testing.T) {
	node := (&memNode{dirs: map[string][]*memFile{
		"/src":     dirOf(&memFile{name: "a.txt"}, &memFile{name: "b.log"}, &memFile{name: "../../etc/c.txt"}, &memFile{name: ".d.txt"}, &memFile{name: "sub", mode: fs.ModeDir})["/src"],
		"/src/sub": {{name: "e.txt"}},
	}}).start(t)
	for pattern, want := range map[string][]string{
		"/src/*.txt": {"/src/a.txt"}, "/src/*": {"/src/a.txt", "/src/b.log", "/src/sub"}, "/src/.*": {"/src/.d.txt"},
		"/*c/*/e.*": {"/*c/*/e.*"}, "/src/*/e.txt": {"/src/sub/e.txt"}, "/src/*/none": {"/src/*/none"}, "/src/[": {"/src/["}, "/src/x*": {"/src/x*"}, "/src/plain": {"/src/plain"},
	} {
		got, err := Expand(deadline(t), node, pattern)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", pattern, got, err, want)
		}
	}
}

// case X03: what would make a file run as somebody else stays behind, unless -p is given
// and the file belongs to the same user; and without -p what the umask takes from files.
func TestSpecialModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: no such modes on Windows")
	}
	me := uint32(os.Getuid())
	entries := []*memFile{
		{name: "mine", mode: fs.ModeSetuid | 0o777, uid: me, data: []byte("x")}, {name: "other", mode: fs.ModeSetuid | fs.ModeSetgid | 0o755, uid: me + 1, data: []byte("x")},
		{name: "sticky", mode: fs.ModeSticky | 0o700, uid: me + 1, data: []byte("x")},
	}
	node := (&memNode{dirs: dirOf(entries...)}).start(t)
	for _, times := range []bool{false, true} {
		dir := t.TempDir()
		var r record
		if _, err := Copy(deadline(t), from(node, "/src/mine", "/src/other", "/src/sticky"), Source{Path: dir}, r.options(Options{Times: times})); err != nil {
			t.Fatal(err)
		}
		r.wants(t, nil)
		want := map[string]fs.FileMode{"mine": 0o777, "other": 0o755, "sticky": 0o700}
		if times {
			want["mine"] |= fs.ModeSetuid
		}
		for name, mode := range want {
			if !times {
				mode &^= umask()
			}
			fi, err := os.Stat(filepath.Join(dir, name))
			if err != nil || fi.Mode() != mode {
				t.Errorf("-p=%t: %s: %v, %v, want %v", times, name, fi.Mode(), err, mode)
			}
		}
	}
}

// case X05: links in the destination lead nothing out of it, and a loop of links at the
// node ends.
func TestLinks(t *testing.T) {
	node := (&memNode{dirs: map[string][]*memFile{
		"/src": {{name: "sub", mode: fs.ModeDir | 0o755}, {name: "file", mode: 0o644, data: []byte("new")}}, "/src/sub": {{name: "f", mode: 0o644, data: []byte("new")}},
	}}).start(t)
	dir, outside := t.TempDir(), t.TempDir()
	victim := put(t, filepath.Join(outside, "victim"), []byte("old"))
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "src"), 0o755), os.Symlink(outside, filepath.Join(dir, "src", "sub")), os.Symlink(victim, filepath.Join(dir, "src", "file"))); err != nil {
		t.Fatal(err)
	}
	var r record
	sum, err := Copy(deadline(t), from(node, "/src"), Source{Path: dir}, r.options(Options{Recursive: true}))
	if err != nil || sum.Failed != 1 || sum.Files != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	r.wants(t, map[string]string{"node:/src/sub": "escapes"})
	if got := ls(t, outside); !slices.Equal(got, []string{"victim"}) || content(t, victim) != "old" || content(t, filepath.Join(dir, "src", "file")) != "new" {
		t.Errorf("outside: %q", got)
	}

	// Links of a real directory: one to a file, one to nothing, and three loops.
	tree, copied := t.TempDir(), filepath.Join(t.TempDir(), "copied")
	put(t, filepath.Join(tree, "a", "f"), []byte("f"))
	for link, to := range map[string]string{"a/self": ".", "a/up": "..", "link": "a/f", "loop": "loop", "nowhere": "none", "other": "a"} {
		if err := os.Symlink(to, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	sum, err = Copy(deadline(t), from(diskNode(t, tree), "."), Source{Path: copied}, r.options(Options{Recursive: true}))
	if got := ls(t, copied); err != nil || !slices.Equal(got, []string{"a/", "a/f", "link", "other/", "other/f"}) {
		t.Errorf("%q, %+v, %v", got, sum, err)
	}
	r.wants(t, map[string]string{
		"node:a/self": "leads back", "node:a/up": "leads back", "node:other/self": "leads back", "node:other/up": "leads back",
		"node:loop": "", "node:nowhere": "no such file",
	})
}

// case X06: sizes are believed as far as they do no harm; what does not end is ended.
func TestSizesThatAreNotTrue(t *testing.T) {
	endless := func(p []byte, _ int64) (int, error) { return len(p), nil }
	short := make([]byte, 500)
	entries := []*memFile{
		{name: "endless", mode: 0o644, size: 10, read: endless},
		{name: "lies", mode: 0o644, size: 1000, data: short},
		{name: "grown", mode: 0o644, size: 100, data: short}, // case X09: a log that is written to
		{name: "proc", mode: 0o444, data: nil, read: bytes.NewReader(short).ReadAt},
	}
	m := &memNode{dirs: dirOf(entries...)}
	node := m.start(t)
	shrunk := &memFile{name: "shrunk", mode: 0o644, size: 1000}
	shrunk.read = func(p []byte, at int64) (int, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if shrunk.size = 500; at >= 500 {
			return 0, io.EOF
		}
		return copy(p, short[at:]), io.EOF
	}
	m.dirs["/src"] = append(m.dirs["/src"], shrunk)
	m.files["/src/shrunk"] = shrunk
	dir := t.TempDir()
	target := put(t, filepath.Join(dir, "src", "lies"), []byte("old"))
	var r record
	o := r.options(Options{Recursive: true})
	o.growth = 1 << 20
	sum, err := Copy(deadline(t), from(node, "/src"), Source{Path: dir}, o)
	if err != nil || sum.Files != 3 || sum.Failed != 2 || sum.Bytes != 1500 {
		t.Errorf("%+v, %v", sum, err)
	}
	r.wants(t, map[string]string{"node:/src/endless": "it had 10 bytes and does not end", "node:/src/lies": "it ended after 500 of 1000 bytes"})
	if got := ls(t, dir); !slices.Equal(got, []string{"src/", "src/grown", "src/lies", "src/proc", "src/shrunk"}) || content(t, target) != "old" {
		t.Errorf("%q", got)
	}
	if !slices.Equal(r.notes, []string{"node:/src/shrunk: became shorter while it was copied: 500 of 1000 bytes"}) {
		t.Errorf("%q", r.notes)
	}
}

// case X08, X07: an error of the node's disk, however late, is an error; what was there
// stays, and nothing is left behind.
func TestNodeCannotWrite(t *testing.T) {
	full := errors.New("no space left on device")
	src := put(t, filepath.Join(t.TempDir(), "f"), make([]byte, 1<<20))
	for what, like := range map[string]*memFile{
		"at once":     {writeErr: func(int64) error { return full }},
		"in between":  {writeErr: func(at int64) error { return map[bool]error{true: full}[at == 320<<10] }},
		"at the end":  {writeErr: func(at int64) error { return map[bool]error{true: full}[at >= 1<<20-32<<10] }},
		"when closed": {closeErr: full},
	} {
		m := &memNode{files: map[string]*memFile{"/like": like, "/f": {name: "f", mode: 0o644, data: []byte("old"), size: 3}}}
		node := m.start(t)
		var r record
		sum, err := Copy(deadline(t), []Source{{Path: src}}, Source{node, "/f"}, r.options(Options{}))
		if err != nil || sum.Failed != 1 || sum.Files != 0 {
			t.Errorf("%s: %+v, %v", what, sum, err)
		}
		r.wants(t, map[string]string{src: "no space left"})
		m.mu.Lock()
		if len(m.files) != 2 || string(m.files["/f"].data) != "old" || len(m.renamed) != 0 {
			t.Errorf("%s: %d files, renamed %q", what, len(m.files), m.renamed)
		}
		m.mu.Unlock()
	}
}

// case X10: a directory of very many entries takes no memory for each, and a tree without
// a bottom ends.
func TestHugeTrees(t *testing.T) {
	const many = 100_000
	wide := (&memNode{list: func(dir string, offset int64) []*memFile {
		f := &memFile{name: "x" + strings.Repeat("y", 200), mode: fs.ModeNamedPipe}
		return slices.Repeat([]*memFile{f}, int(min(many-offset, 100)))
	}}).start(t)
	var most uint64
	var seen int
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	o := Options{Recursive: true, Failed: func(string, error) {
		if seen++; seen%20_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}}
	sum, err := Copy(deadline(t), from(wide, "/src"), Source{Path: t.TempDir()}, o)
	if err != nil || sum.Failed != many {
		t.Errorf("%+v, %v", sum, err)
	}
	if grown := int64(most) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("%d bytes more for %d entries", grown, many)
	}

	deep := (&memNode{list: func(dir string, offset int64) []*memFile {
		return []*memFile{{name: "d", mode: fs.ModeDir | 0o755}}[min(offset, 1):]
	}}).start(t)
	var r record
	sum, err = Copy(deadline(t), from(deep, "/src"), Source{Path: t.TempDir()}, r.options(Options{Recursive: true}))
	if err != nil || sum.Failed != 1 || len(r.failed) != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	for path, why := range r.failed {
		if !strings.Contains(why, "256 directories are inside each other") {
			t.Errorf("%s: %s", path, why)
		}
	}
}

// case X11: no file of a copy replaces another one of it, neither by the same name nor by
// one that the file system takes for the same.
func TestTwoOfOneName(t *testing.T) {
	node := (&memNode{dirs: map[string][]*memFile{
		"/src":   {{name: "a", mode: 0o644, data: []byte("1")}, {name: "a", mode: 0o644, data: []byte("1")}, {name: "A", mode: 0o644, data: []byte("2")}, {name: "d", mode: fs.ModeDir | 0o755}, {name: "d", mode: fs.ModeDir | 0o755}},
		"/src/d": {{name: "x", mode: 0o644, data: []byte("x")}},
	}}).start(t)
	dir := t.TempDir()
	var r record
	sum, err := Copy(deadline(t), from(node, "/src"), Source{Path: dir}, r.options(Options{Recursive: true}))
	if err != nil || sum.Files != 3 || sum.Failed != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
	r.wants(t, map[string]string{"node:/src/a": "another file of this copy", "node:/src/d": "another file of this copy"})

	// A node that does not tell a from A, and one that does.
	local := t.TempDir()
	put(t, filepath.Join(local, "a"), []byte("1"))
	put(t, filepath.Join(local, "A"), []byte("2"))
	if len(ls(t, local)) != 2 {
		t.Skip("skipped: this file system does not tell a from A either")
	}
	for _, fold := range []bool{false, true} {
		m := &memNode{fold: fold}
		sum, err := Copy(deadline(t), from(Place{}, local), Source{m.start(t), "/dst"}, r.options(Options{Recursive: true}))
		want := Summary{Files: 2, Bytes: 2}
		if fold {
			want = Summary{Files: 1, Bytes: 1, Failed: 1}
		}
		if err != nil || sum != want {
			t.Errorf("fold=%t: %+v, %v", fold, sum, err)
		}
	}
}

// case X11: the longest names there are can be copied.
func TestLongNames(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	for _, name := range []string{strings.Repeat("x", 255), strings.Repeat("é", 127)} {
		put(t, filepath.Join(src, "d", name), []byte(name))
	}
	sum, err := Copy(deadline(t), from(diskNode(t, src), "d"), Source{Path: dst}, Options{Recursive: true})
	if err != nil || sum.Files != 2 || !slices.Equal(ls(t, dst), ls(t, src)) {
		t.Errorf("%+v, %v", sum, err)
	}
	sum, err = Copy(deadline(t), from(Place{}, filepath.Join(src, "d")), Source{diskNode(t, dst), "up"}, Options{Recursive: true})
	if err != nil || sum.Files != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// case X12: one of the reads of a file fails: no file, no part of one, and the old one stays.
func TestOneReadFails(t *testing.T) {
	bad := func(p []byte, at int64) (int, error) {
		if at == 320<<10 {
			return 0, errors.New("input/output error")
		}
		return len(p), nil
	}
	node := (&memNode{dirs: dirOf(&memFile{name: "f", mode: 0o644, size: 1 << 20, read: bad})}).start(t)
	dir := t.TempDir()
	target := put(t, filepath.Join(dir, "f"), []byte("old"))
	var r record
	sum, err := Copy(deadline(t), from(node, "/src/f"), Source{Path: target}, r.options(Options{}))
	if err != nil || sum != (Summary{Failed: 1}) {
		t.Errorf("%+v, %v", sum, err)
	}
	r.wants(t, map[string]string{"node:/src/f": "input/output error"})
	if got := ls(t, dir); !slices.Equal(got, []string{"f"}) || content(t, target) != "old" {
		t.Errorf("%q", got)
	}
	// With --continue what came before it is kept, and nothing after it.
	if _, err = Copy(deadline(t), from(node, "/src/f"), Source{Path: target}, r.options(Options{Continue: true})); err != nil {
		t.Error(err)
	}
	part := slices.DeleteFunc(ls(t, dir), func(s string) bool { return s == "f" })
	if len(part) != 1 || len(content(t, filepath.Join(dir, part[0]))) != 320<<10 {
		t.Errorf("%q", part)
	}
}

// case X13: a server that cannot be understood ends the whole copy.
func TestServerThatBreaksTheProtocol(t *testing.T) {
	m := &memNode{dirs: dirOf(&memFile{name: "f", mode: 0o644, size: 3, data: []byte("abc")})}
	node := m.start(t)
	dir := t.TempDir()
	m.files["/src/f"].read = func(p []byte, at int64) (int, error) { return 0, nil } // becomes an empty DATA
	_, err := Copy(deadline(t), from(node, "/src"), Source{Path: dir}, Options{Recursive: true})
	var protocol *sftp.ProtocolError
	if !errors.As(err, &protocol) {
		t.Errorf("%v", err)
	}
	if got := ls(t, dir); !slices.Equal(got, []string{"src/"}) {
		t.Errorf("%q", got)
	}
}
