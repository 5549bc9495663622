package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient/transfer"
)

// What is remote is decided in one place, and the same way for sources and targets.
func TestLocations(t *testing.T) {
	const here = ""
	for _, tc := range []struct{ arg, host, login, path, windows string }{
		{"web-1:", "web-1", "", ".", "same"}, {"web-1:f", "web-1", "", "f", "same"}, {"bob@web-1:/a/b", "web-1", "bob", "/a/b", "same"},
		{"bob@example.com@web-1:f", "web-1", "bob@example.com", "f", "same"},
		{"web-1:a:b", "web-1", "", "a:b", "same"}, {`web-1:C:\f`, "web-1", "", `C:\f`, "same"},
		{"[::1]:f", "::1", "", "f", "same"}, {"bob@[2001:db8::1]:/f", "2001:db8::1", "bob", "/f", "same"}, {"[::1]:", "::1", "", ".", "same"},
		{"web-1:~", "web-1", "", ".", "same"}, {"web-1:~/", "web-1", "", ".", "same"}, {"web-1:~/x y", "web-1", "", "x y", "same"}, {"web-1:~//x", "web-1", "", "x", "same"},
		{"web-1:./~bob", "web-1", "", "./~bob", "same"},
		{"f", here, "", "f", "same"}, {"./a:b", here, "", "./a:b", "same"}, {"/a:b", here, "", "/a:b", "same"}, {"a/b:c", here, "", "a/b:c", "same"}, {":f", here, "", ":f", "same"}, {"~/f", here, "", "~/f", "same"},
		{`C:\f`, "C", "", `\f`, here}, {"C:/f", "C", "", "/f", here}, {"c:", "c", "", ".", here}, {"C:f", "C", "", "f", here},
		{`.\a:b`, "", "", "error", here}, {`d\a:b`, "", "", "error", here},
		{"1:f", "1", "", "f", "same"}, {"CC:/f", "CC", "", "/f", "same"},
	} {
		for _, windows := range []bool{false, true} {
			want := location{remote: tc.host != here, path: tc.path}
			if windows && tc.windows == here {
				want, tc.host, tc.login = location{path: tc.arg}, "", ""
			}
			got, err := parseLocation(tc.arg, windows)
			if want.path == "error" {
				if err == nil {
					t.Errorf("%q is %+v", tc.arg, got)
				}
				continue
			}
			if err != nil || got.remote != want.remote || got.path != want.path || got.target.Host != tc.host || got.target.Login != tc.login {
				t.Errorf("%q (windows=%t) is %+v, %v", tc.arg, windows, got, err)
			}
		}
	}
	for _, bad := range []string{"", "web-1:~bob", "web-1:~bob/f", "-oProxyCommand=x:f", "we b:f", "[::1]x:f", "a;b:f", "web-1:a\x00b", "@web-1:f"} {
		if got, err := parseLocation(bad, false); err == nil {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}

func FuzzLocation(f *testing.F) {
	for _, s := range []string{"web-1:f", "a@b@[::1]:~/x", `C:\f`, "./a:b", "[::1", ":", "a:~b", "env=prod:/tmp/x", "x:\x00"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, arg string, windows bool) {
		l, err := parseLocation(arg, windows)
		if err != nil {
			return
		}
		switch {
		case l.path == "":
			t.Errorf("%q: an empty path", arg)
		case !l.remote && l.path != arg:
			t.Errorf("%q: the local path %q", arg, l.path)
		case l.remote && (l.target.Host == "" && len(l.labels) == 0 || strings.HasPrefix(l.target.Host, "-") || strings.HasPrefix(l.path, "~") || !strings.Contains(arg, ":")):
			t.Errorf("%q: %+v", arg, l)
		case l.remote && strings.ContainsRune(strings.SplitN(arg, ":", 2)[0], '/'):
			t.Errorf("%q is on %q", arg, l.target.Host)
		}
	})
}

// The line fits into every terminal and carries no name that does something to it.
func TestMeterLine(t *testing.T) {
	now := time.Unix(1e9, 0)
	var out bytes.Buffer
	m := &meter{out: &out, now: func() time.Time { return now }, over: make(chan struct{})}
	for _, name := range []string{"notes.txt", strings.Repeat("long", 100), "\x1b]0;x\a\u202e.txt", "日本語のとても長い名前のファイル.tar.gz", ""} { // case X04
		for _, columns := range []int{1, 5, 20, 39, 40, 60, 80, 300} {
			m.columns = func() int { return columns }
			file := &transfer.File{Path: "web-1:/a/b/" + name, Size: 1000}
			line := m.line(&metered{file, now.Add(-time.Second)}, false)
			if w := text.Width(line); columns >= 10 && w != columns-1 || strings.ContainsAny(line, "\x1b\a\u202e\r\n") {
				t.Errorf("%q in %d columns is %d wide: %q", name, columns, w, line)
			}
		}
	}
	m.columns = func() int { return 60 }
	file := &transfer.File{Path: "f", Size: 0}
	if line := m.line(&metered{file, now}, true); !strings.Contains(line, "100%") {
		t.Errorf("an empty file: %q", line)
	}

	// The sum counts what has arrived.
	for _, size := range []int64{0, 1000, 0} {
		f := &transfer.File{Path: "f", Size: size}
		m.started(f)
		m.finished(f)
	}
	if m.files != 2 {
		t.Errorf("%d files are counted", m.files)
	}
	out.Reset()

	// What it says goes over what was there, and leaves nothing of it.
	m.show("a long line", false)
	m.aside(func() { out.WriteString("message\n") })
	m.show("b", false)
	m.show("c", true)
	if want := "\ra long line\r           \rmessage\n\rb\rc\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	(*meter)(nil).close()
	(*meter)(nil).aside(func() { out.Reset() })
	if out.Len() != 0 {
		t.Error("without a meter nothing is said")
	}
}

func TestAmounts(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 KiB", 1 << 20: "1.0 MiB", 999 << 20: "999.0 MiB", 1000 << 20: "1.0 GiB", 1<<63 - 1: "8192.0 PiB"} {
		if got := amount(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "00:00", 59 * time.Second: "00:59", 3599 * time.Second: "59:59", time.Hour: "1:00:00", 1 << 62: "99:59:59"} {
		if got := clock(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// A copy that was under way is not begun again after a new login.
func TestCopyIsNotRepeated(t *testing.T) {
	if needsLogin(&begunError{errSilent}) || !errors.Is(&begunError{errSilent}, errSilent) {
		t.Error("it is")
	}
}
