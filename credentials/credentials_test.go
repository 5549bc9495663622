package credentials

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

var (
	_ Credentials = (*Profile)(nil)
	_ Credentials = (*keystore.Identity)(nil)
)

var fixtureTime = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

func copyHome(t *testing.T, version string) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	from := os.DirFS(filepath.Join("..", "testdata", "fixtures", version, "home"))
	if err := os.CopyFS(home, from); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return home
}

// at is LoadProfile with a fixed clock.
func at(now time.Time, dir, name string) *Profile {
	p := LoadProfile(dir, name)
	p.now = func() time.Time { return now }
	return p
}

func TestLoginsOfTheReferenceClientConnect(t *testing.T) {
	for version, want := range map[string][3]string{
		"18.3": {"fixture", "real.example.test", "localhost:4080"},
		"14.0": {"fixture14", "old.example.test", "localhost:5080"},
	} {
		home := copyHome(t, version)
		for _, name := range []string{"", "localhost", "localhost:9999", "https://localhost"} {
			p := at(fixtureTime, home, name)
			tlsConfig, err := p.TLSConfig()
			if err != nil || tlsConfig.ServerName != "teleport.cluster.local" || tlsConfig.RootCAs == nil {
				t.Fatalf("%s %q: %v", version, name, err)
			}
			if cert, err := tlsConfig.GetClientCertificate(nil); err != nil || cert.Leaf.Subject.CommonName != want[0] {
				t.Errorf("%s: client certificate: %v", version, err)
			}
			sshConfig, err := p.SSHClientConfig()
			if err != nil || sshConfig.User != "root" || sshConfig.HostKeyCallback == nil || sshConfig.Timeout != 30*time.Second {
				t.Errorf("%s: %+v, %v", version, sshConfig, err)
			}
			user, _ := p.User()
			cluster, _ := p.Cluster()
			addrs, _ := p.DefaultAddrs()
			if [3]string{user, cluster, strings.Join(addrs, " ")} != want {
				t.Errorf("%s: %s %s %s", version, user, cluster, addrs)
			}
			if end, ok := p.Expiry(); !ok || end.Year() != 2034 {
				t.Errorf("%s: until %v, %v", version, end, ok)
			}
		}
	}
}

func TestHomeOfTheEnvironment(t *testing.T) {
	t.Setenv("TELEPORT_HOME", copyHome(t, "18.3"))
	if user, err := LoadProfile("", "").User(); err != nil || user != "fixture" {
		t.Errorf("%q, %v", user, err)
	}
	t.Setenv("TELEPORT_HOME", "relative")
	if _, err := LoadProfile("", "").User(); err == nil || !strings.Contains(err.Error(), "TELEPORT_HOME") {
		t.Errorf("err = %v", err)
	}
}

func TestExpiredLoginSaysWhenAndWhatToRun(t *testing.T) {
	home := copyHome(t, "18.3")
	p := at(time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC), home, "")
	_, tlsErr := p.TLSConfig()
	_, sshErr := p.SSHClientConfig()
	for _, err := range []error{tlsErr, sshErr} {
		var when *keystore.TimeError
		if !errors.As(err, &when) || when.NotYet {
			t.Fatalf("err = %v", err)
		}
		for _, part := range []string{"fixture", "localhost", "expired at 2034-11-15T12:41:56Z", "tsh login --proxy=localhost:4080 --user=fixture"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q lacks %q", err, part)
			}
		}
	}
	if end, ok := p.Expiry(); !ok || end.Year() != 2034 {
		t.Errorf("expiry %v, %v", end, ok)
	}
}

// A clock that is behind is the server's to judge: its own certificates say so.
func TestLoginFromTheFutureIsTried(t *testing.T) {
	p := at(fixtureTime.AddDate(-5, 0, 0), copyHome(t, "18.3"), "")
	if _, err := p.TLSConfig(); err != nil {
		t.Error(err)
	}
}

func TestNoLogin(t *testing.T) {
	empty := t.TempDir()
	for _, tc := range []struct {
		dir, name string
		want      error
	}{
		{empty, "", profile.ErrNoCurrent}, {empty, "gate", profile.ErrNotFound}, {filepath.Join(empty, "none"), "", profile.ErrNoCurrent},
	} {
		p := LoadProfile(tc.dir, tc.name)
		if _, err := p.TLSConfig(); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.dir) {
			t.Errorf("%q: %v", tc.name, err)
		}
		if _, err := p.SSHClientConfig(); !errors.Is(err, tc.want) {
			t.Errorf("%q: %v", tc.name, err)
		}
		if _, err := p.DefaultAddrs(); !errors.Is(err, tc.want) {
			t.Errorf("%q: %v", tc.name, err)
		}
		if _, err := p.Cluster(); !errors.Is(err, tc.want) {
			t.Errorf("%q: %v", tc.name, err)
		}
		if end, ok := p.Expiry(); ok || !end.IsZero() {
			t.Errorf("%q: expiry %v", tc.name, end)
		}
	}
}

func TestLoggedOutAndDamaged(t *testing.T) {
	for file, want := range map[string]error{"fixture.key": keystore.ErrNotFound, "fixture.crt": keystore.ErrDamaged} {
		home := copyHome(t, "18.3")
		path := filepath.Join(home, "keys", "localhost", file)
		err := os.Remove(path)
		if errors.Is(want, keystore.ErrDamaged) {
			err = os.WriteFile(path, []byte("junk"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := at(fixtureTime, home, "").TLSConfig(); !errors.Is(err, want) || !strings.Contains(err.Error(), "tsh login --proxy=") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// The profile file is kept once it could be read, and only then; keys are read
// each time, so that a new login is picked up.
func TestWhatIsReadWhen(t *testing.T) {
	home := copyHome(t, "18.3")
	path := filepath.Join(home, "localhost.yaml")
	hidden := path + ".hidden"
	if err := os.Rename(path, hidden); err != nil {
		t.Fatal(err)
	}
	p := at(fixtureTime, home, "")
	if _, err := p.User(); !errors.Is(err, profile.ErrNotFound) {
		t.Errorf("err = %v", err)
	}
	if err := os.Rename(hidden, path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.User(); err != nil {
		t.Errorf("the failure was kept: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.TLSConfig(); err != nil {
		t.Errorf("the profile was not kept: %v", err)
	}
	if err := os.Remove(filepath.Join(home, "keys", "localhost", "fixture.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.TLSConfig(); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("the key was kept: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	p := at(fixtureTime, copyHome(t, "18.3"), "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := p.TLSConfig(); err != nil {
				t.Error(err)
			}
			if _, err := p.User(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
