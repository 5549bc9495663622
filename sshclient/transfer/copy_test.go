package transfer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// same fails the test unless two trees have the same names, content and modes.
func same(t testing.TB, a, b string) {
	t.Helper()
	names := ls(t, a)
	if other := ls(t, b); !slices.Equal(names, other) {
		t.Errorf("%d names and %d names: %.300q, %.300q", len(names), len(other), names, other)
		return
	}
	for _, name := range names {
		x, y := filepath.Join(a, name), filepath.Join(b, name)
		i, err := os.Stat(x)
		j, err2 := os.Stat(y)
		if err != nil || err2 != nil || i.Mode() != j.Mode() || i.Mode().IsRegular() && content(t, x) != content(t, y) {
			t.Errorf("%s differs: %v, %v", name, i.Mode(), j.Mode())
		}
	}
}

func tree(t testing.TB) string {
	dir := filepath.Join(t.TempDir(), "tree")
	for i := range 60 {
		put(t, filepath.Join(dir, fmt.Sprint("d", i%7), fmt.Sprint("e", i%3), fmt.Sprint(i)), noise(i*i*40))
	}
	put(t, filepath.Join(dir, "large"), noise(5<<20+3))
	put(t, filepath.Join(dir, "name with \\ \" * and\nnewline"), nil)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "empty"), 0o700), os.Chmod(filepath.Join(dir, "d1"), 0o555), os.Chmod(filepath.Join(dir, "large"), 0o400)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "d1"), 0o755) })
	return dir
}

// A tree goes up, from node to node, and down, and is what it was.
func TestThereAndBack(t *testing.T) {
	src := tree(t)
	one, two, back := t.TempDir(), t.TempDir(), t.TempDir()
	a, b := diskNode(t, one), diskNode(t, two)
	for _, step := range []struct {
		from []Source
		to   Source
		at   string
	}{
		{[]Source{{Path: src}}, Source{a, "."}, filepath.Join(one, "tree")},
		{from(a, "tree"), Source{b, "renamed"}, filepath.Join(two, "renamed")},
		{from(b, "renamed"), Source{Path: filepath.Join(back, "x")}, filepath.Join(back, "x")},
	} {
		var r record
		sum, err := Copy(deadline(t), step.from, step.to, r.options(Options{Recursive: true}))
		if err != nil || sum.Files != 62 {
			t.Errorf("%+v, %v", sum, err)
		}
		r.wants(t, nil)
		same(t, src, step.at)
		t.Cleanup(func() { os.Chmod(filepath.Join(step.at, "d1"), 0o755) })
	}
}

// The time that many small files take does not depend on the round trip of each: 500 of
// them, in 20 directories, cost what 500 / 128 of them would one after the other, and
// what it takes to find them.
func TestRoundTripsOfSmallFiles(t *testing.T) {
	const files, dirs, up, down = 500, 20, 20, 20
	src := t.TempDir()
	for i := range files {
		put(t, filepath.Join(src, "many", fmt.Sprint(i%dirs), fmt.Sprint(i)), []byte(fmt.Sprint("file ", i)))
	}
	const rtt = 50 * time.Millisecond
	measure := func(what string, most int, dir string, copy func(Place) (Summary, error)) {
		synctest.Test(t, func(t *testing.T) {
			n := netsim.New()
			defer n.Close()
			near, far := n.Pipe()
			n.SetDelay(rtt / 2)
			over := make(chan struct{})
			go func() { diskServer(t, dir)(far); close(over) }()
			c, err := sftp.New(t.Context(), near, sftp.Options{})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			sum, err := copy(Place{Client: c})
			if err != nil || sum.Files != files || sum.Failed != 0 {
				t.Errorf("%s: %+v, %v", what, sum, err)
			}
			if trips := int(time.Since(begin) / rtt); trips > most {
				t.Errorf("%s: %d files took %d round trips, want at most %d", what, files, trips, most)
			} else {
				t.Logf("%s: %d files took %d round trips", what, files, trips)
			}
			c.Close()
			<-over
		})
	}
	remote, local := t.TempDir(), t.TempDir()
	o := Options{Recursive: true, Failed: func(path string, err error) { t.Errorf("%s: %v", path, err) }}
	measure("up", up, remote, func(p Place) (Summary, error) {
		return Copy(context.Background(), from(Place{}, filepath.Join(src, "many")), Source{p, "."}, o)
	})
	measure("down", down, remote, func(p Place) (Summary, error) {
		return Copy(context.Background(), from(p, "many"), Source{Path: local}, o)
	})
	same(t, src, local)
}

// case X09: what is no file is named and left out; nobody waits for it.
func TestSourcesThatAreNoFiles(t *testing.T) {
	src := t.TempDir()
	put(t, filepath.Join(src, "file"), []byte("x"))
	l, err := net.Listen("unix", filepath.Join(src, "socket"))
	if err != nil {
		t.Skip("skipped: no Unix sockets here: ", err)
	}
	defer l.Close()
	want := map[string]string{filepath.Join(src, "socket"): "not a regular file"}
	if makeFIFO(filepath.Join(src, "fifo")) == nil {
		want[filepath.Join(src, "fifo")] = "not a regular file"
	}
	if _, err := os.Stat("/dev/zero"); err == nil {
		if err := os.Symlink("/dev/zero", filepath.Join(src, "zero")); err != nil {
			t.Fatal(err)
		}
		want[filepath.Join(src, "zero")] = "not a regular file"
	}
	remote := t.TempDir()
	var r record
	sum, err := Copy(deadline(t), from(Place{}, src), Source{diskNode(t, remote), "dst"}, r.options(Options{Recursive: true}))
	if err != nil || sum.Files != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	r.wants(t, want)
	node := make(map[string]string)
	for path, why := range want {
		node["node:"+filepath.Base(path)] = why
	}
	sum, err = Copy(deadline(t), from(diskNode(t, src), "."), Source{Path: filepath.Join(remote, "back")}, r.options(Options{Recursive: true}))
	if err != nil || sum.Files != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	r.wants(t, node)
	// Named alone it is no better.
	if sum, err := Copy(deadline(t), from(Place{}, filepath.Join(src, "socket")), Source{diskNode(t, remote), "s"}, r.options(Options{})); err != nil || sum.Failed != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// With --continue a copy that broke goes on where it was, if it is a copy of the same.
func TestContinue(t *testing.T) {
	const size = 20 << 20
	data := noise(size)
	for _, up := range []bool{true, false} {
		for _, kept := range []string{"a prefix", "something else", "nothing", "more than there is"} {
			here, there := t.TempDir(), t.TempDir()
			node := diskNode(t, there)
			s, to, dir := Source{Path: put(t, filepath.Join(here, "f"), data)}, Source{node, "f"}, there
			if !up {
				put(t, filepath.Join(there, "f"), data)
				os.Remove(filepath.Join(here, "f"))
				s, to, dir = Source{node, "f"}, Source{Path: filepath.Join(here, "f")}, here
			}
			i, err := s.Place.stat(deadline(t), s.Path)
			if err != nil {
				t.Fatal(err)
			}
			part := filepath.Join(dir, tempName("f", fmt.Sprintf("%s %d %d", s.Place.show(s.Path), size, i.mtime.Unix())))
			want := int64(0)
			switch kept {
			case "a prefix":
				put(t, part, data[:15<<20])
				want = 7 << 20 // 8 MiB are written again
			case "something else":
				put(t, part, make([]byte, 15<<20))
			case "more than there is":
				put(t, part, noise(size+1))
			}
			var file *File
			var r record
			o := r.options(Options{Continue: true, Started: func(f *File) { file = f }})
			sum, err := Copy(deadline(t), []Source{s}, to, o)
			if err != nil || sum.Files != 1 || file.Kept() != want {
				t.Errorf("up=%t, %s: %+v, %v, %d bytes kept, want %d", up, kept, sum, err, file.Kept(), want)
			}
			r.wants(t, nil)
			if got := ls(t, dir); !slices.Equal(got, []string{"f"}) || content(t, filepath.Join(dir, "f")) != string(data) {
				t.Errorf("up=%t, %s: %q, or the content differs", up, kept, got)
			}
			// It is complete, so it is not copied once more.
			if sum, err := Copy(deadline(t), []Source{s}, to, o); err != nil || sum.Files != 1 || file.Kept() != size {
				t.Errorf("up=%t, %s, again: %+v, %v, %d bytes kept", up, kept, sum, err, file.Kept())
			}
		}
	}
}

// ^C in the middle: an error at once, the target as it was, nothing left behind.
func TestInterrupted(t *testing.T) {
	for _, up := range []bool{true, false} {
		here, there := t.TempDir(), t.TempDir()
		node := diskNode(t, there)
		s, to := Source{Path: put(t, filepath.Join(here, "src"), noise(4<<20))}, Source{node, "dst"}
		target := put(t, filepath.Join(there, "dst"), []byte("old"))
		if !up {
			os.Rename(filepath.Join(here, "src"), filepath.Join(there, "src"))
			s, to = Source{node, "src"}, Source{Path: put(t, filepath.Join(here, "dst"), []byte("old"))}
			target = to.Path
		}
		stop := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		o := Options{Limit: 1 << 20, Started: func(*File) { time.AfterFunc(20*time.Millisecond, func() { cancel(stop) }) }}
		sum, err := Copy(ctx, []Source{s}, to, o)
		if !errors.Is(err, stop) || sum.Files != 0 {
			t.Errorf("up=%t: %+v, %v", up, sum, err)
		}
		if got := ls(t, filepath.Dir(target)); content(t, target) != "old" || slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, ".part") }) {
			t.Errorf("up=%t: %q", up, got)
		}
	}
}

// A rate is kept to.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter{perSecond: 1000}
		begin := time.Now()
		for range 10 {
			if err := l.wait(t.Context(), 500); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("5000 bytes at 1000 a second took %v", took)
		}
	})
}

// Links and devices as targets: a link to a file is followed where the person named it,
// a device is written to, and a link on the node is not replaced by a file.
func TestTargetsThatAreNoFiles(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	node := diskNode(t, there)
	src := put(t, filepath.Join(here, "src"), []byte("new"))
	put(t, filepath.Join(there, "sub", "real"), []byte("old"))
	put(t, filepath.Join(here, "real"), []byte("old"))
	if err := errors.Join(os.Symlink("sub/real", filepath.Join(there, "link")), os.Symlink("real", filepath.Join(here, "link")), os.Symlink("none", filepath.Join(there, "dangling"))); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(there, "f"), []byte("new"))
	for _, c := range [][2]Source{
		{{Path: src}, {node, "link"}}, {{node, "f"}, {Path: filepath.Join(here, "link")}}, {{Path: src}, {node, "dangling"}},
		{{Path: src}, {node, "/dev/null"}}, {{node, "f"}, {Path: "/dev/null"}},
	} {
		var r record
		sum, err := Copy(deadline(t), c[:1], c[1], r.options(Options{}))
		if err != nil || sum.Files != 1 {
			t.Errorf("%s: %+v, %v, %q", c[1].Path, sum, err, r.failed)
		}
	}
	for _, link := range []string{filepath.Join(there, "link"), filepath.Join(here, "link")} {
		if fi, err := os.Lstat(link); err != nil || fi.Mode()&fs.ModeSymlink == 0 || content(t, link) != "new" {
			t.Errorf("%s: %v, %v", link, fi.Mode(), err)
		}
	}
	if fi, err := os.Stat("/dev/null"); err != nil || fi.Mode()&fs.ModeCharDevice == 0 {
		t.Error("/dev/null is no device any more")
	}
	// case X07: a device without room says so.
	var r record
	if sum, err := Copy(deadline(t), from(node, "f"), Source{Path: "/dev/full"}, r.options(Options{})); err != nil || sum.Failed != 1 {
		t.Errorf("/dev/full: %+v, %v", sum, err)
	}
}

// What cannot be a target is an error before anything is copied.
func TestTargetsThatCannotBe(t *testing.T) {
	there := t.TempDir()
	node := diskNode(t, there)
	put(t, filepath.Join(there, "f"), []byte("f"))
	put(t, filepath.Join(there, "d", "g"), []byte("g"))
	for _, c := range []struct {
		from []Source
		to   string
		want string
	}{
		{from(node, "f", "d/g"), "f", "several sources need a directory"},
		{from(node, "f"), "new/", "no such directory"},
		{from(node, "f"), "f", "source and target are the same"},
		{from(node, "f"), ".", "source and target are the same"},
		{from(node, "d"), "d/e", "cannot be copied into itself"},
		{from(node, "d"), "f", ""},
		{from(node, "f"), "no/such/dir", "o such file"},
	} {
		var r record
		sum, err := Copy(deadline(t), c.from, Source{node, c.to}, r.options(Options{Recursive: true}))
		said := fmt.Sprint(err, r.failed)
		if sum.Files != 0 || err == nil && sum.Failed == 0 || !strings.Contains(said, c.want) {
			t.Errorf("%s: %+v, %s", c.to, sum, said)
		}
	}
	if got := ls(t, there); !slices.Equal(got, []string{"d/", "d/g", "f"}) {
		t.Errorf("%q", got)
	}
}
