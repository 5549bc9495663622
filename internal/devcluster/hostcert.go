package devcluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// clusterSuffix ends every encoded cluster name.
	clusterSuffix = "teleport.cluster.local"
	// webBackdate and webLifetime: web certificates are made anew at each
	// start; 397 days is the most that browsers accept.
	webBackdate = 24 * time.Hour
	webLifetime = 397 * 24 * time.Hour
	// serverLifetime of the certificate on gRPC connections, made at each start.
	serverLifetime = 5 * 365 * 24 * time.Hour
	backdate       = time.Minute
)

// encodeCluster is the name that stands for a cluster in ALPN and SNI.
func encodeCluster(name string) string { return hex.EncodeToString([]byte(name)) + "." + clusterSuffix }

// decodeCluster is the reverse. ok is false for what is no encoded name; the
// bare suffix means that no cluster was given.
func decodeCluster(s string) (name string, ok bool) {
	if s == clusterSuffix {
		return "", true
	}
	prefix, found := strings.CutSuffix(s, "."+clusterSuffix)
	if !found {
		return "", false
	}
	b, err := hex.DecodeString(prefix)
	return string(b), err == nil
}

// webCertificate names the public address and the ways to say loopback.
func (a *authority) webCertificate(publicHost string, now time.Time) (tls.Certificate, error) {
	tmpl := &x509.Certificate{
		Subject:     pkix.Name{CommonName: publicHost},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
		NotBefore:   now.Add(-webBackdate),
		NotAfter:    now.Add(webLifetime),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(publicHost); ip != nil {
		tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
	} else if publicHost != "localhost" {
		tmpl.DNSNames = append(tmpl.DNSNames, publicHost)
	}
	return a.serverCertificate(tmpl)
}

// roleCertificate is what the gRPC services present: the host UUID and the
// cluster for a name, any encoded cluster name for SAN.
func (a *authority) roleCertificate(hostID, cluster, role string, now time.Time) (tls.Certificate, error) {
	return a.serverCertificate(&x509.Certificate{
		Subject: pkix.Name{
			CommonName:   hostID + "." + cluster,
			Organization: []string{role},
			ExtraNames:   []pkix.AttributeTypeAndValue{{Type: identityOID(attrCluster), Value: cluster}},
		},
		DNSNames:    []string{"*." + clusterSuffix, clusterSuffix},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(serverLifetime),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) serverCertificate(tmpl *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if tmpl.SerialNumber, err = newSerial(); err != nil {
		return tls.Certificate{}, err
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.tlsCert, key.Public(), a.tlsKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// hostKey makes the SSH host key of a node and has it certified for the given
// principals, without expiry.
func (a *authority) hostKey(suite, cluster, keyID string, principals []string) (ssh.Signer, error) {
	var key crypto.Signer
	var err error
	if suite == suiteLegacy {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, err
	}
	cert := &ssh.Certificate{
		Key:             signer.PublicKey(),
		CertType:        ssh.HostCert,
		KeyId:           keyID,
		ValidPrincipals: principals,
		ValidBefore:     ssh.CertTimeInfinity,
		Permissions: ssh.Permissions{Extensions: map[string]string{
			"x-teleport-role":      "Node",
			"x-teleport-authority": cluster,
		}},
	}
	if err := cert.SignCert(rand.Reader, a.sshSigner); err != nil {
		return nil, err
	}
	return ssh.NewCertSigner(cert, signer)
}

// Numbers of the private arc 1.3.9999.1 that hold identity data in a subject.
const (
	attrCluster          = 7
	attrMFAVerified      = 8
	attrLoginIP          = 9
	attrPrivateKeyPolicy = 15
	attrUserType         = 20
)

// oidActiveRequest holds the ID of an access request that is assumed.
func oidActiveRequest() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 9999, 2, 8} }

func identityOID(number int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 9999, 1, number}
}
