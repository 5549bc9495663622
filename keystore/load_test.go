package keystore

import (
	"errors"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stored commits a new login of alice at gate and returns home and identity.
func stored(t testing.TB, suite Suite) (string, *cluster, *Identity) {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	c := newCluster(t, "harbor")
	id := c.issue(t, "gate", "alice", suite)
	commit(t, home, id)
	return home, c, id
}

// quick is a Dir whose waits are counted, not slept.
func quick(home string) (Dir, *time.Duration) {
	var waited time.Duration
	return Dir{Home: home, wait: func(d time.Duration) { waited += d }}, &waited
}

func gate(home string, elem ...string) string {
	return filepath.Join(append([]string{home, "keys", "gate"}, elem...)...)
}

func TestEverySuiteComesBackAsItWasStored(t *testing.T) {
	for _, suite := range []Suite{SuiteLegacy, SuiteBalanced, SuiteFIPS, SuiteHSM} {
		home, _, id := stored(t, suite)
		got, err := Dir{Home: home}.Load("gate", "alice", "harbor")
		if err != nil {
			t.Fatalf("%s: %v", suite, err)
		}
		if !samePublic(got.SSHKey.Public(), id.SSHKey.Public()) || !samePublic(got.TLSKey.Public(), id.TLSKey.Public()) {
			t.Errorf("%s: other keys", suite)
		}
		if err := got.Check(); err != nil {
			t.Errorf("%s: %v", suite, err)
		}
	}
}

// Missing is "not logged in"; so is empty, which another client's lock makes.
func TestMissingFilesAreNoIdentity(t *testing.T) {
	for _, file := range []string{"alice", "alice.key", "alice.crt", "alice-ssh/harbor-cert.pub"} {
		for _, how := range []string{"missing", "empty"} {
			home, _, _ := stored(t, SuiteBalanced)
			err := os.Remove(gate(home, file))
			if how == "empty" {
				err = os.WriteFile(gate(home, file), nil, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			d, waited := quick(home)
			_, err = d.Load("gate", "alice", "harbor")
			if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.FromSlash(file)) {
				t.Errorf("%s %s: %v", file, how, err)
			}
			if _, err := d.LoadPublic("gate", "alice", "harbor"); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s %s: public: %v", file, how, err)
			}
			if how == "missing" && *waited != 0 {
				t.Errorf("%s: waited %v for a file that is not there", file, *waited)
			}
		}
	}
	d, _ := quick(filepath.Join(t.TempDir(), "none"))
	if _, err := d.Load("gate", "alice", "harbor"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no directory: %v", err)
	}
}

// case F20, case K05: what cannot be used says "log in again" and names the file.
func TestDamagedFiles(t *testing.T) {
	home, c, id := stored(t, SuiteBalanced)
	_, otherTLS := keysFor(t, SuiteBalanced)
	tlsForm, _ := encodeTLSKey(otherTLS)
	foreign := c.issue(t, "gate", "alice", SuiteBalanced)
	for _, tc := range []struct{ name, file, content string }{
		{"junk key", "alice", "junk"},
		{"NUL key", "alice", strings.Repeat("\x00", 387)},
		{"half a key", "alice.key", string(tlsForm[:100])},
		{"another key", "alice.key", string(tlsForm)},
		{"junk certificate", "alice.crt", "junk"},
		{"another certificate", "alice.crt", string(encodePEM(pemCert, foreign.TLSCert.Raw))},
		{"half a certificate", "alice.crt", string(encodePEM(pemCert, id.TLSCert.Raw[:100]))},
		{"plain key as certificate", "alice-ssh/harbor-cert.pub", testenv.Read(t, gate(home, "alice.pub"))},
		{"junk SSH certificate", "alice-ssh/harbor-cert.pub", "ssh-ed25519-cert-v01@openssh.com AAAA\n"},
		{"huge", "alice.crt", strings.Repeat("x", maxCertFile+1)},
		{"huge known_hosts", "../../known_hosts", strings.Repeat("x", maxKnownHosts+1)},
	} {
		path := gate(home, tc.file)
		old := testenv.Read(t, path)
		testenv.Write(t, path, tc.content)
		before := testenv.Snapshot(t, home)
		d, waited := quick(home)
		_, err := d.Load("gate", "alice", "harbor")
		if !errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), filepath.Base(tc.file)) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if *waited > 200*time.Millisecond {
			t.Errorf("%s: waited %v", tc.name, *waited)
		}
		if !maps.Equal(before, testenv.Snapshot(t, home)) {
			t.Errorf("%s: reading changed files", tc.name)
		}
		testenv.Write(t, path, old)
	}
	if _, err := (Dir{Home: home}).Load("gate", "alice", "harbor"); err != nil {
		t.Errorf("restored: %v", err)
	}
}

// An OpenSSH key stores its public half; one that is not its own is found out
// before it signs anything, and a new login replaces it.
func TestKeyWithAForeignPublicHalf(t *testing.T) {
	home, _, id := stored(t, SuiteBalanced)
	data := []byte(testenv.Read(t, gate(home, "alice")))
	bad := corruptSeed(t, data)
	testenv.Write(t, gate(home, "alice"), string(bad))
	got, err := Dir{Home: home}.Load("gate", "alice", "harbor")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.SSHClientConfig(); !errors.Is(err, ErrDamaged) {
		t.Errorf("err = %v", err)
	}
	commit(t, home, id)
	if got, err = (Dir{Home: home}).Load("gate", "alice", "harbor"); err != nil {
		t.Fatal(err)
	}
	if _, err := got.SSHClientConfig(); err != nil {
		t.Errorf("after the next login: %v", err)
	}
}

// case F05, case F07, case F25: another client writes key and certificate one after the
// other; what does not fit together is read again.
func TestTornPairsAreReadAgain(t *testing.T) {
	home, c, old := stored(t, SuiteBalanced)
	files := func(id *Identity) map[string]string {
		dir := filepath.Join(t.TempDir(), "home")
		commit(t, dir, id)
		return map[string]string{
			"alice": testenv.Read(t, gate(dir, "alice")), "alice.key": testenv.Read(t, gate(dir, "alice.key")), "alice.crt": testenv.Read(t, gate(dir, "alice.crt")),
			"alice-ssh/harbor-cert.pub": testenv.Read(t, gate(dir, "alice-ssh", "harbor-cert.pub")),
			"../../known_hosts":         testenv.Read(t, filepath.Join(dir, "known_hosts")), "cas/harbor.pem": testenv.Read(t, gate(dir, "cas", "harbor.pem")),
		}
	}
	newer := files(c.issue(t, "gate", "alice", SuiteBalanced))
	older := files(old)
	for _, tc := range []struct {
		name string
		torn map[string]string
	}{
		{"new TLS key, old certificate", map[string]string{"alice.key": newer["alice.key"]}},
		{"TLS certificate just emptied", map[string]string{"alice.crt": ""}},
		{"half of the TLS key", map[string]string{"alice.key": newer["alice.key"][:80]}},
		{"new SSH key, old certificate", map[string]string{"alice": newer["alice"]}},
		{"half of the SSH certificate", map[string]string{"alice-ssh/harbor-cert.pub": newer["alice-ssh/harbor-cert.pub"][:100]}},
		{"known_hosts just emptied", map[string]string{"../../known_hosts": ""}},
		{"authorities just emptied", map[string]string{"cas/harbor.pem": ""}},
	} {
		for name, content := range tc.torn {
			testenv.Write(t, gate(home, name), content)
		}
		waits := 0
		d := Dir{Home: home, wait: func(time.Duration) {
			if waits++; waits == 2 { // the writer comes to its end
				for name, content := range newer {
					testenv.Write(t, gate(home, name), content)
				}
			}
		}}
		id, err := d.Load("gate", "alice", "harbor")
		if err != nil || waits != 2 {
			t.Errorf("%s: %v after %d waits", tc.name, err, waits)
		} else if len(id.Authorities) != 1 || len(id.Authorities[0].TLSCerts) != 1 || len(id.Authorities[0].SSHKeys) != 1 {
			t.Errorf("%s: authorities %v", tc.name, id.Authorities)
		}
		for name, content := range older {
			testenv.Write(t, gate(home, name), content)
		}
	}
}

// Without any trust the identity still loads; only connecting is impossible.
func TestIdentityWithoutTrust(t *testing.T) {
	home, _, _ := stored(t, SuiteBalanced)
	testenv.Write(t, filepath.Join(home, "known_hosts"), "")
	d, _ := quick(home)
	id, err := d.Load("gate", "alice", "harbor")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.SSHClientConfig(); !errors.Is(err, ErrDamaged) {
		t.Errorf("SSH: %v", err)
	}
	if _, err := id.TLSConfig(); err != nil {
		t.Errorf("TLS: %v", err)
	}
}

func TestAuthoritiesAreThoseOfRootAndSelectedCluster(t *testing.T) {
	home, c, id := stored(t, SuiteBalanced)
	leaf, other := newCluster(t, "pier"), newCluster(t, "quay")
	id.Authorities = append(id.Authorities, leaf.authority(), other.authority())
	commit(t, home, id)
	onLeaf := c.certify(t, "gate", "alice", id.SSHKey, id.TLSKey)
	onLeaf.Cluster, onLeaf.Authorities = "pier", []Authority{c.authority(), leaf.authority()}
	commit(t, home, onLeaf)
	// What another client's insecure mode accepted is nobody's cluster.
	known := filepath.Join(home, "known_hosts")
	_, text := keyText(t)
	testenv.Write(t, known, testenv.Read(t, known)+"@cert-authority gate,node1:3022,*.node1:3022 "+text+" type=host\n")
	for _, tc := range []struct {
		cluster, want string
		all           bool
	}{{"harbor", "harbor", false}, {"pier", "harbor pier", false}, {"harbor", "harbor pier quay", true}} {
		got, err := Dir{Home: home, AllAuthorities: tc.all}.Load("gate", "alice", tc.cluster)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, a := range got.Authorities {
			names = append(names, a.Cluster)
			if len(a.SSHKeys) != 1 || len(a.TLSCerts) != 1 {
				t.Errorf("%s: %d SSH keys, %d certificates", a.Cluster, len(a.SSHKeys), len(a.TLSCerts))
			}
		}
		if strings.Join(names, " ") != tc.want {
			t.Errorf("%s: authorities of %q, want %q", tc.cluster, names, tc.want)
		}
		if err := got.Check(); err != nil {
			t.Errorf("%s: %v", tc.cluster, err)
		}
	}
}

// Other clients group authorities by what is in the files, not by their names, and
// old ones have one flat file.
func TestAuthoritiesInOtherPlaces(t *testing.T) {
	home, _, _ := stored(t, SuiteBalanced)
	load := func(name string) {
		t.Helper()
		d, _ := quick(home)
		id, err := d.Load("gate", "alice", "harbor")
		if err != nil || len(id.Authorities) != 1 || len(id.Authorities[0].TLSCerts) != 1 {
			t.Errorf("%s: %v, %v", name, err, id)
		}
	}
	testenv.Write(t, gate(home, "cas", "empty.pem"), "")
	testenv.Write(t, gate(home, "cas", "junk"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	load("foreign files beside")
	if err := os.Rename(gate(home, "cas", "harbor.pem"), gate(home, "cas", "renamed")); err != nil {
		t.Fatal(err)
	}
	load("under another name")
	if err := os.RemoveAll(gate(home, "cas")); err != nil {
		t.Fatal(err)
	}
	load("only certs.pem")
}

// Opening files is what status costs.
func TestLoadPublicReadsCertificatesOnly(t *testing.T) {
	home, _, id := stored(t, SuiteBalanced)
	for _, f := range []string{"alice", "alice.key", "alice.pub", "cas/harbor.pem"} {
		if err := os.WriteFile(gate(home, f), []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(home, "known_hosts")); err != nil {
		t.Fatal(err)
	}
	got, err := Dir{Home: home}.LoadPublic("gate", "alice", "harbor")
	if err != nil || !got.TLSCert.Equal(id.TLSCert) {
		t.Errorf("err = %v", err)
	}
}

// What the operating system refuses is not "damaged": a login would not help.
func TestDiskErrorsStayDiskErrors(t *testing.T) {
	home, _, _ := stored(t, SuiteBalanced)
	if err := os.RemoveAll(gate(home)); err != nil {
		t.Fatal(err)
	}
	testenv.Write(t, gate(home), "a file")
	d, _ := quick(home)
	if _, err := d.Load("gate", "alice", "harbor"); err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}
