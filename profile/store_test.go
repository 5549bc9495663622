package profile

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

func isDamaged(err error) bool { return errors.Is(err, ErrDamaged) }

func TestHomesOfTheReferenceClient(t *testing.T) {
	for version, want := range map[string]Profile{
		"18.3": {WebProxyAddr: "localhost:4080", SSHProxyAddr: "localhost:4081", User: "fixture", Cluster: "real.example.test", TLSRouting: true},
		"14.0": {WebProxyAddr: "localhost:5080", SSHProxyAddr: "localhost:5023", User: "fixture14", Cluster: "old.example.test"},
	} {
		home := testenv.CopyHome(t, version)
		before := snapshot(t, home)
		s := Open(home)
		if names, err := s.List(); err != nil || !slices.Equal(names, []string{"localhost"}) {
			t.Errorf("%s: list %v, %v", version, names, err)
		}
		p, err := s.Load("")
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != "localhost" || p.Host() != "localhost" || p.WebProxyAddr != want.WebProxyAddr || p.SSHProxyAddr != want.SSHProxyAddr ||
			p.User != want.User || p.Cluster != want.Cluster || p.TLSRouting != want.TLSRouting || p.MFAMode != "auto" {
			t.Errorf("%s: %+v", version, p)
		}
		if id, err := s.Identity(p); err != nil || id.User != want.User || id.Check() != nil {
			t.Errorf("%s: identity: %v", version, err)
		}
		if id, err := s.IdentityPublic(p); err != nil || id.TLSCert.Subject.CommonName != want.User {
			t.Errorf("%s: public identity: %v", version, err)
		}
		if !maps.Equal(before, snapshot(t, home)) {
			t.Errorf("%s: reading changed files", version)
		}
	}
}

// The whole directory that comes of committing what was captured is the captured
// one, whether the profile was loaded or made anew.
func TestCommitReproducesTheReferenceClient(t *testing.T) {
	home := testenv.CopyHome(t, "18.3")
	s := Open(home)
	p, err := s.Load("")
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Identity(p)
	if err != nil {
		t.Fatal(err)
	}
	anew := *p
	anew.raw = nil
	for name, prof := range map[string]*Profile{"loaded": p, "made anew": &anew} {
		empty := filepath.Join(t.TempDir(), "home")
		if err := Open(empty).Commit(t.Context(), prof, id); err != nil {
			t.Fatal(err)
		}
		want, got := snapshot(t, home), snapshot(t, empty)
		for file := range want {
			_, a, _ := strings.Cut(want[file], "\n")
			_, b, _ := strings.Cut(got[file], "\n")
			delete(got, file)
			if a != b && file != filepath.Join("keys", "localhost", "fixture") { // has a random part; keystore compares it
				t.Errorf("%s: %s is\n%q, want\n%q", name, file, b, a)
			}
		}
		if len(got) != 0 {
			t.Errorf("%s: also wrote %v", name, slices.Collect(maps.Keys(got)))
		}
		again, err := Open(empty).Load("")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(empty).Identity(again); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Committing to where it came from changes nothing at all.
	before := snapshot(t, home)
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, snapshot(t, home)) {
		t.Error("files changed")
	}
}

func TestTwoProxiesAndTheCurrentOne(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	if _, err := s.Current(); !errors.Is(err, ErrNoCurrent) {
		t.Errorf("nothing there: %v", err)
	}
	if names, err := s.List(); err != nil || len(names) != 0 {
		t.Errorf("nothing there: %v, %v", names, err)
	}
	loggedIn(t, s, "gate", "alice", "harbor")
	loggedIn(t, s, "port", "bob", "pier")
	if name, err := s.Current(); err != nil || name != "port" {
		t.Errorf("current is %q, %v", name, err)
	}
	if err := s.Select(t.Context(), "gate"); err != nil {
		t.Fatal(err)
	}
	p, err := s.Load("")
	if err != nil || p.User != "alice" {
		t.Errorf("%+v, %v", p, err)
	}
	if err := s.Select(t.Context(), "quay"); !errors.Is(err, ErrNotFound) {
		t.Errorf("selecting what is not there: %v", err)
	}
	for _, name := range []string{"gate", "port"} {
		p, err := s.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := s.Identity(p); err != nil || len(id.Authorities) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A login that a command needed does not change what the person selected.
func TestSaveLeavesTheCurrentProfile(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	p, id := login(t, "gate", "alice", "harbor")
	if err := s.Save(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	if name, _ := s.Current(); name != "gate" {
		t.Errorf("the first login is the current one, not %q", name)
	}
	p, id = login(t, "port", "bob", "pier")
	if err := s.Save(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	if name, _ := s.Current(); name != "gate" {
		t.Errorf("current became %q", name)
	}
}

func TestSwitchingTheUserOfAProxy(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	p, id := login(t, "gate", "alice", "harbor")
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	other, otherID := login(t, "gate", "bob", "harbor")
	otherID.Authorities = id.Authorities
	if err := s.Commit(t.Context(), other, otherID); err != nil {
		t.Fatal(err)
	}
	loaded, err := s.Load("gate")
	if err != nil || loaded.User != "bob" {
		t.Fatalf("%+v, %v", loaded, err)
	}
	loaded.User = "alice" // her files stay beside his
	if _, err := s.Identity(loaded); err != nil {
		t.Error(err)
	}
}

// case F15: the pointer may contain anything.
func TestCurrentProfileIsValidated(t *testing.T) {
	for content, want := range map[string]error{
		"": ErrNoCurrent, " \n\t": ErrNoCurrent, "../../x\n": ErrDamaged, "a/b": ErrDamaged, "gate\x00": ErrDamaged,
		strings.Repeat("a", 1<<20): ErrDamaged, "gate\nport\n": ErrDamaged,
	} {
		home := t.TempDir()
		testenv.Write(t, filepath.Join(home, "current-profile"), content)
		if _, err := Open(home).Current(); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", content, err)
		}
		if _, err := Open(home).Load(""); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", content, err)
		}
	}
	home := t.TempDir()
	testenv.Write(t, filepath.Join(home, "current-profile"), " gate\r\n")
	if name, err := Open(home).Current(); err != nil || name != "gate" {
		t.Errorf("white space: %q, %v", name, err)
	}
}

func TestListTakesRegularFilesWithNames(t *testing.T) {
	home := t.TempDir()
	for _, f := range []string{"gate.yaml", "a.yaml", "a-b.yaml", "..yaml", ".yaml", "x y.yaml", "gate.yaml.tmp", "known_hosts", "dir.yaml/x"} {
		testenv.Write(t, filepath.Join(home, f), "x: y\n")
	}
	if err := os.Symlink("gate.yaml", filepath.Join(home, "link.yaml")); err != nil {
		t.Log("no links here:", err)
	}
	if names, err := Open(home).List(); err != nil || !slices.Equal(names, []string{"a", "a-b", "gate"}) {
		t.Errorf("%v, %v", names, err)
	}
}

func TestProfilesThatCannotBeLoaded(t *testing.T) {
	home := t.TempDir()
	s := Open(home)
	testenv.Write(t, filepath.Join(home, "empty.yaml"), "")
	testenv.Write(t, filepath.Join(home, "noaddr.yaml"), "user: alice\n")
	testenv.Write(t, filepath.Join(home, "nouser.yaml"), "web_proxy_addr: nouser:443\n")
	for _, name := range []string{"missing", "empty", "noaddr"} {
		if _, err := s.Load(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Load("../x"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a path: %v", err)
	}
	p, err := s.Load("nouser")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Identity(p); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("no user: %v", err)
	}
	if _, err := s.IdentityPublic(p); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("no user: %v", err)
	}
}

// Where name and address differ, keys belong to the address.
func TestFileUnderAnotherNameThanItsAddress(t *testing.T) {
	home := testenv.CopyHome(t, "18.3")
	if err := os.Rename(filepath.Join(home, "localhost.yaml"), filepath.Join(home, "alias.yaml")); err != nil {
		t.Fatal(err)
	}
	s := Open(home)
	p, err := s.Load("alias")
	if err != nil || p.Name != "alias" || p.Host() != "localhost" {
		t.Fatalf("%+v, %v", p, err)
	}
	id, err := s.Identity(p)
	if err != nil || id.Proxy != "localhost" {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), p, id); err == nil {
		t.Error("it was committed under the wrong name")
	}
}

func TestHostOfAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"gate.example.net:443": "gate.example.net", "gate": "gate", "[::1]:3080": "::1", "[::1]": "::1", "::1": "::1", "": "", "Gate.:1": "Gate.",
	} {
		if got := (&Profile{WebProxyAddr: addr}).Host(); got != want {
			t.Errorf("%q gives %q", addr, got)
		}
	}
}

// case L13, case L14, case L15: what must not be stored leaves no trace.
func TestCommitRefuses(t *testing.T) {
	home := t.TempDir()
	s := Open(filepath.Join(home, "home"))
	loggedIn(t, s, "gate", "alice", "harbor")
	before := snapshot(t, home)
	for name, change := range map[string]func(*Profile, *keystore.Identity){
		"an identity of another proxy":   func(p *Profile, _ *keystore.Identity) { p.WebProxyAddr = "quay:443" },
		"an identity of another user":    func(p *Profile, _ *keystore.Identity) { p.User = "eve" },
		"an identity of another cluster": func(p *Profile, _ *keystore.Identity) { p.Cluster = "x" },
		"a user that is a path":          func(p *Profile, id *keystore.Identity) { p.User, id.User = "../x", "../x" },
		"a proxy that is a path":         func(p *Profile, id *keystore.Identity) { p.WebProxyAddr, id.Proxy = "../x", "../x" },
		"no principals":                  func(_ *Profile, id *keystore.Identity) { id.SSHCert.ValidPrincipals = nil },
		"the cluster of another proxy":   func(p *Profile, id *keystore.Identity) { *p, *id = deref(login(t, "port", "bob", "harbor")) },
		"another name":                   func(p *Profile, _ *keystore.Identity) { p.Name = "other" },
	} {
		p, id := login(t, "port", "bob", "pier")
		change(p, id)
		if err := s.Commit(t.Context(), p, id); err == nil {
			t.Errorf("%s was committed", name)
		}
		if !maps.Equal(before, snapshot(t, home)) {
			t.Fatalf("%s left something", name)
		}
	}
	if err := s.Commit(t.Context(), &Profile{WebProxyAddr: "port:443", User: "a/b"}, nil); err == nil {
		t.Error("a profile with a bad user was committed")
	}
}

func deref(p *Profile, id *keystore.Identity) (Profile, keystore.Identity) { return *p, *id }

// case F10: a login replaces a profile that cannot be read; a failed read did not.
func TestLoginRepairsADamagedProfile(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	testenv.Write(t, filepath.Join(s.Home(), "gate.yaml"), "\x00\x00")
	testenv.Write(t, filepath.Join(s.Home(), "current-profile"), "../x")
	loggedIn(t, s, "gate", "alice", "harbor")
	if p, err := s.Load(""); err != nil || p.User != "alice" {
		t.Errorf("%+v, %v", p, err)
	}
}

// case F11: a change that another client made since p was loaded stays.
func TestCommitEditsTheFileThatIsThere(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	loggedIn(t, s, "gate", "alice", "harbor")
	p, err := s.Load("gate")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Home(), "gate.yaml")
	testenv.Write(t, path, "# mine\n"+testenv.Read(t, path)+"newer: key\n")
	p.MFAMode = "platform"
	if err := s.Commit(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	got := testenv.Read(t, path)
	if !strings.HasPrefix(got, "# mine\n") || !strings.Contains(got, "newer: key\n") || !strings.Contains(got, "mfa_mode: platform\n") {
		t.Errorf("file is\n%s", got)
	}
}

func TestHomeOfThePerson(t *testing.T) {
	dir := t.TempDir()
	testenv.Write(t, filepath.Join(dir, "file"), "")
	abs := filepath.Join(dir, "a b")
	for _, tc := range []struct{ variable, home, want string }{
		{abs, dir, abs},
		{abs + string(filepath.Separator) + "." + string(filepath.Separator) + ".." + string(filepath.Separator) + "c", dir, filepath.Join(dir, "c")},
		{"", dir, filepath.Join(dir, ".tsh")},
		{"relative", dir, ""},
		{abs + "\nx", dir, ""},
		{filepath.Join(dir, "file"), dir, ""},
		{"", "relative", ""},
	} { // case F17
		t.Setenv("TELEPORT_HOME", tc.variable)
		t.Setenv("HOME", tc.home)
		t.Setenv("USERPROFILE", tc.home)
		got, err := Home()
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q, %q: %q, %v", tc.variable, tc.home, got, err)
		}
	}
}
