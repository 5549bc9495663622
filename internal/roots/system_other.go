//go:build darwin || windows

package roots

import "crypto/x509"

// System returns the authorities that the operating system trusts with those
// that the environment names; nil leaves everything to crypto/x509, which does
// not heed the variables here.
func System() (*x509.CertPool, error) { return fromEnvironment() }
