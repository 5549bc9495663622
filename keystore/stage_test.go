package keystore

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

func TestStoringTheSameAgainWritesNothing(t *testing.T) {
	home, _, _ := stored(t, SuiteFIPS)
	before := testenv.Snapshot(t, home)
	id, err := Dir{Home: home}.Load("gate", "alice", "harbor")
	if err != nil {
		t.Fatal(err)
	}
	commit(t, home, id)
	if !maps.Equal(before, testenv.Snapshot(t, home)) {
		t.Error("files changed")
	}
}

// New certificates for the same keys leave both private keys as they are: other
// clients take a rewritten one for a new login.
func TestReissueKeepsTheKeyFiles(t *testing.T) {
	home, c, id := stored(t, SuiteBalanced)
	before := testenv.Snapshot(t, home)
	leaf := newCluster(t, "pier")
	again := c.certify(t, "gate", "alice", id.SSHKey, id.TLSKey)
	again.Cluster = "pier"
	again.Authorities = append(again.Authorities, leaf.authority())
	commit(t, home, again)
	after := testenv.Snapshot(t, home)
	for _, f := range []string{"alice", "alice.key", "alice.pub", "alice-ssh/harbor-cert.pub", "cas/harbor.pem"} {
		if rel := filepath.Join("keys", "gate", f); before[rel] != after[rel] {
			t.Errorf("%s was rewritten", f)
		}
	}
	for _, cluster := range []string{"harbor", "pier"} {
		if _, err := (Dir{Home: home}).Load("gate", "alice", cluster); err != nil {
			t.Errorf("%s: %v", cluster, err)
		}
	}
}

// case F11: a new login removes what belongs to the old key and nothing else.
func TestNewLoginClearsTheOldOne(t *testing.T) {
	home, c, id := stored(t, SuiteLegacy)
	leaf := newCluster(t, "pier")
	onLeaf := c.certify(t, "gate", "alice", id.SSHKey, id.TLSKey)
	onLeaf.Cluster = "pier"
	onLeaf.Authorities = append(onLeaf.Authorities, leaf.authority())
	commit(t, home, onLeaf)
	foreign := []string{"alice-ssh/note", "alice-kube/harbor/k.cred", "bob", "bob.key", "bob-ssh/harbor-cert.pub", "cas/quay.pem", "README", "../port/x"}
	for _, f := range append(foreign, "kube_credentials.lock", "alice.ppk") {
		testenv.Write(t, gate(home, f), "foreign "+f)
	}
	commit(t, home, c.issue(t, "gate", "alice", SuiteBalanced))
	for _, f := range foreign {
		if testenv.Read(t, gate(home, f)) != "foreign "+f {
			t.Errorf("%s changed", f)
		}
	}
	for _, f := range []string{"alice-ssh/pier-cert.pub", "alice-x509.pem", "alice.ppk", "kube_credentials.lock"} {
		if _, err := os.Lstat(gate(home, f)); err == nil {
			t.Errorf("%s is left from the old key", f)
		}
	}
	if _, err := (Dir{Home: home}).Load("gate", "alice", "harbor"); err != nil {
		t.Error(err)
	}
}

// certs.pem mirrors cas; authorities this login does not carry stay in it.
func TestAuthoritiesAreAdded(t *testing.T) {
	home, c, id := stored(t, SuiteBalanced)
	leaf := newCluster(t, "pier")
	id.Authorities = append(id.Authorities, leaf.authority())
	commit(t, home, id)
	rotated := newCluster(t, "harbor")
	id.Authorities = []Authority{c.authority()}
	id.Authorities[0].SSHKeys = append(id.Authorities[0].SSHKeys, rotated.hostSSH.PublicKey())
	id.Authorities[0].TLSCerts = append(id.Authorities[0].TLSCerts, rotated.hostTLS)
	commit(t, home, id)
	certs := decodeAuthorities("", []byte(testenv.Read(t, gate(home, "certs.pem"))))
	if len(certs) != 3 || !certs[0].Equal(c.hostTLS) || !certs[1].Equal(rotated.hostTLS) || !certs[2].Equal(leaf.hostTLS) {
		t.Errorf("certs.pem holds %d certificates", len(certs))
	}
	if n := strings.Count(testenv.Read(t, filepath.Join(home, "known_hosts")), "\n"); n != 3 {
		t.Errorf("known_hosts has %d lines", n)
	}
	if n := len(decodeAuthorities("", []byte(testenv.Read(t, gate(home, "cas", "harbor.pem"))))); n != 2 {
		t.Errorf("cas/harbor.pem holds %d certificates", n)
	}
}

// case L15: a proxy that says it is a cluster somebody else already is.
func TestClusterOfAnotherProxy(t *testing.T) {
	home, c, _ := stored(t, SuiteBalanced)
	before := testenv.Snapshot(t, home)
	for _, name := range []string{"harbor", "Harbor"} {
		liar := newCluster(t, name).issue(t, "evil", "alice", SuiteBalanced)
		err := store(Dir{Home: home}, liar)
		var conflict *ConflictError
		if !errors.As(err, &conflict) || conflict.OtherProxy != "gate" || conflict.OtherCluster != "harbor" {
			t.Fatalf("err = %v", err)
		}
		for _, part := range []string{"evil", "gate", name, "tsh logout --proxy=gate"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("message %q lacks %q", err, part)
			}
		}
	}
	if !maps.Equal(before, testenv.Snapshot(t, home)) {
		t.Error("files changed")
	}
	commit(t, home, c.issue(t, "second", "alice", SuiteBalanced)) // another address of the same cluster
	for _, proxy := range []string{"gate", "second"} {
		logOut(t, home, proxy, "alice")
	}
	commit(t, home, newCluster(t, "harbor").issue(t, "moved", "alice", SuiteBalanced)) // after the logout it may move
}

// case L14: the twin in upper case would share the files on some systems.
func TestTwinsInCaseAreRefused(t *testing.T) {
	home, c, _ := stored(t, SuiteBalanced)
	d := Dir{Home: home}
	if err := store(d, c.issue(t, "gate", "Alice", SuiteBalanced)); err == nil || !strings.Contains(err.Error(), "case") {
		t.Errorf("user: %v", err)
	}
	var conflict *ConflictError
	if err := store(d, newCluster(t, "HARBOR").issue(t, "gate", "alice", SuiteBalanced)); !errors.As(err, &conflict) {
		t.Errorf("cluster: %v", err)
	}
}

func TestAnIdentityThatFailsCheckIsNotStored(t *testing.T) {
	home := t.TempDir()
	id := newCluster(t, "harbor").issue(t, "gate", "alice", SuiteBalanced)
	id.SSHCert.ValidPrincipals = nil
	if err := store(Dir{Home: home}, id); err == nil {
		t.Error("it was stored")
	}
	if _, err := os.Lstat(filepath.Join(home, "keys")); err == nil {
		t.Error("keys is there")
	}
}

func TestUserFilesAreFoundByName(t *testing.T) {
	home := t.TempDir()
	files := []string{
		"alice", "alice.key", "alice.ppk", "alice.crt", "alice-x509.pem", "alice.pub",
		"alice-kube/c/k.cred", "alice-db/c/d.key", "alice-app/c/a.crt", "alice-windowsdesktop/c/w.key", "alice-ssh/harbor-cert.pub", "kube_credentials.lock",
	}
	for _, f := range append(files, "bob.key", "cas/harbor.pem", "certs.pem", "alice-other/x", "alicex.key") {
		testenv.Write(t, gate(home, f), "junk")
	}
	testenv.Write(t, gate(home, "carol"), "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
	testenv.Write(t, gate(home, "notes"), "text")
	d := Dir{Home: home}
	got, err := d.UserFiles("gate", "alice")
	if err != nil || len(got) != len(files) {
		t.Errorf("%d files: %v, %v", len(got), got, err)
	}
	if users, err := d.Users("gate"); err != nil || !slices.Equal(users, []string{"alice", "alicex", "bob", "carol"}) {
		t.Errorf("users %v, %v", users, err)
	}
	if proxies, err := d.Proxies(); err != nil || !slices.Equal(proxies, []string{"gate"}) {
		t.Errorf("proxies %v, %v", proxies, err)
	}
	for _, bad := range [][2]string{{"..", "alice"}, {"gate", "../gate/bob"}, {"gate", "cas"}, {"gate", "certs.pem"}, {"gate", ""}, {"", "alice"}} {
		if files, err := d.UserFiles(bad[0], bad[1]); err == nil {
			t.Errorf("%q: %v", bad, files)
		}
	}
}

// An account named like another one's directory keeps its key.
func TestRemovingAUserSparesANamesake(t *testing.T) {
	home := t.TempDir()
	testenv.Write(t, gate(home, "svc.key"), "junk")
	testenv.Write(t, gate(home, "svc-app"), "the key of another user")
	files, err := Dir{Home: home}.UserFiles("gate", "svc")
	if err != nil || slices.ContainsFunc(files, func(f string) bool { return filepath.Base(f) == "svc-app" }) {
		t.Errorf("files %v, %v", files, err)
	}
}

// The public key file is compared byte for byte by other clients: it is repaired.
func TestPublicKeyFileIsRepaired(t *testing.T) {
	home, _, id := stored(t, SuiteBalanced)
	testenv.Write(t, gate(home, "alice.pub"), strings.TrimSpace(testenv.Read(t, gate(home, "alice.pub")))+" comment\n")
	commit(t, home, id)
	if got := testenv.Read(t, gate(home, "alice.pub")); got != string(ssh.MarshalAuthorizedKey(id.SSHCert.Key)) {
		t.Errorf("it is %q", got)
	}
}

// case F16: where the file system folds names, a name that it takes for another one is
// refused. No such file system is at hand here: what it would say is put in its place.
func TestNamesThatTheFileSystemFolds(t *testing.T) {
	home, _, _ := stored(t, SuiteBalanced)
	p := barePaths(home, "gate", "alic\u00e9", "harbor")
	if err := p.checkFolded(p.file(""), os.Lstat); err != nil {
		t.Errorf("a new name: %v", err)
	}
	folds := func(string) (fs.FileInfo, error) { return os.Lstat(gate(home, "alice")) }
	if err := p.checkFolded(p.file(""), folds); err == nil || !strings.Contains(err.Error(), "alic\u00e9 for another name") {
		t.Errorf("err = %v", err)
	}
	p.user = "alice"
	if err := p.checkFolded(p.file(""), folds); err != nil {
		t.Errorf("the name itself: %v", err)
	}
}
