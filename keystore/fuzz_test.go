package keystore

import (
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

// seedFromFixtures adds every captured file whose name contains part. None is a
// failure: a fuzz target without its seeds would test nothing unseen.
func seedFromFixtures(f *testing.F, part string) {
	f.Helper()
	found := 0
	err := filepath.WalkDir(fixtures, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(filepath.ToSlash(path), part) {
			return err
		}
		data, err := os.ReadFile(path)
		f.Add(data)
		found++
		return err
	})
	if err != nil || found == 0 {
		f.Fatalf("no seeds with %q below %s: %v", part, fixtures, err)
	}
}

func FuzzKey(f *testing.F) {
	seedFromFixtures(f, "/fixture")
	seedFromFixtures(f, "/identity/")
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := decodeKey(data)
		if err != nil {
			return
		}
		for _, encode := range []func() ([]byte, error){
			func() ([]byte, error) { return encodeTLSKey(key) },
			func() ([]byte, error) { return encodeSSHKey(key) },
		} {
			again, err := encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := decodeKey(again)
			if err != nil {
				t.Fatal(err)
			}
			if checkHalves(key) == nil && !samePublic(back.Public(), key.Public()) {
				t.Fatal("another key comes back")
			}
		}
	})
}

// case N13: certificates with anything in them.
func FuzzCertificates(f *testing.F) {
	seedFromFixtures(f, "/keys/")
	seedFromFixtures(f, "/identity/")
	f.Fuzz(func(t *testing.T, data []byte) {
		if cert, err := decodeCert(data); err == nil {
			_ = checkX509(cert)
		}
		for _, cert := range decodeAuthorities("fuzz", data) {
			_ = (&Authority{Cluster: cert.Subject.CommonName, TLSCerts: []*x509.Certificate{cert}}).check()
		}
		if cert, err := decodeSSHCert(data); err == nil {
			id := &Identity{SSHCert: cert, Authorities: []Authority{{SSHKeys: []ssh.PublicKey{cert.SignatureKey}}}}
			_, _ = id.Expiry()
			_ = id.CheckTime(testenv.FixtureTime())
			_ = id.checkHostKey("localhost:22", nil, cert)
		}
	})
}

func FuzzName(f *testing.F) {
	found := 0
	err := filepath.WalkDir(fixtures, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			f.Add(d.Name())
			found++
		}
		return err
	})
	if err != nil || found == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, s := range []string{"a..b", "CON", "::1", "a\x00", "alice-ssh", "\xff", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, kind := range []string{"proxy", "user", "cluster"} {
			if CheckName(kind, name) != nil {
				continue
			}
			if !filepath.IsLocal(name) || filepath.Base(name) != name || strings.ContainsAny(name, "/\\\x00\n\r \t,*") || strings.HasPrefix(name, "-") {
				t.Fatalf("%s %q was accepted", kind, name)
			}
			if kind == "cluster" {
				l, ok, _ := parseHostLine([]byte("@cert-authority gate," + name + ",*." + name + " t k type=host"))
				if p, c := l.proxyCluster(); !ok || p != "gate" || c != name {
					t.Fatalf("cluster %q does not survive known_hosts", name)
				}
			}
		}
	})
}
