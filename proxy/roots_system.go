//go:build darwin || windows

package proxy

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

// systemRoots adds the certificates of SSL_CERT_FILE to those that the
// operating system trusts: crypto/x509 does not heed the variable here.
func systemRoots() (*x509.CertPool, error) {
	path := os.Getenv("SSL_CERT_FILE")
	if path == "" {
		return nil, nil // the system verifies by itself
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("SSL_CERT_FILE: %w", err)
	}
	defer func() { _ = f.Close() }()
	const limit = 8 << 20
	pem, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("SSL_CERT_FILE: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("SSL_CERT_FILE: %s holds no certificate", path)
	}
	return pool, nil
}
