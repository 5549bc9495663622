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

// fleet is a directory with three logins and files that are nobody's.
func fleet(t *testing.T) (*Store, func() []string) {
	t.Helper()
	s := Open(filepath.Join(t.TempDir(), "home"))
	p, id := login(t, "gate", "alice", "harbor")
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	second, secondID := login(t, "gate", "bob", "harbor")
	secondID.Authorities = id.Authorities
	if err := s.Commit(t.Context(), second, secondID); err != nil {
		t.Fatal(err)
	}
	loggedIn(t, s, "port", "alice", "pier")
	for _, f := range []string{"keys/gate/alice-x509.pem", "keys/gate/alice-db/harbor/pg.key", "keys/gate/alice.ppk"} {
		testenv.Write(t, filepath.Join(s.Home(), f), "x")
	}
	for _, f := range []string{"mine.txt", "keys/gate/notes", "config/config.yaml", "keys/README"} {
		testenv.Write(t, filepath.Join(s.Home(), f), "foreign")
	}
	who := func() []string {
		var all []string
		for _, proxy := range []string{"gate", "port"} {
			users, err := keystore.Dir{Home: s.Home()}.Users(proxy)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range users {
				all = append(all, u+"@"+proxy)
			}
		}
		return all
	}
	return s, who
}

func TestLogoutOfOneManyAndNobody(t *testing.T) {
	for _, tc := range []struct {
		name, user string
		gone       []Login
		left       string
	}{
		{"gate", "alice", []Login{{"gate", "alice"}}, "bob@gate alice@port"},
		{"gate", "", []Login{{"gate", "alice"}, {"gate", "bob"}}, "alice@port"},
		{"", "alice", []Login{{"gate", "alice"}, {"port", "alice"}}, "bob@gate"},
		{"", "", []Login{{"gate", "alice"}, {"gate", "bob"}, {"port", "alice"}}, ""},
		{"gate", "eve", nil, "alice@gate bob@gate alice@port"},
		{"quay", "", nil, "alice@gate bob@gate alice@port"},
	} {
		s, who := fleet(t)
		before := snapshot(t, s.Home())
		done, err := s.Logout(t.Context(), tc.name, tc.user)
		if err != nil || !slices.Equal(done.Logins, tc.gone) || strings.Join(who(), " ") != tc.left || len(done.Left) != 0 {
			t.Errorf("%q %q: %+v, %v; left %v", tc.name, tc.user, done, err, who())
		}
		// What is gone was announced, and nothing but keys and certificates went:
		// profiles, current profile, trust and foreign files are as they were.
		after := snapshot(t, s.Home())
		for file, content := range before {
			if after[file] == content {
				continue
			}
			announced := slices.ContainsFunc(done.Paths, func(p string) bool {
				rel, _ := filepath.Rel(s.Home(), p)
				return file == rel || strings.HasPrefix(file, rel+string(filepath.Separator))
			})
			if !announced || !strings.HasPrefix(file, "keys") {
				t.Errorf("%q %q: %s went", tc.name, tc.user, file)
			}
		}
		if p, err := s.Load("gate"); err != nil || p.WebProxyAddr != "gate:443" {
			t.Errorf("the proxy is forgotten: %v", err)
		}
		if again, err := s.Logout(t.Context(), tc.name, tc.user); err != nil || len(again.Logins) != 0 {
			t.Errorf("a second time: %+v, %v", again, err)
		}
	}
}

// Log out and in again: the proxy is known, the old trust is there.
func TestLoginAfterLogout(t *testing.T) {
	s, _ := fleet(t)
	if _, err := s.Logout(t.Context(), "", ""); err != nil {
		t.Fatal(err)
	}
	p, err := s.Load("")
	if err != nil || p.Name != "port" {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := s.Identity(p); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("after logout: %v", err)
	}
	loggedIn(t, s, "port", "alice", "pier")
	if _, err := s.Identity(p); err != nil {
		t.Error(err)
	}
}

// Whatever state the files are in, logout removes them.
func TestLogoutOfDamagedState(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, home string){
		"profile is binary":   func(t *testing.T, home string) { testenv.Write(t, filepath.Join(home, "gate.yaml"), "\x00") },
		"profile is missing":  func(t *testing.T, home string) { remove(t, filepath.Join(home, "gate.yaml")) },
		"current is a path":   func(t *testing.T, home string) { testenv.Write(t, filepath.Join(home, "current-profile"), "../x") },
		"no current":          func(t *testing.T, home string) { remove(t, filepath.Join(home, "current-profile")) },
		"keys are junk":       func(t *testing.T, home string) { testenv.Write(t, filepath.Join(home, "keys/gate/alice.key"), "junk") },
		"key is gone":         func(t *testing.T, home string) { remove(t, filepath.Join(home, "keys/gate/alice")) },
		"certificate is gone": func(t *testing.T, home string) { remove(t, filepath.Join(home, "keys/gate/alice-ssh")) },
		"key is a directory": func(t *testing.T, home string) {
			remove(t, filepath.Join(home, "keys/gate/alice.crt"))
			testenv.Write(t, filepath.Join(home, "keys/gate/alice.crt/x"), "")
		},
		"only the certificate is left": func(t *testing.T, home string) {
			for _, f := range []string{"alice", "alice.key", "alice-ssh", "alice.pub"} {
				remove(t, filepath.Join(home, "keys/gate", f))
			}
		},
	} {
		s := Open(filepath.Join(t.TempDir(), "home"))
		loggedIn(t, s, "gate", "alice", "harbor")
		damage(t, s.Home())
		done, err := s.Logout(t.Context(), "", "")
		if err != nil || !slices.Equal(done.Logins, []Login{{"gate", "alice"}}) {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		for _, f := range []string{"alice", "alice.key"} {
			if _, err := os.Lstat(filepath.Join(s.Home(), "keys", "gate", f)); err == nil {
				t.Errorf("%s: %s is left", name, f)
			}
		}
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestLogoutDoesNotLeaveTheDirectory(t *testing.T) {
	s, _ := fleet(t)
	before := snapshot(t, filepath.Dir(s.Home()))
	for _, l := range [][2]string{{"..", "home"}, {"gate", "../port/alice"}, {"gate", ".."}, {"gate", "cas"}, {"../keys/gate", "alice"}} {
		if done, err := s.Logout(t.Context(), l[0], l[1]); err == nil || len(done.Paths) != 0 {
			t.Errorf("%q: %+v", l, done)
		}
	}
	if !maps.Equal(before, snapshot(t, filepath.Dir(s.Home()))) {
		t.Error("files changed")
	}
}
