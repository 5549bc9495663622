package roots

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newCertificate returns an authority that certifies itself, also as PEM.
func newCertificate(t *testing.T, name string) (*x509.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func trusts(pool *x509.CertPool, cert *x509.Certificate) bool {
	_, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file is trusted beside the system's authorities, not instead of them.
func TestWith(t *testing.T) {
	own, data := newCertificate(t, "own")
	stranger, _ := newCertificate(t, "stranger")
	second, more := newCertificate(t, "second")
	dir := t.TempDir()
	pool, err := With(write(t, filepath.Join(dir, "ca.pem"), append(data, more...)))
	if err != nil || !trusts(pool, own) || !trusts(pool, second) || trusts(pool, stranger) {
		t.Errorf("%v", err)
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	system.AddCert(own)
	system.AddCert(second)
	if !pool.Equal(system) {
		t.Error("the system's authorities are gone")
	}
}

// case N13: a file that is no list of authorities, or endless, is named and not
// read to its end.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	_, cert := newCertificate(t, "x")
	for name, tt := range map[string]struct {
		path, want string
	}{
		"missing":   {filepath.Join(dir, "missing.pem"), "missing.pem"},
		"directory": {dir, "is a directory"},
		"empty":     {write(t, filepath.Join(dir, "empty.pem"), nil), "empty.pem holds no certificate"},
		"text":      {write(t, filepath.Join(dir, "text.pem"), []byte("hello")), "holds no certificate"},
		"a key":     {write(t, filepath.Join(dir, "key.pem"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")), "holds no certificate"},
		"damaged":   {write(t, filepath.Join(dir, "damaged.pem"), bytes.Replace(cert, []byte("M"), []byte("N"), 9)), "holds no certificate"},
		"huge":      {write(t, filepath.Join(dir, "huge.pem"), bytes.Repeat(cert, maxFile/len(cert)+1)), "more than 8388608 bytes"},
	} {
		_, err := With(tt.path)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if checked := Check(tt.path); checked == nil || checked.Error() != err.Error() || errors.Is(checked, ErrNone) != strings.Contains(tt.want, "holds no") {
			t.Errorf("%s: %v", name, checked)
		}
	}
}

// What macOS and Windows need, run everywhere: there crypto/x509 does not look
// at the variables.
func TestFromEnvironment(t *testing.T) {
	t.Setenv(fileVariable, "")
	t.Setenv(dirVariable, "")
	if pool, err := fromEnvironment(); pool != nil || err != nil {
		t.Errorf("nothing is named: %v, %v", pool, err)
	}
	a, aPEM := newCertificate(t, "a")
	b, bPEM := newCertificate(t, "b")
	one, other := t.TempDir(), t.TempDir()
	write(t, filepath.Join(other, "rubbish"), []byte("rubbish"))
	write(t, filepath.Join(other, "b.pem"), bPEM)
	t.Setenv(dirVariable, one+string(filepath.ListSeparator)+other)
	if pool, err := fromEnvironment(); err != nil || !trusts(pool, b) || trusts(pool, a) {
		t.Errorf("a directory: %v", err)
	}
	t.Setenv(fileVariable, write(t, filepath.Join(one, "a.pem"), aPEM))
	if pool, err := fromEnvironment(); err != nil || !trusts(pool, b) || !trusts(pool, a) {
		t.Errorf("both: %v", err)
	}
	t.Setenv(fileVariable, filepath.Join(one, "none.pem"))
	if _, err := fromEnvironment(); err == nil || !strings.HasPrefix(err.Error(), "SSL_CERT_FILE: ") {
		t.Errorf("a missing file: %v", err)
	}
	t.Setenv(fileVariable, "")
	t.Setenv(dirVariable, filepath.Join(one, "none"))
	if _, err := fromEnvironment(); err == nil || !strings.HasPrefix(err.Error(), "SSL_CERT_DIR: ") {
		t.Errorf("a missing directory: %v", err)
	}
}
