package credentials

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

// pairFiles are the files of a key pair in a directory of their own.
type pairFiles struct{ dir, key, cert, cas string }

func (c *testCluster) pair(t testing.TB, n int64) pairFiles {
	t.Helper()
	key, cert, cas, err := c.identity(t, n).TLSFiles()
	if err != nil {
		t.Fatal(err)
	}
	return pairFiles{t.TempDir(), string(key), string(cert), string(cas)}
}

func (p pairFiles) path(name string) string { return filepath.Join(p.dir, name) }

// write puts the files into their places.
func (p pairFiles) write(t testing.TB) pairFiles {
	t.Helper()
	for name, content := range map[string]string{"key": p.key, "crt": p.cert, "cas": p.cas} {
		testenv.Write(t, p.path(name), content)
	}
	return p
}

// load waits for nothing.
func (p pairFiles) load(opts ...Option) *KeyPair {
	k := LoadKeyPair(p.path("crt"), p.path("key"), p.path("cas"), opts...)
	k.pause = func(time.Duration) {}
	return k
}

// A renewed pair is picked up by the next call, and its connection is made.
func TestKeyPairIsReadEachTime(t *testing.T) {
	c := newTestCluster(t)
	pair := c.pair(t, 7).write(t)
	creds := pair.load()
	for _, want := range []int64{7, 8} {
		config, err := creds.TLSConfig()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.dialTLS(config); n != want || err != nil {
			t.Errorf("the server saw certificate %d, %v", n, err)
		}
		next := c.pair(t, want+1)
		next.dir = pair.dir
		next.write(t)
	}
}

// A certificate that others vouch for takes them along.
func TestKeyPairWithAChain(t *testing.T) {
	c := newTestCluster(t)
	pair := c.pair(t, 7)
	pair.cert += "what people write in between\n" + pair.cas
	config, err := pair.write(t).load().TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cert, err := config.GetClientCertificate(nil); err != nil || len(cert.Certificate) != 2 {
		t.Error(cert, err)
	}
	if _, err := c.dialTLS(config); err != nil {
		t.Error(err)
	}
}

// What is wrong is said of the file that it is wrong in.
func TestKeyPairRefused(t *testing.T) {
	c := newTestCluster(t)
	good, other := c.pair(t, 7), c.pair(t, 8)
	for name, tt := range map[string]struct {
		change     func(*pairFiles)
		file, want string
	}{
		"another key":        {func(p *pairFiles) { p.key = other.key }, "key", "is not that of the certificate"},
		"no key":             {func(p *pairFiles) { p.key = p.cert }, "key", "unsupported type"},
		"an encrypted key":   {func(p *pairFiles) { p.key = strings.ReplaceAll(p.key, "PRIVATE", "ENCRYPTED PRIVATE") }, "key", "with a passphrase"},
		"half a key":         {func(p *pairFiles) { p.key = p.key[:80] }, "key", "no PEM block"},
		"half a certificate": {func(p *pairFiles) { p.cert = p.cert[:80] }, "crt", "holds no certificate"},
		"broken certificate": {func(p *pairFiles) { p.cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }, "crt", "does not parse"},
		"no authority":       {func(p *pairFiles) { p.cas = "# none\n" }, "cas", "holds no certificate"},
		"a long chain":       {func(p *pairFiles) { p.cert = strings.Repeat(p.cert, 10) }, "crt", "more than 9 certificates"},
		"many authorities":   {func(p *pairFiles) { p.cas = strings.Repeat(p.cas, 257) }, "cas", "more than 256 certificates"},
	} {
		pair := good
		pair.dir = t.TempDir()
		tt.change(&pair)
		_, err := pair.write(t).load().TLSConfig()
		if err == nil || !errors.Is(err, keystore.ErrDamaged) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), pair.path(tt.file)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, gone := range []string{"key", "crt", "cas"} {
		pair := good
		pair.dir = t.TempDir()
		if err := os.Remove(pair.write(t).path(gone)); err != nil {
			t.Fatal(err)
		}
		if _, err := pair.load().TLSConfig(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), pair.path(gone)) {
			t.Errorf("%s is missing: %v", gone, err)
		}
	}
}

// Whoever renews the pair is between its files: it is read again, and not for long.
func TestKeyPairThatIsBeingRenewed(t *testing.T) {
	c := newTestCluster(t)
	pair, next := c.pair(t, 7), c.pair(t, 8)
	next.dir = pair.dir
	pair.key = next.key
	creds := pair.write(t).load()
	pauses := 0
	creds.pause = func(time.Duration) {
		if pauses++; pauses == 2 {
			next.write(t)
		}
	}
	if n, err := serial(creds); n != 8 || err != nil || pauses != 2 {
		t.Errorf("certificate %d, %v, after %d pauses", n, err, pauses)
	}
	testenv.Write(t, pair.path("key"), c.pair(t, 9).key)
	if _, err := creds.TLSConfig(); err == nil || pauses != 4 {
		t.Errorf("%v after %d pauses", err, pauses)
	}
}

// The end is known without the key, and only while the certificate can be read.
func TestKeyPairExpiry(t *testing.T) {
	pair := newTestCluster(t).pair(t, 7).write(t)
	if err := os.Remove(pair.path("key")); err != nil {
		t.Fatal(err)
	}
	if end, ok := pair.load().Expiry(); !ok || time.Until(end) > time.Hour {
		t.Error(end, ok)
	}
	testenv.Write(t, pair.path("crt"), "junk")
	if _, ok := pair.load().Expiry(); ok {
		t.Error("the end of junk is known")
	}
}

// The pool that servers are verified with is the file's, no more and no less.
func TestKeyPairTrustsItsAuthoritiesAlone(t *testing.T) {
	c, stranger := newTestCluster(t), newTestCluster(t)
	pair := c.pair(t, 7)
	pair.cas = stranger.pair(t, 1).cas
	config, err := pair.write(t).load().TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := c.dialTLS(config); !errors.As(err, &unknown) {
		t.Error(err)
	}
}
