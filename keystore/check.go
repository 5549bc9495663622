package keystore

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// Bounds of what a cluster may deliver.
const (
	maxAuthorities   = 1024
	maxAuthorityKeys = 1024 // of one cluster; rotations only add to known_hosts
)

// The last year that certificates can name (RFC 5280), and its last second as
// Unix time. What claims to last longer is none of the cluster's doing.
const (
	maxYear     = 9999
	maxUnixTime = 253402300799
)

// sourceAddress is the only critical option that is understood: it binds the
// certificate to an address, which the server enforces.
const sourceAddress = "source-address"

// Check judges what a cluster delivered by everything but time: names that can be
// stored; certificates for these keys and this user, with current algorithms, that
// end before the year 10000; an SSH certificate that is a user's and has
// principals; a TLS certificate issued in the name of a cluster whose host
// authority came along; authorities that are some. The user authority that signs
// the certificates is not delivered, so no chain can be verified here.
func (id *Identity) Check() error {
	if err := id.checkParts(); err != nil {
		return err
	}
	if err := checkHalves(id.SSHKey); err != nil {
		return err
	}
	if err := id.checkSSH(); err != nil {
		return fmt.Errorf("SSH certificate: %w", err)
	}
	if err := id.checkTLS(); err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	return id.checkAuthorities()
}

func (id *Identity) checkParts() error {
	for _, n := range [][2]string{{"proxy", id.Proxy}, {"user", id.User}, {"cluster", id.Cluster}} {
		if err := CheckName(n[0], n[1]); err != nil {
			return err
		}
	}
	switch {
	case id.SSHKey == nil || id.TLSKey == nil:
		return errors.New("private key is missing")
	case id.SSHCert == nil || id.TLSCert == nil:
		return errors.New("certificate is missing")
	case len(id.Authorities) > maxAuthorities:
		return fmt.Errorf("more than %d authorities", maxAuthorities)
	}
	return nil
}

func (id *Identity) checkSSH() error {
	cert := id.SSHCert
	if err := checkCertKeys(cert); err != nil {
		return fmt.Errorf("has %w", err)
	}
	switch {
	case cert.CertType != ssh.UserCert:
		return fmt.Errorf("is of type %d, not a user certificate", cert.CertType)
	case !samePublic(sshPublic(cert), id.SSHKey.Public()):
		return errors.New("is for another key than ours")
	case cert.KeyId != id.User:
		return fmt.Errorf("is for user %s, not %q", quoteShort(cert.KeyId), id.User)
	case len(cert.ValidPrincipals) == 0:
		// To some servers such a certificate is good for every login.
		return errors.New("has no principals")
	case cert.ValidBefore == ssh.CertTimeInfinity:
		return errors.New("is valid forever")
	case cert.ValidBefore > maxUnixTime:
		return fmt.Errorf("is valid beyond the year %d", maxYear)
	case cert.ValidBefore <= cert.ValidAfter:
		return errors.New("is never valid")
	}
	checker := ssh.CertChecker{
		SupportedCriticalOptions: []string{sourceAddress},
		Clock:                    func() time.Time { return time.Unix(int64(cert.ValidAfter), 0) },
	}
	return checker.CheckCert(cert.ValidPrincipals[0], cert)
}

func (id *Identity) checkTLS() error {
	cert := id.TLSCert
	if err := checkX509(cert); err != nil {
		return fmt.Errorf("has %w", err)
	}
	root := cert.Issuer.CommonName
	switch {
	case !samePublic(cert.PublicKey, id.TLSKey.Public()):
		return errors.New("is for another key than ours")
	case cert.Subject.CommonName != id.User:
		return fmt.Errorf("is for user %s, not %q", quoteShort(cert.Subject.CommonName), id.User)
	case cert.IsCA:
		return errors.New("is one of an authority")
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && len(cert.ExtKeyUsage) > 0:
		return errors.New("is not for clients")
	case !cert.NotAfter.After(cert.NotBefore):
		return errors.New("is never valid")
	case !id.Knows(root):
		return fmt.Errorf("is issued by cluster %s, whose host authority was not delivered", quoteShort(root))
	}
	return nil
}

func (id *Identity) checkAuthorities() error {
	seen := map[string]bool{}
	for _, a := range id.Authorities {
		if err := CheckName("cluster", a.Cluster); err != nil {
			return err
		}
		if seen[a.Cluster] {
			return fmt.Errorf("cluster %q has two authorities", a.Cluster)
		}
		seen[a.Cluster] = true
		if err := a.check(); err != nil {
			return fmt.Errorf("authority of cluster %q: %w", a.Cluster, err)
		}
	}
	return nil
}

func (a *Authority) check() error {
	if len(a.SSHKeys) > maxAuthorityKeys || len(a.TLSCerts) > maxAuthorityKeys {
		return fmt.Errorf("has more than %d keys", maxAuthorityKeys)
	}
	for _, k := range a.SSHKeys {
		if _, nested := k.(*ssh.Certificate); nested {
			return errors.New("is itself certified")
		}
		if err := checkSSHKey(k); err != nil {
			return fmt.Errorf("has %w", err)
		}
	}
	for _, c := range a.TLSCerts {
		if err := checkX509(c); err != nil {
			return fmt.Errorf("has %w", err)
		}
		switch {
		case !c.BasicConstraintsValid || !c.IsCA, c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
			return errors.New("has a certificate that may not sign others")
		case c.Subject.CommonName != a.Cluster:
			return fmt.Errorf("has a certificate for %s", quoteShort(c.Subject.CommonName))
		}
	}
	return nil
}

// checkX509 holds a certificate to the floor of algorithms.
func checkX509(cert *x509.Certificate) error {
	if err := checkPublic(crypto.PublicKey(cert.PublicKey)); err != nil {
		return err
	}
	if cert.NotAfter.Year() > maxYear {
		return fmt.Errorf("a validity beyond the year %d", maxYear)
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return nil
	}
	return fmt.Errorf("a signature of type %v", cert.SignatureAlgorithm)
}

// quoteShort shows a name from a server.
func quoteShort(s string) string {
	const shown = 64
	if len(s) > shown {
		s = s[:shown] + "..."
	}
	return fmt.Sprintf("%q", s)
}
