package keystore

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Bounds of RSA keys: below, the key can be broken; above, a peer makes us work.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

const sshTimeout = 30 * time.Second

// HostKeyError is returned by the host key callback of SSHClientConfig for a host
// that is not what the authorities of the identity vouch for. There is no way to
// accept it.
type HostKeyError struct {
	Host      string // as dialled, without port
	Presented string // what the host showed
	Expected  string // what it should have been
}

func (e *HostKeyError) Error() string {
	return fmt.Sprintf("host %s presented %s, expected %s", e.Host, e.Presented, e.Expected)
}

// SSHClientConfig returns the configuration for SSH connections to nodes and
// proxies: the first principal of the certificate as user, the certificate as
// the only method, 30 s for the handshake. Hosts must show a host certificate,
// signed by one of the identity's authorities, valid now, that names the dialled
// host (RFC 4251 host name, without port) as principal; nothing else is accepted
// and nobody is asked. It is an error to have no key or no authority.
func (id *Identity) SSHClientConfig() (*ssh.ClientConfig, error) {
	if id.SSHKey == nil || id.SSHCert == nil {
		return nil, errors.New(id.owner() + " has no SSH key")
	}
	hasKeys := false
	for _, a := range id.Authorities {
		hasKeys = hasKeys || len(a.SSHKeys) > 0
	}
	if !hasKeys {
		return nil, id.without("SSH")
	}
	if err := checkHalves(id.SSHKey); err != nil {
		return nil, err
	}
	signer, err := certSigner(id)
	if err != nil {
		return nil, err
	}
	user := id.SSHCert.KeyId
	if len(id.SSHCert.ValidPrincipals) > 0 {
		user = id.SSHCert.ValidPrincipals[0]
	}
	return &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   id.checkHostKey,
		HostKeyAlgorithms: hostCertAlgorithms(),
		Timeout:           sshTimeout,
	}, nil
}

// certSigner signs with the certificate; RSA keys never with SHA-1.
// SSHSigner signs with the identity's key under the name of its certificate, as an
// ssh-agent that holds both would.
func (id *Identity) SSHSigner() (ssh.Signer, error) {
	if id.SSHKey == nil || id.SSHCert == nil {
		return nil, errors.New(id.owner() + " has no SSH key")
	}
	return certSigner(id)
}

func certSigner(id *Identity) (ssh.Signer, error) {
	if key := agentSigner(id.SSHKey); key != nil {
		return ssh.NewCertSigner(id.SSHCert, key.SSHSigner())
	}
	signer, err := ssh.NewSignerFromSigner(id.SSHKey)
	if err != nil {
		return nil, err
	}
	if _, ok := id.SSHKey.Public().(*rsa.PublicKey); ok {
		s, ok := signer.(ssh.AlgorithmSigner)
		if !ok {
			return nil, errors.New("RSA key cannot sign with SHA-2")
		}
		if signer, err = ssh.NewSignerWithAlgorithms(s, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}); err != nil {
			return nil, err
		}
	}
	return ssh.NewCertSigner(id.SSHCert, signer)
}

// hostCertAlgorithms are the host key algorithms we ask for: certificates only,
// without SHA-1 and DSA.
func hostCertAlgorithms() []string {
	return []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
}

// checkHostKey is the host key callback: OpenSSH's rules for host certificates
// (PROTOCOL.certkeys), with a principal required.
func (id *Identity) checkHostKey(addr string, _ net.Addr, key ssh.PublicKey) error {
	host := bareHost(addr)
	refuse := func(presented, expected string) error {
		return &HostKeyError{Host: host, Presented: presented, Expected: expected}
	}
	cert, ok := key.(*ssh.Certificate)
	switch {
	case !ok:
		return refuse(fmt.Sprintf("a plain %s key %s", key.Type(), ssh.FingerprintSHA256(key)), "a host certificate")
	case cert.CertType != ssh.HostCert:
		return refuse(fmt.Sprintf("a certificate of type %d", cert.CertType), "a host certificate")
	}
	if err := checkCertKeys(cert); err != nil {
		return refuse("a host certificate with "+err.Error(), "one with current algorithms")
	}
	if id.revoked[string(cert.SignatureKey.Marshal())] || id.revoked[string(cert.Key.Marshal())] {
		return refuse("a host certificate with a revoked key", "one that known_hosts does not mark @revoked")
	}
	if !id.isHostAuthority(cert.SignatureKey) {
		return refuse("a host certificate signed by "+ssh.FingerprintSHA256(cert.SignatureKey), "one signed by "+id.authorityNames())
	}
	principal, ok := matchPrincipal(host, cert.ValidPrincipals)
	if !ok {
		return refuse("a host certificate for "+principalNames(cert.ValidPrincipals), fmt.Sprintf("one for %q", host))
	}
	checker := ssh.CertChecker{Clock: id.now}
	if err := checker.CheckCert(principal, cert); err != nil {
		return refuse("a host certificate that does not hold: "+strings.TrimPrefix(err.Error(), "ssh: "), "a valid one at "+id.now().UTC().Format(time.RFC3339))
	}
	return nil
}

func (id *Identity) isHostAuthority(key ssh.PublicKey) bool {
	for _, a := range id.Authorities {
		if containsKey(a.SSHKeys, key) {
			return true
		}
	}
	return false
}

func (id *Identity) authorityNames() string {
	var names []string
	for _, a := range id.Authorities {
		for _, k := range a.SSHKeys {
			names = append(names, fmt.Sprintf("%s (%s)", ssh.FingerprintSHA256(k), a.Cluster))
		}
	}
	return shorten(names)
}

func principalNames(names []string) string {
	if len(names) == 0 {
		return "no principal at all"
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return shorten(quoted)
}

// shorten lists names a peer may have made long or many.
func shorten(names []string) string {
	const most, longest = 8, 512
	if len(names) > most {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", len(names)-most))
	}
	s := strings.Join(names, ", ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}

// bareHost is what principals are compared with: no port, no brackets.
func bareHost(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
}

// matchPrincipal finds host among the principals, as names are compared in DNS:
// without case and without the root's dot. An empty list means every host to
// OpenSSH's format and none to us.
func matchPrincipal(host string, principals []string) (string, bool) {
	host = strings.TrimSuffix(host, ".")
	for _, p := range principals {
		if host != "" && strings.EqualFold(host, strings.TrimSuffix(p, ".")) {
			return p, true
		}
	}
	return "", false
}

// checkCertKeys holds a certificate to the floor of algorithms: its key, the key
// of its signer and the signature.
func checkCertKeys(cert *ssh.Certificate) error {
	if cert.Key == nil || cert.SignatureKey == nil || cert.Signature == nil {
		return errors.New("parts missing")
	}
	if _, nested := cert.SignatureKey.(*ssh.Certificate); nested {
		return errors.New("a certificate as its authority")
	}
	if err := checkSSHKey(cert.Key); err != nil {
		return err
	}
	if err := checkSSHKey(cert.SignatureKey); err != nil {
		return fmt.Errorf("an authority that is %w", err)
	}
	switch cert.Signature.Format {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512:
		return nil
	case ssh.KeyAlgoRSA:
		return errors.New("a SHA-1 signature")
	}
	return fmt.Errorf("a signature of type %s", quoteShort(cert.Signature.Format))
}

func checkSSHKey(key ssh.PublicKey) error {
	pub := sshPublic(key)
	if pub == nil {
		return fmt.Errorf("a key of type %q", key.Type())
	}
	return checkPublic(pub)
}

// checkPublic is the floor of key algorithms and sizes.
func checkPublic(pub any) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits", bits)
		}
		return nil
	case *ecdsa.PublicKey:
		if curveOK(k.Curve) {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key of type %T", pub)
}
