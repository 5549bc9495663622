//go:build unix

package keystore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// case F12: the layout of 14, alone and beside the one of 18.
func TestLayoutOfFourteen(t *testing.T) {
	dir := func(home, name string) string { return filepath.Join(home, "keys", "localhost", name) }
	c := newCluster(t, "old.example.test")
	for _, tc := range []struct {
		name    string
		change  func(t *testing.T, home string, id *Identity)
		renewed bool // the certificate of 18's names is used
	}{
		{"alone", func(*testing.T, string, *Identity) {}, false},
		{"with the empty key file that 18 leaves", func(t *testing.T, home string, _ *Identity) { testenv.Write(t, dir(home, "fixture14.key"), "") }, false},
		{"with links to it", func(t *testing.T, home string, _ *Identity) {
			link(t, "fixture14", dir(home, "fixture14.key"))
			link(t, "fixture14-x509.pem", dir(home, "fixture14.crt"))
		}, false},
		{"with dangling links", func(t *testing.T, home string, _ *Identity) {
			link(t, "gone", dir(home, "fixture14.key"))
			link(t, "gone", dir(home, "fixture14.crt"))
		}, false},
		{"with the pair of an earlier login under the new names", func(t *testing.T, home string, id *Identity) {
			other := c.issue(t, "localhost", "fixture14", SuiteLegacy)
			writeTLS(t, dir(home, "fixture14"), other)
		}, false},
		{"with a later certificate for the same key", func(t *testing.T, home string, id *Identity) {
			later := *id
			tmpl := c.userTemplate("fixture14")
			tmpl.NotAfter = id.TLSCert.NotAfter.AddDate(1, 0, 0)
			later.TLSCert = testenv.Issuer{Cert: c.userTLS, Key: c.userKey}.Sign(t, tmpl, id.SSHKey.Public())
			writeTLS(t, dir(home, "fixture14"), &later)
		}, true},
		{"with an earlier certificate for the same key", func(t *testing.T, home string, id *Identity) {
			earlier := *id
			earlier.TLSCert = testenv.Issuer{Cert: c.userTLS, Key: c.userKey}.Sign(t, c.userTemplate("fixture14"), id.SSHKey.Public())
			writeTLS(t, dir(home, "fixture14"), &earlier)
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			home := testenv.CopyHome(t, "14.0")
			d, waited := quick(home)
			old, err := d.Load("localhost", "fixture14", "old.example.test")
			if err != nil {
				t.Fatal(err)
			}
			tc.change(t, home, old)
			id, err := d.Load("localhost", "fixture14", "old.example.test")
			if err != nil {
				t.Fatal(err)
			}
			if id.TLSCert.Equal(old.TLSCert) == tc.renewed || !samePublic(id.TLSKey.Public(), id.TLSCert.PublicKey) {
				t.Errorf("certificate until %v", id.TLSCert.NotAfter)
			}
			public, err := d.LoadPublic("localhost", "fixture14", "old.example.test")
			if err != nil || !public.TLSCert.Equal(id.TLSCert) {
				t.Errorf("public: %v", err)
			}
			if *waited != 0 {
				t.Errorf("waited %v", *waited)
			}
		})
	}
}

func writeTLS(t *testing.T, base string, id *Identity) {
	t.Helper()
	key, err := encodeTLSKey(id.TLSKey)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Write(t, base+".key", string(key))
	testenv.Write(t, base+".crt", string(encodePEM(pemCert, id.TLSCert.Raw)))
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// A certificate of 14 that is left from a login with another key is ignored.
func TestStaleCertificateOfFourteenIsIgnored(t *testing.T) {
	home, _, id := stored(t, SuiteLegacy)
	other := newCluster(t, "harbor").issue(t, "gate", "alice", SuiteLegacy)
	testenv.Write(t, gate(home, "alice-x509.pem"), string(encodePEM(pemCert, other.TLSCert.Raw)))
	d, waited := quick(home)
	got, err := d.Load("gate", "alice", "harbor")
	if err != nil || !got.TLSCert.Equal(id.TLSCert) || *waited != 0 {
		t.Errorf("%v, waited %v", err, *waited)
	}
}

// case F13: links that are not those of the old layout, and files of other kinds.
func TestPlantedFilesAreRefused(t *testing.T) {
	for _, file := range []string{"alice", "alice.key", "alice.crt", "alice-ssh/harbor-cert.pub", "../../known_hosts"} {
		for _, how := range []string{"link", "pipe"} {
			home, _, _ := stored(t, SuiteBalanced)
			path := gate(home, file)
			if err := os.Rename(path, filepath.Join(home, "elsewhere")); err != nil {
				t.Fatal(err)
			}
			if how == "link" {
				link(t, filepath.Join(home, "elsewhere"), path)
			} else if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			d, _ := quick(home)
			if _, err := d.Load("gate", "alice", "harbor"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(file)) {
				t.Errorf("%s is a %s: %v", file, how, err)
			}
		}
	}
	for _, dir := range []string{"keys", "keys/gate", "keys/gate/alice-ssh", "keys/gate/cas"} {
		home, _, _ := stored(t, SuiteBalanced)
		path := filepath.Join(home, dir)
		if err := os.Rename(path, filepath.Join(home, "elsewhere")); err != nil {
			t.Fatal(err)
		}
		link(t, filepath.Join(home, "elsewhere"), path)
		d, _ := quick(home)
		if _, err := d.Load("gate", "alice", "harbor"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s is a link: %v", dir, err)
		}
	}
	home, _, _ := stored(t, SuiteBalanced)
	linked := filepath.Join(t.TempDir(), "home")
	link(t, home, linked)
	if _, err := (Dir{Home: linked}).Load("gate", "alice", "harbor"); err != nil {
		t.Errorf("home itself may be a link: %v", err)
	}
}

// case F14: a private key that others can read is used, as other clients use it,
// and named; a login repairs it.
func TestPrivateKeysOpenToOthers(t *testing.T) {
	for _, file := range []string{"alice", "alice.key"} {
		home, _, id := stored(t, SuiteBalanced)
		if err := os.Chmod(gate(home, file), 0o644); err != nil {
			t.Fatal(err)
		}
		d, _ := quick(home)
		loaded, err := d.Load("gate", "alice", "harbor")
		if err != nil || !slices.Equal(loaded.Exposed, []string{gate(home, file)}) {
			t.Errorf("%s: %v, exposed %q", file, err, loaded.Exposed)
		}
		commit(t, home, id) // a login writes it anew
		if loaded, err := d.Load("gate", "alice", "harbor"); err != nil || len(loaded.Exposed) > 0 {
			t.Errorf("%s after a login: %v, exposed %q", file, err, loaded.Exposed)
		}
	}
}

// The links of the old layout are replaced, never written through.
func TestNewLoginReplacesLinks(t *testing.T) {
	home, c, id := stored(t, SuiteLegacy)
	for name, to := range map[string]string{"alice.key": "alice", "alice.crt": "alice-x509.pem"} {
		if err := os.Remove(gate(home, name)); err != nil {
			t.Fatal(err)
		}
		link(t, to, gate(home, name))
	}
	commit(t, home, id)
	if to, err := os.Readlink(gate(home, "alice.key")); err != nil || to != "alice" {
		t.Errorf("nothing changed, so the link stays: %v", err)
	}
	commit(t, home, c.issue(t, "gate", "alice", SuiteBalanced))
	if info, err := os.Lstat(gate(home, "alice.key")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("key file is %v, %v", info, err)
	}
	got, err := Dir{Home: home}.Load("gate", "alice", "harbor")
	if err != nil {
		t.Fatal(err)
	}
	if samePublic(got.SSHKey.Public(), got.TLSKey.Public()) {
		t.Error("the SSH key was overwritten through the link")
	}
}

// case F13: the target of a removal is the link, not what it points to.
func TestRemovalDoesNotFollowLinks(t *testing.T) {
	home, _, _ := stored(t, SuiteBalanced)
	outside := filepath.Join(t.TempDir(), "outside")
	testenv.Write(t, filepath.Join(outside, "file"), "foreign")
	link(t, outside, gate(home, "alice-db"))
	logOut(t, home, "gate", "alice")
	if testenv.Read(t, filepath.Join(outside, "file")) != "foreign" {
		t.Error("the link was followed")
	}
	if left, err := (Dir{Home: home}).UserFiles("gate", "alice"); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
