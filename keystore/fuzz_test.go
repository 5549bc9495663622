package keystore

import (
	"bytes"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
func FuzzTLSCertificate(f *testing.F) {
	seedFromFixtures(f, "/keys/")
	seedFromFixtures(f, "/identity/")
	f.Fuzz(func(t *testing.T, data []byte) {
		if cert, err := decodeCert(data); err == nil {
			_ = checkX509(cert)
			again, err := decodeCert(encodeCerts([]*x509.Certificate{cert}, ""))
			if err != nil || !again.Equal(cert) {
				t.Fatalf("another certificate comes back, %v", err)
			}
			checkLife(t, &Identity{TLSCert: cert})
		}
		cas := decodeAuthorities("fuzz", data)
		for _, cert := range cas {
			if !cert.IsCA {
				t.Fatalf("%q is no authority", cert.Subject.CommonName)
			}
			_ = (&Authority{Cluster: cert.Subject.CommonName, TLSCerts: []*x509.Certificate{cert}}).check()
		}
		if again := decodeAuthorities("fuzz", encodeCerts(cas, "\n")); !slices.EqualFunc(cas, again, (*x509.Certificate).Equal) {
			t.Fatalf("%d authorities become %d", len(cas), len(again))
		}
	})
}

// case N13: certificates with anything in them. None is good for a host unless the
// authority that we know signed it for hosts.
func FuzzSSHCertificate(f *testing.F) {
	seedFromFixtures(f, "/keys/")
	seedFromFixtures(f, "/identity/")
	c := newCluster(f, "harbor")
	host := c.hostCert(f, func(*ssh.Certificate) {}, "node")
	f.Add(ssh.MarshalAuthorizedKey(host))
	f.Fuzz(func(t *testing.T, data []byte) {
		cert, err := decodeSSHCert(data)
		if err != nil {
			return
		}
		checkLife(t, &Identity{SSHCert: cert})
		again, err := decodeSSHCert(ssh.MarshalAuthorizedKey(cert))
		if err != nil || !bytes.Equal(again.Marshal(), cert.Marshal()) {
			t.Fatalf("another certificate comes back, %v", err)
		}
		known := &Identity{Now: testenv.FixtureTime, Authorities: []Authority{c.authority()}}
		if err := known.checkHostKey("node:22", nil, cert); err == nil && !bytes.Equal(cert.Marshal(), host.Marshal()) {
			t.Fatalf("a host may show %q", data)
		}
		signer := &Identity{Authorities: []Authority{{SSHKeys: []ssh.PublicKey{cert.SignatureKey}}}}
		if err := signer.checkHostKey("node:22", nil, cert); err == nil && (cert.CertType != ssh.HostCert || !slices.Contains(cert.ValidPrincipals, "node")) {
			t.Fatalf("a certificate of type %d for %q is good for a host", cert.CertType, cert.ValidPrincipals)
		}
	})
}

// checkLife makes sure that an identity is of no use from its expiry on.
func checkLife(t *testing.T, id *Identity) {
	t.Helper()
	end, ok := id.Expiry()
	if ok && id.CheckTime(end) == nil {
		t.Fatalf("still valid at its end, %v", end)
	}
}
