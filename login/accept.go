package login

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/proxy"
)

// keyPair is a freshly made pair of private keys and their public wire forms.
type keyPair struct {
	ssh, tls crypto.Signer
	sshPub   []byte // authorized_keys line
	tlsPub   []byte // PEM
	onePub   []byte // sshPub where it is the one key that clusters of version 14 know
	err      error
}

func generate(suite keystore.Suite, one bool) keyPair {
	var k keyPair
	if one {
		k.ssh, k.err = keystore.GenerateOneKey(suite)
		k.tls = k.ssh
	} else {
		k.ssh, k.tls, k.err = keystore.GenerateKeys(suite)
	}
	if k.err == nil {
		k.sshPub, k.tlsPub, k.err = keystore.PublicKeys(k.ssh, k.tls)
		if suite == keystore.SuiteLegacy {
			k.onePub = k.sshPub
		}
	}
	return k
}

// accept turns the proxy's answer into an identity, or says why it must not
// become one: certificates for other keys or another user, of the wrong kind,
// for a cluster whose authorities did not come along, not valid now. The user
// authority that signed them is not delivered, so no chain is verified here.
func (s *session) accept(answer *proxy.LoginResponse) (*keystore.Identity, error) {
	id, err := s.assemble(answer)
	if err == nil {
		err = id.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	now := s.req.Now()
	if err := id.CheckTime(now); err != nil {
		return nil, fmt.Errorf("%w: %w%s", ErrRejected, err, skew(now, s.client.Date()))
	}
	return id, nil
}

// skew says by how much the clock here differs from the proxy's, if it is worth a
// word: dates are cut to seconds, and an answer is as old as its certificates.
func skew(here, proxy time.Time) string {
	const tolerance = time.Minute
	if proxy.IsZero() || here.Sub(proxy).Abs() <= tolerance {
		return ""
	}
	if here.Before(proxy) {
		return fmt.Sprintf("; the clock here is %v behind the proxy's", proxy.Sub(here).Round(time.Second))
	}
	return fmt.Sprintf("; the clock here is %v ahead of the proxy's", here.Sub(proxy).Round(time.Second))
}

func (s *session) assemble(answer *proxy.LoginResponse) (*keystore.Identity, error) {
	if err := s.acceptUser(answer.Username); err != nil {
		return nil, err
	}
	authorities, err := parseAuthorities(answer)
	if err != nil {
		return nil, err
	}
	keys := s.keys()
	id := &keystore.Identity{
		Proxy:       s.ping.ProfileName(s.client.WebAddr()),
		User:        answer.Username,
		Cluster:     authorities[0].Cluster,
		SSHKey:      keys.ssh,
		TLSKey:      keys.tls,
		Authorities: authorities,
	}
	if id.SSHCert, err = parseSSHCertificate(answer.Cert); err != nil {
		return nil, err
	}
	if id.TLSCert, err = parseTLSCertificate(answer.TLSCert); err != nil {
		return nil, err
	}
	if leaf := s.route(); leaf != "" {
		id.Cluster = leaf
		return id, id.CheckRoute()
	}
	return id, nil
}

// acceptUser judges whom the answer is for: the user that was asked for or, where
// the cluster says who the person is, one with a name that can be used.
func (s *session) acceptUser(name string) error {
	if s.anyUser {
		return keystore.CheckName("user", name)
	}
	if name != s.req.User {
		return fmt.Errorf("it is for user %q, not %q", text.Line(name), s.req.User)
	}
	return nil
}

// parseAuthorities reads the host authorities that came along; the first is
// the cluster that was logged in to.
func parseAuthorities(answer *proxy.LoginResponse) ([]keystore.Authority, error) {
	if len(answer.HostSigners) == 0 {
		return nil, errors.New("no host authority came with it")
	}
	var all []keystore.Authority
	for _, signer := range answer.HostSigners {
		if err := keystore.CheckName("cluster", signer.DomainName); err != nil {
			return nil, err
		}
		a := keystore.Authority{Cluster: signer.DomainName}
		for _, line := range signer.CheckingKeys {
			key, _, _, _, err := ssh.ParseAuthorizedKey(line)
			if err != nil {
				return nil, fmt.Errorf("SSH authority of %s: %w", signer.DomainName, err)
			}
			a.SSHKeys = append(a.SSHKeys, key)
		}
		for _, block := range signer.TLSCerts {
			cert, err := parseTLSCertificate(block)
			if err != nil {
				return nil, fmt.Errorf("TLS authority of %s: %w", signer.DomainName, err)
			}
			a.TLSCerts = append(a.TLSCerts, cert)
		}
		all = append(all, a)
	}
	return all, nil
}

func parseSSHCertificate(line []byte) (*ssh.Certificate, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return nil, fmt.Errorf("SSH certificate: %w", err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("SSH certificate: it is a plain key")
	}
	return cert, nil
}

func parseTLSCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("TLS certificate: no PEM block of type CERTIFICATE")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	return cert, nil
}
