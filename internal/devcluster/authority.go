package devcluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/ssh"
)

// Signature suites a dev cluster can have; the names are those of ping.
const (
	suiteBalanced = "balanced-v1"
	suiteLegacy   = "legacy"
)

// caLifetime is how long the authorities of a new cluster are valid.
const caLifetime = 10 * 365 * 24 * time.Hour

// authority signs one kind of certificate: with SSH and TLS keys for users and
// hosts, with a TLS key only for the web.
type authority struct {
	sshSigner ssh.Signer
	tlsKey    crypto.Signer
	tlsCert   *x509.Certificate
}

// authorityRecord is an authority at rest.
type authorityRecord struct {
	SSHKey  string `json:"ssh_key,omitempty"` // PKCS#8 PEM
	TLSKey  string `json:"tls_key"`           // PKCS#8 PEM
	TLSCert string `json:"tls_cert"`          // PEM
}

// authorities are those of one cluster.
type authorities struct{ user, host, web *authority }

// newAuthorities makes the authorities of a new cluster.
func newAuthorities(suite, cluster string, now time.Time) (map[string]authorityRecord, error) {
	records := make(map[string]authorityRecord, 3)
	for _, kind := range []string{"user", "host"} {
		sshKey, tlsKey, err := caKeys(suite)
		if err != nil {
			return nil, err
		}
		// Both have the cluster's name for a subject; the serial number
		// in it keeps verifiers that index by subject from confusing them.
		subject := pkix.Name{Organization: []string{cluster}, CommonName: cluster}
		rec, err := newAuthorityRecord(sshKey, tlsKey, subject, now)
		if err != nil {
			return nil, err
		}
		records[kind] = rec
	}
	webKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	subject := pkix.Name{Organization: []string{"dev cluster"}, CommonName: cluster + " web CA"}
	// Browsers and test clients may run by another clock than the cluster.
	rec, err := newAuthorityRecord(nil, webKey, subject, now.Add(-webBackdate))
	if err != nil {
		return nil, err
	}
	records["web"] = rec
	return records, nil
}

// caKeys makes the SSH and TLS keys of one authority.
func caKeys(suite string) (sshKey, tlsKey crypto.Signer, err error) {
	if suite == suiteLegacy {
		if sshKey, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, nil, err
		}
		tlsKey, err = rsa.GenerateKey(rand.Reader, 2048)
		return sshKey, tlsKey, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tlsKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return key, tlsKey, err
}

func newAuthorityRecord(sshKey, tlsKey crypto.Signer, subject pkix.Name, now time.Time) (authorityRecord, error) {
	serial, err := newSerial()
	if err != nil {
		return authorityRecord{}, err
	}
	subject.SerialNumber = serial.String()
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		NotBefore:             now,
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, tlsKey.Public(), tlsKey)
	if err != nil {
		return authorityRecord{}, err
	}
	rec := authorityRecord{TLSCert: string(certPEM(der))}
	if rec.TLSKey, err = keyPEM(tlsKey); err != nil {
		return authorityRecord{}, err
	}
	if sshKey != nil {
		if rec.SSHKey, err = keyPEM(sshKey); err != nil {
			return authorityRecord{}, err
		}
	}
	return rec, nil
}

// load turns a record into an authority.
func (r authorityRecord) load() (*authority, error) {
	a := new(authority)
	var err error
	if a.tlsKey, err = parseKeyPEM(r.TLSKey); err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(r.TLSCert))
	if block == nil {
		return nil, errors.New("authority certificate is not PEM")
	}
	if a.tlsCert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, err
	}
	if r.SSHKey == "" {
		return a, nil
	}
	key, err := parseKeyPEM(r.SSHKey)
	if err != nil {
		return nil, err
	}
	a.sshSigner, err = newCASigner(key)
	return a, err
}

// newCASigner wraps a key for signing SSH certificates; an RSA key signs with
// SHA-512, never with SHA-1.
func newCASigner(key crypto.Signer) (ssh.Signer, error) {
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, err
	}
	if signer.PublicKey().Type() != ssh.KeyAlgoRSA {
		return signer, nil
	}
	as, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("RSA authority cannot choose its signature algorithm")
	}
	return ssh.NewSignerWithAlgorithms(as, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
}

// crl returns an empty revocation list (DER), which clusters of 18 publish
// beside the certificate.
func (a *authority) crl() ([]byte, error) {
	return x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:     big.NewInt(1),
		ThisUpdate: a.tlsCert.NotBefore.Add(-time.Minute),
		NextUpdate: a.tlsCert.NotAfter,
	}, a.tlsCert, a.tlsKey)
}

func (a *authority) certPEM() []byte { return certPEM(a.tlsCert.Raw) }

// authorizedKey is the SSH public key as one authorized_keys line.
func (a *authority) authorizedKey() []byte { return ssh.MarshalAuthorizedKey(a.sshSigner.PublicKey()) }

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

func parseKeyPEM(s string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(s))
	if block == nil {
		return nil, errors.New("authority key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("authority key of type %T cannot sign", key)
	}
	return signer, nil
}

// loadAuthorities reads the authorities of a cluster from its state.
func loadAuthorities(s *state) (*authorities, error) {
	out := new(authorities)
	for kind, dst := range map[string]**authority{"user": &out.user, "host": &out.host, "web": &out.web} {
		var rec authorityRecord
		found, err := s.get(bucketAuthorities, kind, &rec)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("%s: the %s authority is missing from the state", s.dir, kind)
		}
		if *dst, err = rec.load(); err != nil {
			return nil, fmt.Errorf("%s authority: %w", kind, err)
		}
	}
	return out, nil
}
