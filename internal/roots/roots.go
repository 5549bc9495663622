// Package roots says which authorities may certify a web server: those of the
// operating system, those that SSL_CERT_FILE and SSL_CERT_DIR name, and those
// of a file that the person names.
package roots

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	// maxFile limits a file with authorities, in bytes. Those of an operating
	// system have a quarter of a megabyte.
	maxFile = 8 << 20
	// maxFiles limits the files of one directory.
	maxFiles = 10000

	fileVariable = "SSL_CERT_FILE"
	dirVariable  = "SSL_CERT_DIR"
)

// ErrNone: a file holds no certificate in PEM form.
var ErrNone = errors.New("holds no certificate (PEM)")

// With returns the system's authorities and those of a PEM file. Errors name
// the file; one without any certificate is ErrNone.
func With(file string) (*x509.CertPool, error) {
	pool, err := System()
	if pool == nil && err == nil {
		pool, err = x509.SystemCertPool()
	}
	if err != nil {
		return nil, err
	}
	return pool, addFile(pool, file)
}

// Check says what is wrong with a file of authorities, nil if nothing is.
// Errors are those of With.
func Check(file string) error { return addFile(x509.NewCertPool(), file) }

func addFile(pool *x509.CertPool, path string) error {
	pem, err := read(path)
	if err != nil {
		return err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s %w", path, ErrNone)
	}
	return nil
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	pem, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(pem) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return pem, nil
}

// fromEnvironment is the system's pool with what the variables name, nil if
// they name nothing. It is for systems whose own verifier does not heed them.
func fromEnvironment() (*x509.CertPool, error) {
	file, dirs := os.Getenv(fileVariable), os.Getenv(dirVariable)
	if file == "" && dirs == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if file != "" {
		if err := addFile(pool, file); err != nil {
			return nil, fmt.Errorf("%s: %w", fileVariable, err)
		}
	}
	for _, dir := range filepath.SplitList(dirs) {
		if err := addDir(pool, dir); err != nil {
			return nil, fmt.Errorf("%s: %w", dirVariable, err)
		}
	}
	return pool, nil
}

// addDir adds the certificates of a directory's files. Whatever else lies there
// does not matter.
func addDir(pool *x509.CertPool, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > maxFiles {
		return fmt.Errorf("%s has more than %d files", dir, maxFiles)
	}
	for _, entry := range entries {
		_ = addFile(pool, filepath.Join(dir, entry.Name())) // it may be anything
	}
	return nil
}
