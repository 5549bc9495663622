package keystore

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

type captured struct{ version, user, cluster string }

func capturedHomes() []captured {
	return []captured{{"18.3", "fixture", "real.example.test"}, {"14.0", "fixture14", "old.example.test"}}
}

// What the reference client wrote loads, verifies, and stays as it was.
func TestHomesOfTheReferenceClientLoad(t *testing.T) {
	for _, c := range capturedHomes() {
		t.Run(c.version, func(t *testing.T) {
			home := testenv.CopyHome(t, c.version)
			before := testenv.Snapshot(t, home)
			id, err := Dir{Home: home}.Load("localhost", c.user, c.cluster)
			if err != nil {
				t.Fatal(err)
			}
			if err := id.Check(); err != nil {
				t.Errorf("Check: %v", err)
			}
			if err := id.CheckTime(testenv.FixtureTime()); err != nil {
				t.Errorf("CheckTime: %v", err)
			}
			if _, err := id.TLSConfig(); err != nil {
				t.Errorf("TLSConfig: %v", err)
			}
			cfg, err := id.SSHClientConfig()
			if err != nil || cfg.User != "root" {
				t.Errorf("SSHClientConfig: %v, %v", cfg, err)
			}
			if id.RootCluster() != c.cluster || len(id.Authorities) != 1 || id.Authorities[0].Cluster != c.cluster {
				t.Errorf("root %q, authorities %v", id.RootCluster(), id.Authorities)
			}
			public, err := Dir{Home: home}.LoadPublic("localhost", c.user, c.cluster)
			if err != nil || public.SSHKey != nil || public.TLSKey != nil || public.Authorities != nil {
				t.Fatalf("LoadPublic: %v", err)
			}
			a, _ := id.Expiry()
			b, ok := public.Expiry()
			if !a.Equal(b) || !ok || a.Year() != 2034 {
				t.Errorf("expiry %v and %v", a, b)
			}
			if after := testenv.Snapshot(t, home); !maps.Equal(before, after) {
				t.Error("reading changed files")
			}
		})
	}
}

// What we write for the same login is, byte for byte, what the reference client
// wrote. Only the OpenSSH form of a private key has a random part.
func TestWritingReproducesTheReferenceClient(t *testing.T) {
	home, empty := testenv.CopyHome(t, "18.3"), filepath.Join(t.TempDir(), "home")
	id, err := Dir{Home: home}.Load("localhost", "fixture", "real.example.test")
	if err != nil {
		t.Fatal(err)
	}
	commit(t, empty, id)
	checkSame(t, filepath.Join(home, "keys"), filepath.Join(empty, "keys"))
	if a, b := testenv.Read(t, filepath.Join(home, "known_hosts")), testenv.Read(t, filepath.Join(empty, "known_hosts")); a != b {
		t.Errorf("known_hosts is\n%s, want\n%s", b, a)
	}
}

// For 14 the same holds; beside it stand the names of 18 for the same login.
func TestWritingOneRSAKeyServesBothGenerations(t *testing.T) {
	home, empty := testenv.CopyHome(t, "14.0"), filepath.Join(t.TempDir(), "home")
	id, err := Dir{Home: home}.Load("localhost", "fixture14", "old.example.test")
	if err != nil {
		t.Fatal(err)
	}
	commit(t, empty, id)
	dir := filepath.Join(empty, "keys", "localhost")
	for ours, theirs := range map[string]string{"fixture14.key": "fixture14", "fixture14.crt": "fixture14-x509.pem"} {
		if testenv.Read(t, filepath.Join(dir, ours)) != testenv.Read(t, filepath.Join(home, "keys", "localhost", theirs)) {
			t.Errorf("%s differs from %s", ours, theirs)
		}
		if err := os.Remove(filepath.Join(dir, ours)); err != nil {
			t.Fatal(err)
		}
	}
	checkSame(t, filepath.Join(home, "keys"), filepath.Join(empty, "keys"))
}

// commit stores id and is expected to succeed.
func commit(t testing.TB, home string, id *Identity) {
	t.Helper()
	if err := store(Dir{Home: home, Proven: id.Proxy}, id); err != nil {
		t.Fatal(err)
	}
}

// contents is what a directory holds, without modes and times.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := testenv.Snapshot(t, dir)
	for name, s := range all {
		_, all[name], _ = strings.Cut(s, "\n")
	}
	return all
}

func checkSame(t *testing.T, want, got string) {
	t.Helper()
	a, b := contents(t, want), contents(t, got)
	for name := range a {
		if strings.HasPrefix(a[name], "-----BEGIN OPENSSH PRIVATE KEY-----") && strings.HasPrefix(b[name], "-----BEGIN OPENSSH PRIVATE KEY-----") {
			x, errX := decodeKey([]byte(a[name]))
			y, errY := decodeKey([]byte(b[name]))
			if errX != nil || errY != nil || !samePublic(x.Public(), y.Public()) || checkHalves(y) != nil {
				t.Errorf("%s is another key: %v, %v", name, errX, errY)
			}
			delete(a, name)
			delete(b, name)
		}
	}
	for name := range a {
		if a[name] != b[name] {
			t.Errorf("%s is\n%q, want\n%q", name, b[name], a[name])
		}
		delete(b, name)
	}
	for name := range b {
		t.Errorf("%s should not be there", name)
	}
}
