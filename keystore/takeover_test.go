package keystore

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

// reached stores id as a login at which the host proven was verified.
func reached(home, proven string, id *Identity) error {
	return store(Dir{Home: home, Proven: proven}, id)
}

func trusted(t *testing.T, home string) *Authority {
	t.Helper()
	id, err := Dir{Home: home}.Load("gate", "alice", "harbor")
	if err != nil || len(id.Authorities) != 1 {
		t.Fatalf("%v, %v", id, err)
	}
	return &id.Authorities[0]
}

// case L15, case N17, case N01: a host that is not the proxy it announces does not replace
// the login of that proxy, whatever cluster it says it is, for whatever user.
func TestAnnouncedNameIsNotTakenOver(t *testing.T) {
	home, c, _ := stored(t, SuiteBalanced)
	before := testenv.Snapshot(t, home)
	half := c.authority()
	half.SSHKeys = newCluster(t, "harbor").authority().SSHKeys
	otherHalf := c.authority()
	otherHalf.TLSCerts = newCluster(t, "harbor").authority().TLSCerts
	for name, id := range map[string]*Identity{
		"the same cluster":   newCluster(t, "harbor").issue(t, "gate", "alice", SuiteBalanced),
		"another user":       newCluster(t, "harbor").issue(t, "gate", "bob", SuiteBalanced),
		"another cluster":    newCluster(t, "pier").issue(t, "gate", "alice", SuiteBalanced),
		"only the TLS key":   withAuthority(c.issue(t, "gate", "alice", SuiteBalanced), half),
		"only the SSH key":   withAuthority(c.issue(t, "gate", "alice", SuiteBalanced), otherHalf),
		"the right one, too": withAuthority(newCluster(t, "pier").issue(t, "gate", "alice", SuiteBalanced), newCluster(t, "pier").authority(), c.authority()),
	} {
		for proven, shown := range map[string]string{"evil.example.net": "evil.example.net", "": "unverified"} {
			err := reached(home, proven, id)
			var conflict *ConflictError
			if !errors.As(err, &conflict) || conflict.Proxy != "gate" || conflict.Cluster != id.RootCluster() || conflict.Reached != proven {
				t.Fatalf("%s, reached %q: %v", name, proven, err)
			}
			for _, part := range []string{"gate", id.RootCluster(), shown, "tsh logout --proxy=gate"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("message %q lacks %q", err, part)
				}
			}
			if !maps.Equal(before, testenv.Snapshot(t, home)) {
				t.Fatalf("%s, reached %q: files changed", name, proven)
			}
		}
	}
}

func withAuthority(id *Identity, a ...Authority) *Identity {
	id.Authorities = a
	return id
}

// case L15: authorities are public. Who brings the stored ones without being the
// proxy logs in, and adds no key of its own beside them.
func TestUnprovenLoginAddsNoTrust(t *testing.T) {
	home, c, _ := stored(t, SuiteBalanced)
	hosts := testenv.Read(t, filepath.Join(home, "known_hosts"))
	id := c.issue(t, "gate", "alice", SuiteBalanced)
	evil := newCluster(t, "harbor").authority()
	id.Authorities[0].SSHKeys = append(id.Authorities[0].SSHKeys, evil.SSHKeys...)
	id.Authorities[0].TLSCerts = append(id.Authorities[0].TLSCerts, evil.TLSCerts...)
	id.Authorities = append(id.Authorities, newCluster(t, "pier").authority())
	if err := reached(home, "alias", id); err != nil {
		t.Fatal(err)
	}
	got, err := Dir{Home: home, AllAuthorities: true}.Load("gate", "alice", "harbor")
	if err != nil || !samePublic(got.SSHKey.Public(), id.SSHKey.Public()) {
		t.Fatalf("not logged in: %v", err)
	}
	if len(got.Authorities) != 1 || len(got.Authorities[0].SSHKeys) != 1 || len(got.Authorities[0].TLSCerts) != 1 {
		t.Errorf("trusts %+v", got.Authorities)
	}
	if now := testenv.Read(t, filepath.Join(home, "known_hosts")); now != hosts {
		t.Errorf("known_hosts is\n%s", now)
	}
}

// case L15: after a logout the login is possible, and what it leaves is replaced.
func TestLoginAfterLogoutReplacesTrust(t *testing.T) {
	for _, proven := range []string{"", "other", "gate"} {
		home, _, _ := stored(t, SuiteBalanced)
		logOut(t, home, "gate", "alice")
		fresh := newCluster(t, "harbor")
		if err := reached(home, proven, fresh.issue(t, "gate", "alice", SuiteBalanced)); err != nil {
			t.Fatalf("reached %q: %v", proven, err)
		}
		a := trusted(t, home)
		if len(a.SSHKeys) != 1 || !containsKey(a.SSHKeys, fresh.hostSSH.PublicKey()) || len(a.TLSCerts) != 1 || !a.TLSCerts[0].Equal(fresh.hostTLS) {
			t.Errorf("reached %q: trusts %+v", proven, a)
		}
	}
}

// case N17: the proven proxy rotates the keys of its cluster; every other line
// stays byte for byte.
func TestProvenLoginReplacesRotatedKeys(t *testing.T) {
	home, c, _ := stored(t, SuiteBalanced)
	path := filepath.Join(home, "known_hosts")
	_, text := keyText(t)
	own := testenv.Read(t, path)
	user := strings.Replace(own, "type=host", "type=user", 1)
	foreign := []string{
		"# mine \t\n", "\x00\xff junk\r\n", "@cert-authority gate,harbor,*.harbor ssh-future AAAA type=host\n", user,
		"@cert-authority port,harbor,*.harbor " + text + " type=host\n", "@cert-authority gate,pier,*.pier " + text + " type=host\n",
		"@cert-authority *.harbor " + text + " type=host\n", "host.example.net " + text + " a note\n", "@revoked * " + text + " stolen on a Monday\n",
	}
	testenv.Write(t, path, strings.Join(foreign[:3], "")+own+strings.Join(foreign[3:], ""))
	testenv.Write(t, gate(home, "cas", "pier.pem"), "theirs")
	next := newCluster(t, "harbor")
	both := c.issue(t, "gate", "alice", SuiteBalanced)
	both.Authorities[0].SSHKeys = append(both.Authorities[0].SSHKeys, next.hostSSH.PublicKey())
	both.Authorities[0].TLSCerts = append(both.Authorities[0].TLSCerts, next.hostTLS)
	for step, id := range []*Identity{both, next.issue(t, "gate", "alice", SuiteBalanced)} {
		// Names of hosts are compared without case. At port nobody is logged in.
		if err := reached(home, "GATE", id); err != nil {
			t.Fatal(err)
		}
		if a := trusted(t, home); len(a.SSHKeys) != 2-step || len(a.TLSCerts) != 2-step || !containsKey(a.SSHKeys, next.hostSSH.PublicKey()) {
			t.Errorf("step %d: trusts %+v", step, a)
		}
	}
	got := testenv.Read(t, path)
	if !strings.HasPrefix(got, strings.Join(foreign, "")) || strings.Contains(got, own) {
		t.Errorf("known_hosts is\n%q", got)
	}
	if testenv.Read(t, gate(home, "cas", "pier.pem")) != "theirs" {
		t.Error("the file of another cluster changed")
	}
}

// case L15, case F25: a login of another client, which does not know our lock, is judged
// under the one it knows.
func TestTakeoverBetweenStageAndCommit(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	evil := newCluster(t, "harbor").issue(t, "gate", "alice", SuiteBalanced)
	tx, err := durable.Begin(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	if err := (Dir{Home: home, Proven: "evil"}).Stage(tx, evil); err != nil {
		t.Fatal(err)
	}
	theirs, _, _ := stored(t, SuiteBalanced)
	if err := os.RemoveAll(filepath.Join(theirs, "config")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(home, os.DirFS(theirs)); err != nil {
		t.Fatal(err)
	}
	before := testenv.Snapshot(t, home)
	var conflict *ConflictError
	if err := tx.Commit(); !errors.As(err, &conflict) {
		t.Errorf("err = %v", err)
	}
	after := testenv.Snapshot(t, home)
	for file, content := range before {
		_, a, _ := strings.Cut(content, "\n")
		if _, b, _ := strings.Cut(after[file], "\n"); a != b {
			t.Errorf("%s changed", file)
		}
	}
}

// case S03: what a line says behind the key does not weaken it, and one that cannot
// be read is not passed over in silence.
func TestRevokedLines(t *testing.T) {
	_, text := keyText(t)
	for line, works := range map[string]bool{
		"@revoked * " + text:                                     true,
		"@revoked * " + text + " stolen on 2026-01-01":           true,
		"@revoked * " + text + "\tstolen\twith\ttabs and = &":    true,
		"  @revoked a,b " + text + " x\r":                        true,
		"@revoked " + text:                                       false, // no hosts
		"@revoked * " + text[:len(text)-8]:                       false,
		"@revoked * " + text + "%":                               false,
		"@revoked":                                               false,
		"@revoked * " + text + " \x00":                           false,
		"@revoked * " + text + strings.Repeat(" x", maxHostLine): false,
		"@REVOKED * " + text:                                     false,
		"\x00@revoked * " + text:                                 false,
		"@revoked* a " + text:                                    false,
		"@revoked* " + text:                                      false,
	} {
		home, _, _ := stored(t, SuiteBalanced)
		path := filepath.Join(home, "known_hosts")
		known := "@cert-authority gate,harbor,*.harbor " + text + " type=host\n"
		testenv.Write(t, path, "# first\n"+line+"\n"+testenv.Read(t, path)+known)
		id, err := Dir{Home: home}.Load("gate", "alice", "harbor")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(id.Authorities[0].SSHKeys); (n == 1) != works {
			t.Errorf("%.90q: %d keys are trusted", line, n)
		}
		warned := strings.Join(id.Warnings, "|")
		if works && warned != "" || !works && !strings.Contains(warned, path+" line 2 ") {
			t.Errorf("%.90q: warnings %q", line, id.Warnings)
		}
	}
	many := readTrust(bytes.Repeat([]byte("@revoked x\n"), 1000), "gate", all)
	if got := many.warnings("f"); len(got) != maxRevokedWarnings+1 || !strings.Contains(got[maxRevokedWarnings], "992 more") {
		t.Errorf("%d warnings: %q", len(got), got)
	}
}

// case L17: certificates that end in no year there is.
func TestCheckRefusesEndlessCertificates(t *testing.T) {
	checkRefuses(t, []refusal{
		{"case L17: SSH for ever", "valid forever", resign(func(s *ssh.Certificate) { s.ValidBefore = ssh.CertTimeInfinity })},
		{"case L17: SSH to year 10000", "beyond the year 9999", resign(func(s *ssh.Certificate) { s.ValidBefore = maxUnixTime + 1 })},
		{"case L17: SSH almost for ever", "beyond the year 9999", resign(func(s *ssh.Certificate) { s.ValidBefore = ssh.CertTimeInfinity - 1 })},
		{"case L17: TLS to year 10000", "beyond the year 9999", func(_ *testing.T, _ *cluster, id *Identity) {
			id.TLSCert.NotAfter = id.TLSCert.NotAfter.AddDate(8000, 0, 0)
		}},
	})
	c := newCluster(t, "harbor")
	id := c.issue(t, "gate", "alice", SuiteBalanced)
	id.SSHCert.ValidBefore = maxUnixTime
	signSSH(t, id.SSHCert, c.userSSH)
	if err := id.Check(); err != nil {
		t.Errorf("the last second: %v", err)
	}
}

// case F14: directories that others may write to are named.
func TestLooseDirectoriesAreNamed(t *testing.T) {
	home, _, _ := stored(t, SuiteBalanced)
	if err := os.Chmod(gate(home), 0o770); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(gate(home)); err != nil || info.Mode().Perm() != 0o770 {
		t.Skip("skipped: this system has no such permissions")
	}
	id, err := Dir{Home: home}.Load("gate", "alice", "harbor")
	if err != nil || !slices.Equal(id.Exposed, []string{gate(home)}) {
		t.Errorf("%v, exposed %q", err, id.Exposed)
	}
}
