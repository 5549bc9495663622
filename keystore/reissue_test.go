package keystore

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

// routed has a cluster certify the keys of id once more, to lead to another cluster.
func (c *cluster) routed(t *testing.T, id *Identity, route string, change func(*ssh.Certificate, *x509.Certificate)) (*ssh.Certificate, *x509.Certificate) {
	t.Helper()
	sshCert := userCert(id.User, testenv.SSHSigner(t, id.SSHKey).PublicKey())
	sshCert.Extensions = map[string]string{extRoute: route}
	tmpl := c.userTemplate(id.User)
	tmpl.Subject.StreetAddress = []string{route}
	if change != nil {
		change(sshCert, tmpl)
	}
	return signSSH(t, sshCert, c.userSSH), testenv.Issuer{Cert: c.userTLS, Key: c.userKey}.Sign(t, tmpl, id.TLSKey.Public())
}

func TestReissued(t *testing.T) {
	root, other := newCluster(t, "harbor"), newCluster(t, "pirates")
	id := root.issue(t, "gate", "alice", SuiteBalanced)
	sshCert, tlsCert := root.routed(t, id, "pier", nil)
	fresh, err := id.Reissued("pier", sshCert, tlsCert)
	if err != nil || fresh.Cluster != "pier" || fresh.RootCluster() != "harbor" || id.Cluster != "harbor" {
		t.Fatalf("%v, %v", fresh, err)
	}
	for name, tc := range map[string]struct {
		says  string
		certs func() (*ssh.Certificate, *x509.Certificate)
	}{
		"leads elsewhere": {"leads to cluster", func() (*ssh.Certificate, *x509.Certificate) { return root.routed(t, id, "harbor", nil) }},
		"SSH leads elsewhere": {"SSH certificate: leads to", func() (*ssh.Certificate, *x509.Certificate) {
			return root.routed(t, id, "pier", func(c *ssh.Certificate, _ *x509.Certificate) { c.Extensions[extRoute] = "harbor" })
		}},
		"leads nowhere": {"leads to cluster", func() (*ssh.Certificate, *x509.Certificate) {
			return root.routed(t, id, "pier", func(_ *ssh.Certificate, c *x509.Certificate) { c.Subject.StreetAddress = nil })
		}},
		"another issuer": {"whose host authority was not delivered", func() (*ssh.Certificate, *x509.Certificate) { return other.routed(t, id, "pier", nil) }},
		"lasts longer": {"end later", func() (*ssh.Certificate, *x509.Certificate) {
			return root.routed(t, id, "pier", func(s *ssh.Certificate, c *x509.Certificate) {
				s.ValidBefore += 7200
				c.NotAfter = c.NotAfter.Add(2 * time.Hour)
			})
		}},
		"another user": {"is for user", func() (*ssh.Certificate, *x509.Certificate) {
			return root.routed(t, id, "pier", func(s *ssh.Certificate, _ *x509.Certificate) { s.KeyId = "mallory" })
		}},
		"another key": {"is for another key", func() (*ssh.Certificate, *x509.Certificate) {
			return root.routed(t, root.issue(t, "gate", "alice", SuiteBalanced), "pier", nil)
		}},
	} {
		sshCert, tlsCert := tc.certs()
		if _, err := id.Reissued("pier", sshCert, tlsCert); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}

// A host authority of another cluster that came along earlier counts for nothing where
// it is not gone to, and a new one takes the place of the old.
func TestTrusting(t *testing.T) {
	root, pier, quay := newCluster(t, "harbor"), newCluster(t, "pier"), newCluster(t, "quay")
	id := root.issue(t, "gate", "alice", SuiteBalanced)
	all := id.Trusting([]Authority{pier.authority(), quay.authority()}, func(string) bool { return true })
	if !all.Knows("pier") || !all.Knows("quay") || !all.Knows("harbor") || id.Knows("pier") {
		t.Error("authorities are missing")
	}
	rotated := newCluster(t, "pier")
	some := all.Trusting([]Authority{rotated.authority()}, func(c string) bool { return c != "quay" })
	if some.Knows("quay") || len(some.Authorities) != 2 || !some.isHostAuthority(rotated.hostSSH.PublicKey()) || some.isHostAuthority(pier.hostSSH.PublicKey()) {
		t.Errorf("%d authorities", len(some.Authorities))
	}
}

// Storing authorities touches nothing else, loses none, and takes none that another
// proxy is known for.
func TestStageAuthorities(t *testing.T) {
	home := t.TempDir()
	root, pier, theirs := newCluster(t, "harbor"), newCluster(t, "pier"), newCluster(t, "quay")
	id := root.issue(t, "gate", "alice", SuiteBalanced)
	if err := store(Dir{Home: home, Proven: "gate"}, id); err != nil {
		t.Fatal(err)
	}
	if err := store(Dir{Home: home, Proven: "elsewhere"}, theirs.issue(t, "elsewhere", "alice", SuiteBalanced)); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, home)
	stage := func(a ...Authority) error {
		tx, err := durable.Begin(t.Context(), home)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Close()
		if err := (Dir{Home: home, Proven: "gate"}).StageAuthorities(tx, id.Trusting(a, func(string) bool { return true })); err != nil {
			return err
		}
		return tx.Commit()
	}
	if err := stage(pier.authority()); err != nil {
		t.Fatal(err)
	}
	for path, data := range snapshot(t, home) {
		base := filepath.Base(path)
		if old, ok := before[path]; ok && old != data && base != "known_hosts" && base != "certs.pem" {
			t.Errorf("%s has changed", path)
		}
	}
	loaded, err := Dir{Home: home, Clusters: []string{"pier"}}.Load("gate", "alice", "harbor")
	if err != nil || !loaded.Knows("pier") || !loaded.Knows("harbor") {
		t.Fatalf("%v", err)
	}
	if err := stage(newCluster(t, "quay").authority()); err == nil || !strings.Contains(err.Error(), "quay") {
		t.Errorf("the cluster of another proxy was taken over: %v", err)
	}
}

// What else the user has is removed in the same change, and nothing of others.
func TestRemoveOthers(t *testing.T) {
	home := t.TempDir()
	root := newCluster(t, "harbor")
	id := root.issue(t, "gate", "alice", SuiteBalanced)
	for _, login := range []*Identity{id, root.issue(t, "gate", "bob", SuiteBalanced)} {
		if err := store(Dir{Home: home, Proven: "gate"}, login); err != nil {
			t.Fatal(err)
		}
	}
	mine := []string{"alice-ssh/pier-cert.pub", "alice-db/harbor/pg.crt", "alice-kube/harbor/k8s.cred"}
	for _, rel := range append(mine, "bob-ssh/pier-cert.pub") {
		path := filepath.Join(home, "keys", "gate", rel)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := durable.Begin(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	if err := (Dir{Home: home}).StageRemoveOthers(tx, id); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	left := snapshot(t, home)
	for _, rel := range mine {
		if _, ok := left[filepath.Join(home, "keys", "gate", rel)]; ok {
			t.Errorf("%s is still there", rel)
		}
	}
	for _, rel := range []string{"alice-ssh/harbor-cert.pub", "bob-ssh/pier-cert.pub", "alice", "alice.crt"} {
		if _, ok := left[filepath.Join(home, "keys", "gate", rel)]; !ok {
			t.Errorf("%s is gone", rel)
		}
	}
}

// snapshot is the content of every file below home.
func snapshot(t *testing.T, home string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(home, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
