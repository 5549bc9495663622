package login

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/proxy"
)

// rogue is a proxy that answers a login as a test wants it to. It signs what
// it is asked to sign, well-formed unless bend changes it.
type rogue struct {
	ping   map[string]any
	bend   func(*answer)
	begin  string           // what it answers to begin
	finish http.HandlerFunc // instead of a signed answer
	asked  []string         // paths, in order
	bodies []string
}

// answer is what a finished login consists of, before it is signed.
type answer struct {
	username  string
	ssh       ssh.Certificate
	tls       x509.Certificate
	issuer    pkix.Name
	tlsKey    any // public key that the TLS certificate is for
	signers   []map[string]any
	authority x509.Certificate
}

var testNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func startRogue(t *testing.T, r *rogue) *proxy.Client {
	t.Helper()
	if r.ping == nil {
		r.ping = map[string]any{
			"auth":           map[string]any{"type": "local", "second_factor": "off", "local": map[string]any{"name": ""}, "private_key_policy": "none", "default_session_ttl": "12h0m0s", "signature_algorithm_suite": "balanced-v1"},
			"proxy":          map[string]any{"tls_routing_enabled": true},
			"server_version": "18.3.0",
			"cluster_name":   "example.com",
		}
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body := new(strings.Builder)
		_, _ = copyBounded(body, req.Body)
		r.asked = append(r.asked, req.URL.Path)
		r.bodies = append(r.bodies, body.String())
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasPrefix(req.URL.Path, "/webapi/ping"):
			_ = json.NewEncoder(w).Encode(r.ping)
		case r.begin != "" && strings.HasSuffix(req.URL.Path, "/begin"):
			_, _ = io.WriteString(w, r.begin)
		case r.finish != nil:
			r.finish(w, req)
		default:
			_ = json.NewEncoder(w).Encode(r.sign(t, body.String()))
		}
	}))
	t.Cleanup(server.Close)
	addr, err := proxy.ParseAddr(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client := proxy.NewClient(proxy.Options{Addr: addr, RootCAs: roots})
	t.Cleanup(client.Close)
	return client
}

// sign makes the answer to a finish request.
func (r *rogue) sign(t *testing.T, body string) map[string]any {
	t.Helper()
	var req struct {
		User      string `json:"user"`
		SSHPubKey []byte `json:"ssh_pub_key"`
		TLSPubKey []byte `json:"tls_pub_key"`
	}
	must(t, json.Unmarshal([]byte(body), &req))
	sshKey, _, _, _, err := ssh.ParseAuthorizedKey(req.SSHPubKey)
	must(t, err)
	block, _ := pem.Decode(req.TLSPubKey)
	tlsKey, err := x509.ParsePKIXPublicKey(block.Bytes)
	must(t, err)
	cluster := pkix.Name{Organization: []string{"example.com"}, CommonName: "example.com"}
	_, hostSigner := newSSHAuthority(t)
	a := &answer{
		username: req.User,
		ssh: ssh.Certificate{
			Key: sshKey, CertType: ssh.UserCert, KeyId: req.User, ValidPrincipals: []string{"root", "-teleport-internal-join"},
			ValidAfter: uint64(testNow.Add(-time.Minute).Unix()), ValidBefore: uint64(testNow.Add(time.Hour).Unix()),
			Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
		},
		tls: x509.Certificate{
			SerialNumber: big.NewInt(7), NotBefore: testNow.Add(-time.Minute), NotAfter: testNow.Add(time.Hour),
			Subject:  pkix.Name{CommonName: req.User, Organization: []string{"access"}},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		},
		issuer: cluster,
		tlsKey: tlsKey,
		authority: x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: cluster, NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(10000 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		},
		signers: []map[string]any{{"domain_name": "example.com", "checking_keys": [][]byte{ssh.MarshalAuthorizedKey(hostSigner.PublicKey())}}},
	}
	if r.bend != nil {
		r.bend(a)
	}
	return a.encode(t)
}

func (a *answer) encode(t *testing.T) map[string]any {
	t.Helper()
	_, userSigner := newSSHAuthority(t)
	must(t, a.ssh.SignCert(rand.Reader, userSigner))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	issuer := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: a.issuer, IsCA: true, BasicConstraintsValid: true}
	leaf, err := x509.CreateCertificate(rand.Reader, &a.tls, issuer, a.tlsKey, key)
	must(t, err)
	for _, s := range a.signers {
		if _, given := s["tls_certs"]; given {
			continue
		}
		authority, err := x509.CreateCertificate(rand.Reader, &a.authority, &a.authority, key.Public(), key)
		must(t, err)
		s["tls_certs"] = [][]byte{pemCertificate(authority)}
	}
	return map[string]any{
		"username": a.username, "cert": ssh.MarshalAuthorizedKey(&a.ssh), "tls_cert": pemCertificate(leaf), "host_signers": a.signers,
	}
}

func newSSHAuthority(t *testing.T) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	must(t, err)
	return key, signer
}

func pemCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
