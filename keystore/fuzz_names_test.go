package keystore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// written are the names that a login gives to its own files and directories. Those
// that it shares with other logins at the proxy are left out.
func written(p *paths) []string {
	names := []string{p.file(""), p.file(sshDirSuffix), p.sshCert()}
	for _, s := range fileSuffixes() {
		names = append(names, p.file(s))
	}
	return names
}

// shared are the names of files that all logins at a proxy have.
func shared(p *paths) []string {
	return []string{p.dir(casDir), p.dir(certsFile), p.dir(kubeLockFile), p.cas(p.cluster)}
}

// Names that are accepted are names of files where they belong, which no other
// login has and from which the names can be read back. Names that are refused lead
// to nothing at all. Case L13, L14, F15, F16.
func FuzzNames(f *testing.F) {
	found := 0
	err := filepath.WalkDir(fixtures, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			f.Add("localhost", d.Name(), "real.example.test", d.Name(), "fixture", d.Name())
			found++
		}
		return err
	})
	if err != nil || found == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, s := range []string{"a..b", "CON", "::1", "a\x00", "alice-ssh", "alice.key", "alice.LOCK", "\xff", "*", "ca\u017f", "alice.\u212aey", "alice-s\u017fh", "cert\u017f.pem"} {
		f.Add("gate", "alice", "harbor", "gate", s, "harbor")
		f.Add(s, "alice", s, "gate", "alice", "harbor")
	}
	home := f.TempDir()
	key, _ := keyText(f)
	f.Fuzz(func(t *testing.T, proxy, user, cluster, proxy2, user2, cluster2 string) {
		p, err := newPaths(home, proxy, user, cluster)
		if err != nil {
			refusedEverywhere(t, proxy, user, cluster)
			return
		}
		checkPlaces(t, p)
		checkFiles(t, p)
		checkHostNames(t, p, key)
		q, err := newPaths(home, proxy2, user2, cluster2)
		if err == nil && proxy == proxy2 {
			checkApart(t, p, q)
		}
	})
}

func refusedEverywhere(t *testing.T, proxy, user, cluster string) {
	t.Helper()
	d := Dir{Home: filepath.Join(t.TempDir(), "home")}
	for _, load := range []func(string, string, string) (*Identity, error){d.Load, d.LoadPublic} {
		// A name that got to the disk would not be found there.
		if id, err := load(proxy, user, cluster); id != nil || err == nil || errors.Is(err, ErrNotFound) {
			t.Fatalf("%q, %q, %q is refused, and loaded: %v", proxy, user, cluster, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(d.Home)); err != nil || len(entries) > 0 {
		t.Fatalf("%q, %q, %q is refused and leaves %v, %v", proxy, user, cluster, entries, err)
	}
}

// checkPlaces looks at the names alone.
func checkPlaces(t *testing.T, p *paths) {
	t.Helper()
	for _, name := range []string{p.proxy, p.user, p.cluster} {
		if filepath.Base(name) != name || strings.ContainsAny(name, "/\\\x00\n\r \t,*") || strings.HasPrefix(name, "-") {
			t.Fatalf("%q was accepted", name)
		}
	}
	below := filepath.Join(keysDir, p.proxy)
	for _, rel := range append(written(p), shared(p)...) {
		inside, err := filepath.Rel(below, rel)
		if err != nil || !filepath.IsLocal(rel) || !filepath.IsLocal(inside) || filepath.Clean(rel) != rel || strings.Count(filepath.ToSlash(inside), "/") > 1 {
			t.Fatalf("%q is no path below %q", rel, below)
		}
		if len(filepath.Base(rel)) > maxFileName {
			t.Fatalf("%q is too long", rel)
		}
	}
}

// checkFiles makes the files and reads the names back.
func checkFiles(t *testing.T, p *paths) {
	t.Helper()
	files := []string{p.file(tlsKeySuffix), p.file(tlsCertSuffix), p.file(oldTLSCertSuffix), p.sshCert(), p.cas(p.cluster)}
	if err := os.MkdirAll(p.abs(p.file(sshDirSuffix)), 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(p.abs(p.dir()))
	if err := os.Mkdir(p.abs(p.dir(casDir)), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, rel := range files {
		f, err := os.OpenFile(p.abs(rel), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	d := Dir{Home: p.home}
	proxies, err := d.Proxies()
	if err != nil || !slices.Equal(proxies, []string{p.proxy}) {
		t.Fatalf("the proxies are %q, not %q, %v", proxies, p.proxy, err)
	}
	users, err := d.Users(p.proxy)
	if err != nil || !slices.Equal(users, []string{p.user}) {
		t.Fatalf("the users are %q, not %q, %v", users, p.user, err)
	}
	got, err := d.UserFiles(p.proxy, p.user)
	want := append(files[:3:3], p.file(sshDirSuffix))
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("a logout removes %q, not %q, %v", got, want, err)
	}
	entries, err := os.ReadDir(p.abs(p.file(sshDirSuffix)))
	if err != nil || len(entries) != 1 || strings.TrimSuffix(entries[0].Name(), sshCertSuffix) != p.cluster {
		t.Fatalf("the clusters are %v, not %q, %v", entries, p.cluster, err)
	}
}

// checkHostNames puts the names in known_hosts and reads them back.
func checkHostNames(t *testing.T, p *paths, key ssh.PublicKey) {
	t.Helper()
	lines := hostLines(p.proxy, Authority{Cluster: p.cluster, SSHKeys: []ssh.PublicKey{key}})
	data := []byte(strings.Join(lines, "\n") + "\n")
	got := readTrust(data, p.proxy, all)
	if len(got.lost) > 0 || !slices.Equal(got.clusters, []string{p.cluster}) || !containsKey(got.keys[p.cluster], key) {
		t.Fatalf("%q is read as %v", data, got)
	}
	if other := readTrust(data, "x"+p.proxy, all); len(other.keys) > 0 {
		t.Fatalf("%q is read for another proxy", data)
	}
	marker, hosts, back, _, rest, err := ssh.ParseKnownHosts(data)
	if err != nil || marker != "cert-authority" || len(rest) > 0 || !bytes.Equal(back.Marshal(), key.Marshal()) ||
		!slices.Equal(hosts, []string{p.proxy, p.cluster, "*." + p.cluster}) {
		t.Fatalf("others read %q as %q %q, %v", data, marker, hosts, err)
	}
}

// checkApart makes sure that two logins at a proxy have no file in common, even
// where the case of letters does not count, unless their names say so.
func checkApart(t *testing.T, p, q *paths) {
	t.Helper()
	sameUser := strings.EqualFold(p.user, q.user)
	for _, a := range written(p) {
		for _, b := range shared(q) {
			if strings.EqualFold(a, b) {
				t.Fatalf("user %q has the file %q of all", p.user, b)
			}
		}
		for _, b := range written(q) {
			if !sameUser && strings.EqualFold(a, b) {
				t.Fatalf("users %q and %q have the file %q", p.user, q.user, a)
			}
		}
	}
	if strings.EqualFold(p.sshCert(), q.sshCert()) != (sameUser && strings.EqualFold(p.cluster, q.cluster)) {
		t.Fatalf("certificates are %q and %q", p.sshCert(), q.sshCert())
	}
}
