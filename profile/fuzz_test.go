package profile

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

// Whatever a profile holds, what is written is read back the same, on the short way
// and by the YAML parser, or is refused before it is written.
func FuzzProfileFields(f *testing.F) {
	f.Add("gate.example.net:443", "alice", "harbor", "local", "1080", int64(30*time.Second), true)
	for _, s := range []string{
		"", "~", "null", "on", "yEs", "007", "0x1f", "1_000", "1e3", "190:20:30", "2001-01-01", "=", "<<", "- a", "a: b", "a #b", "#", "'", `"`, "\\", "[x]",
		"{x}", "*x", "&x", "!x", "|", ">", "%x", "@x", "`", "a\nb", "a\tb", " a", "a ", "\u2028", "\u0085", "\x00", "\x7f", "\xff", "\ufeff", "...", "---", "?", ":",
	} {
		f.Add(s, s, s, s, s, int64(1), false)
	}
	f.Fuzz(func(t *testing.T, addr, user, cluster, connector, port string, dial int64, yes bool) {
		p := &Profile{
			Name: "gate", WebProxyAddr: addr, User: user, Cluster: cluster, AuthConnector: connector, DynamicForwardPorts: []string{port, port},
			TLSRouting: yes, MissingClusterDetails: !yes, SSHDialTimeout: time.Duration(dial),
		}
		data, err := p.encode(nil)
		if err == nil {
			err = p.checkEncoded(data)
		}
		if err != nil {
			if dial >= 0 && isText(strings.Join([]string{addr, user, cluster, connector, port}, " ")) {
				t.Fatalf("%+v cannot be written: %v", p, err)
			}
			return
		}
		root, err := parse(data)
		if err != nil {
			t.Fatal(err)
		}
		want, slow := *p, &Profile{Name: "gate"}
		if err := slow.fillTree(root); err != nil {
			t.Fatal(err)
		}
		slow.fillDefaults()
		want.fillDefaults()
		if !reflect.DeepEqual(slow, &want) {
			t.Fatalf("%+v becomes %+v in\n%s", &want, slow, data)
		}
	})
}

// isText reports whether a profile may hold s: lines break it, and control
// characters are no text.
func isText(s string) bool {
	return utf8.ValidString(s) && len(s) < maxFile/16 && !strings.ContainsFunc(s, func(r rune) bool {
		return isBinary(r) || r >= 0x80 && r < 0xa0 || r == 0xfffe || r == 0xffff
	})
}

// case F15, case F16: a name that is accepted is the name of one file, from which it can
// be read back. One that is refused leads to nothing.
func FuzzProfileName(f *testing.F) {
	found := 0
	for _, kind := range []string{"*.yaml", "current-profile"} {
		paths, err := filepath.Glob(filepath.Join(fixtures, "*", "home", kind))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			f.Add(strings.TrimSuffix(filepath.Base(path), extension))
			f.Add(strings.TrimSpace(testenv.Read(f, path)))
			found++
		}
	}
	if found == 0 {
		f.Fatalf("no seeds below %s", fixtures)
	}
	for _, s := range []string{"", ".", "..", "a/../b", "CON", "::1", "a.yaml", ".yaml", "a\nb", " a", "\xff", "A", "\x00", strings.Repeat("a", 253)} {
		f.Add(s)
	}
	home := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		s := Open(home)
		if err := keystore.CheckName("proxy", name); err != nil {
			checkRefused(t, s, name)
			return
		}
		if len(name+extension) > 255 {
			return // no file system has such a name
		}
		path := filepath.Join(home, name+extension)
		testenv.Write(t, path, "web_proxy_addr: gate:443\n")
		defer os.Remove(path)
		testenv.Write(t, filepath.Join(home, currentFile), name+"\n")
		names, err := s.List()
		if err != nil || !slices.Equal(names, []string{name}) {
			t.Fatalf("%q is listed as %q, %v", name, names, err)
		}
		current, err := s.Current()
		if err != nil || current != name {
			t.Fatalf("%q is current as %q, %v", name, current, err)
		}
		p, err := s.Load("")
		if err != nil || p.Name != name {
			t.Fatalf("%q is loaded as %+v, %v", name, p, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if rest, err := os.ReadDir(home); err != nil || len(rest) != 1 {
			t.Fatalf("left are %v, %v", rest, err)
		}
	})
}

func checkRefused(t *testing.T, s *Store, name string) {
	t.Helper()
	if name != "" { // which means the current one
		// A name that got to the disk would not be found there.
		if p, err := s.Load(name); err == nil || errors.Is(err, ErrNotFound) {
			t.Fatalf("%q is loaded as %+v, %v", name, p, err)
		}
	}
	testenv.Write(t, filepath.Join(s.Home(), currentFile), name)
	got, err := s.Current()
	if err == nil && (got != strings.TrimSpace(name) || keystore.CheckName("proxy", got) != nil) {
		t.Fatalf("%q is current as %q", name, got)
	}
}
