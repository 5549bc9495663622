package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"
)

// given is a configuration for the cluster that a program has made.
func (c *testCluster) given(t testing.TB, n int64) *tls.Config {
	t.Helper()
	id := c.identity(t, n)
	roots := x509.NewCertPool()
	roots.AddCert(c.ca)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{id.TLSCert.Raw}, PrivateKey: id.TLSKey}}, RootCAs: roots,
		NextProtos: []string{"teleport-auth@x", "h2"}, MinVersion: tls.VersionTLS10,
	}
}

func TestGivenTLSConnects(t *testing.T) {
	c := newTestCluster(t)
	given := c.given(t, 7)
	creds := LoadTLS(given)
	given.RootCAs, given.Certificates[0], given.NextProtos[0] = nil, tls.Certificate{}, "changed" // has no effect
	config, err := creds.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	if config.MinVersion != tls.VersionTLS12 || !slices.Equal(config.NextProtos, []string{"teleport-auth@x", "h2"}) || len(config.Certificates) != 0 {
		t.Errorf("%+v", config)
	}
	if n, err := c.dialTLS(config); n != 7 || err != nil {
		t.Errorf("certificate %d, %v", n, err)
	}
	config.RootCAs = nil
	if again, err := creds.TLSConfig(); err != nil || again.RootCAs == nil {
		t.Error("what was handed out is what is kept", err)
	}
	if end, ok := creds.Expiry(); !ok || time.Until(end) > time.Hour || time.Until(end) < 50*time.Minute {
		t.Error(end, ok)
	}
}

// What the caller has decided stays: the name, the hook, the versions.
func TestGivenTLSIsLeftAlone(t *testing.T) {
	c := newTestCluster(t)
	given := c.given(t, 7)
	cert := given.Certificates[0]
	given.Certificates = nil
	given.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	given.ServerName, given.MinVersion = "686172626f72.teleport.cluster.local", tls.VersionTLS13
	creds := LoadTLS(given)
	config, err := creds.TLSConfig()
	if err != nil || config.ServerName != given.ServerName || config.MinVersion != tls.VersionTLS13 {
		t.Fatalf("%+v, %v", config, err)
	}
	if n, err := c.dialTLS(config); n != 7 || err != nil {
		t.Errorf("certificate %d, %v", n, err)
	}
	if _, ok := creds.Expiry(); ok {
		t.Error("the hook was asked for its end")
	}
	if config, err := LoadTLS(&tls.Config{}).TLSConfig(); err != nil || config.GetClientCertificate != nil {
		t.Errorf("without a certificate: %v", err)
	}
	if _, err := LoadTLS(nil).TLSConfig(); err == nil || !strings.Contains(err.Error(), "nil") {
		t.Error(err)
	}
}

// Of several certificates the first that the server can use is shown, and one in any case.
func TestGivenTLSWithSeveralCertificates(t *testing.T) {
	c, other := newTestCluster(t), newTestCluster(t)
	given := c.given(t, 7)
	given.Certificates = append(other.given(t, 3).Certificates, given.Certificates...)
	given.Certificates[0].SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.PKCS1WithSHA1} // nobody's
	config, err := LoadTLS(given).TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.dialTLS(config); n != 7 || err != nil {
		t.Errorf("certificate %d, %v", n, err)
	}
	if cert, err := config.GetClientCertificate(new(tls.CertificateRequestInfo)); err != nil || cert == nil {
		t.Error(cert, err)
	}
}
