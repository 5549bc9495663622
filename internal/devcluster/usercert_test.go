package devcluster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// capturedLogin is the answer that a real 18.3 cluster gave to a login.
func capturedLogin(t *testing.T) (*ssh.Certificate, *x509.Certificate, *x509.Certificate) {
	t.Helper()
	var resp loginResponse
	if err := json.Unmarshal(readCaptured(t, "18.3", "finish-ok").body, &resp); err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(resp.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ssh.Certificate), parseCert(t, resp.TLSCert), parseCert(t, resp.HostSigners[0].TLSCerts[0])
}

// subjectShape is the OIDs of a raw subject, one set per line, and for each
// value the ASN.1 tag it is written with.
func subjectShape(t *testing.T, raw []byte) (oids []string, tags []int) {
	t.Helper()
	var sets []asn1.RawValue
	if _, err := asn1.Unmarshal(raw, &sets); err != nil {
		t.Fatal(err)
	}
	for _, set := range sets {
		line := ""
		for rest := set.Bytes; len(rest) > 0; {
			var attr struct {
				OID   asn1.ObjectIdentifier
				Value asn1.RawValue
			}
			var err error
			if rest, err = asn1.Unmarshal(rest, &attr); err != nil {
				t.Fatal(err)
			}
			line += attr.OID.String() + " "
			tags = append(tags, attr.Value.Tag)
		}
		oids = append(oids, line)
	}
	return oids, tags
}

func extensionIDs(cert *x509.Certificate) []string {
	var ids []string
	for _, e := range cert.Extensions {
		id := e.Id.String()
		if e.Critical {
			id += " critical"
		}
		ids = append(ids, id)
	}
	return ids
}

func TestCertificatesEqualTheCapturedOnes(t *testing.T) {
	f := startCluster(t, nil)
	l := f.login(nil)
	wantSSH, wantTLS, wantCA := capturedLogin(t)
	gotOIDs, gotTags := subjectShape(t, l.tlsCert.RawSubject)
	wantOIDs, wantTags := subjectShape(t, wantTLS.RawSubject)
	if !slices.Equal(gotOIDs, wantOIDs) || !slices.Equal(gotTags, wantTags) {
		t.Errorf("subject\n%q %v\nwant\n%q %v", gotOIDs, gotTags, wantOIDs, wantTags)
	}
	ca := parseCert(t, l.resp.HostSigners[0].TLSCerts[0])
	for name, pair := range map[string][2]*x509.Certificate{"user": {l.tlsCert, wantTLS}, "host authority": {ca, wantCA}} {
		got, want := pair[0], pair[1]
		if !slices.Equal(extensionIDs(got), extensionIDs(want)) {
			t.Errorf("%s: extensions %v, want %v", name, extensionIDs(got), extensionIDs(want))
		}
		if got.KeyUsage != want.KeyUsage || !slices.Equal(got.ExtKeyUsage, want.ExtKeyUsage) || got.IsCA != want.IsCA {
			t.Errorf("%s: usage %v %v %v, want %v %v %v", name, got.KeyUsage, got.ExtKeyUsage, got.IsCA, want.KeyUsage, want.ExtKeyUsage, want.IsCA)
		}
		gotOIDs, _ := subjectShape(t, got.RawIssuer)
		if wantOIDs, _ := subjectShape(t, want.RawIssuer); !slices.Equal(gotOIDs, wantOIDs) {
			t.Errorf("%s: issuer %v, want %v", name, gotOIDs, wantOIDs)
		}
		if got.SignatureAlgorithm != want.SignatureAlgorithm || got.SerialNumber.BitLen() < 64 {
			t.Errorf("%s: %v, serial %v", name, got.SignatureAlgorithm, got.SerialNumber)
		}
	}
	got := l.sshCert
	names := func(c *ssh.Certificate) []string { return slices.Sorted(maps.Keys(c.Extensions)) }
	if !slices.Equal(names(got), names(wantSSH)) {
		t.Errorf("ssh extensions %v, want %v", names(got), names(wantSSH))
	}
	if len(got.CriticalOptions) != 0 || got.Serial != wantSSH.Serial || got.SignatureKey.Type() != wantSSH.SignatureKey.Type() ||
		got.CertType != wantSSH.CertType {
		t.Errorf("ssh certificate %+v", got)
	}
	if !slices.Equal(got.ValidPrincipals, []string{"root", "alice", joinPrincipal}) {
		t.Errorf("principals %q", got.ValidPrincipals)
	}
	for name, want := range map[string]string{
		"teleport-roles": `{"roles":["access"]}`, "teleport-route-to-cluster": "dev.example", "login-ip": "127.0.0.1", "private-key-policy": "none",
	} {
		if got.Extensions[name] != want {
			t.Errorf("%s: %q, want %q", name, got.Extensions[name], want)
		}
	}
	if gotTraits, wantTraits := got.Extensions["teleport-traits"], wantSSH.Extensions["teleport-traits"]; !slices.Equal(
		jsonPaths(t, []byte(gotTraits)), jsonPaths(t, []byte(wantTraits))) {
		t.Errorf("traits %s, want %s", gotTraits, wantTraits)
	}
}

func TestCertificateValues(t *testing.T) {
	f := startCluster(t, nil)
	now := f.clock.Now()
	l := f.login(func(m map[string]any) { m["ttl"] = 100 * time.Hour })
	if want := now.Add(30 * time.Hour); !l.tlsCert.NotAfter.Equal(want) || l.sshCert.ValidBefore != uint64(want.Unix()) {
		t.Errorf("until %v, %v; want %v", l.tlsCert.NotAfter, l.sshCert.ValidBefore, want)
	}
	if want := now.Add(-time.Minute); !l.tlsCert.NotBefore.Equal(want) || l.sshCert.ValidAfter != uint64(want.Unix()) {
		t.Errorf("from %v, %v; want %v", l.tlsCert.NotBefore, l.sshCert.ValidAfter, want)
	}
	if got := l.tlsCert.Issuer.CommonName; got != f.Name() {
		t.Errorf("issuer %s", got)
	}
	userCA, hostCA := f.auths.user.tlsCert, f.auths.host.tlsCert
	if bytes.Equal(userCA.RawSubject, hostCA.RawSubject) || userCA.Subject.CommonName != hostCA.Subject.CommonName ||
		userCA.Subject.SerialNumber != userCA.SerialNumber.String() {
		t.Errorf("authorities %v, %v", userCA.Subject, hostCA.Subject)
	}
	if got := attribute(l.tlsCert, 9); got != "127.0.0.1" {
		t.Errorf("login IP %q", got)
	}
	for name, ttl := range map[string]time.Duration{"default": 0, "a second": time.Second, "negative": -1} {
		want := map[string]time.Duration{"default": 12 * time.Hour, "a second": time.Minute, "negative": 12 * time.Hour}[name]
		f.clock.Advance(codePeriod)
		l := f.login(func(m map[string]any) { m["ttl"] = ttl })
		if got := l.tlsCert.NotAfter.Sub(f.clock.Now()); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	f.clock.Advance(codePeriod)
	old := f.login(func(m map[string]any) { m["compatibility"] = formatOld })
	for name := range old.sshCert.Extensions {
		if len(name) > 8 && name[:8] == "teleport" {
			t.Errorf("old format has %s", name)
		}
	}
}

func attribute(cert *x509.Certificate, number int) string {
	for _, a := range cert.Subject.Names {
		if a.Type.Equal(identityOID(number)) {
			s, _ := a.Value.(string)
			return s
		}
	}
	return ""
}

func TestUserWithoutLogins(t *testing.T) {
	f := startCluster(t, nil)
	en, err := f.AddUser(UserSpec{Name: "aud", Password: alicePassword, Roles: []string{"auditor", "editor"}, Logins: []string{"root"}})
	if err != nil {
		t.Fatal(err)
	}
	f.secret = en.TOTPSecret
	l := f.login(func(m map[string]any) { m["user"] = "aud" })
	if p := l.sshCert.ValidPrincipals; len(p) != 2 || p[0][:18] != "-teleport-nologin-" || p[1] != joinPrincipal {
		t.Errorf("principals %q", p)
	}
	if o := l.tlsCert.Subject.Organization; len(o) != 2 {
		t.Errorf("roles %q", o)
	}
}

// The server signs any key it can parse, in either encoding and label, and
// only the keys it is given.
func TestKeyForms(t *testing.T) {
	f := startCluster(t, nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	ecKey, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	pkix := func(label string, key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)
	for name, key := range map[string][]byte{
		"rsa pkcs1": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"rsa mixed": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkcs1}),
		"rsa pkix":  pkix("RSA PUBLIC KEY", &rsaKey.PublicKey),
		"ed25519":   pkix("PUBLIC KEY", edKey.Public()),
		"p384":      pkix("PUBLIC KEY", ecKey.Public()),
	} {
		f.clock.Advance(codePeriod)
		body := finishBody(t, new(login), func(m map[string]any) {
			m["totp_code"], m["tls_pub_key"] = f.code(), key
			delete(m, "ssh_pub_key")
		})
		resp, raw := f.do(http.MethodPost, "/webapi/mfa/login/finish", body)
		var answer loginResponse
		if err := json.Unmarshal(raw, &answer); err != nil || resp.StatusCode != 200 || !bytes.Contains(raw, []byte(`"cert":null`)) {
			t.Fatalf("%s: %d %s", name, resp.StatusCode, raw)
		}
		cert := parseCert(t, answer.TLSCert)
		if _, ok := cert.PublicKey.(*rsa.PublicKey); ok != (cert.KeyUsage&x509.KeyUsageKeyEncipherment != 0) {
			t.Errorf("%s: key usage %v", name, cert.KeyUsage)
		}
	}
	sshRSA, _ := ssh.NewPublicKey(&rsaKey.PublicKey)
	sshEC, _ := ssh.NewPublicKey(&ecKey.PublicKey)
	for _, key := range []ssh.PublicKey{sshRSA, sshEC} {
		f.clock.Advance(codePeriod)
		l := f.login(func(m map[string]any) { m["ssh_pub_key"] = ssh.MarshalAuthorizedKey(key) })
		if !bytes.Equal(l.sshCert.Key.Marshal(), key.Marshal()) {
			t.Errorf("%s: another key was signed", key.Type())
		}
	}
}

func TestLegacySuite(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Suite = suiteLegacy })
	l := f.login(nil)
	if got := l.sshCert.Signature.Format; got != ssh.KeyAlgoRSASHA512 {
		t.Errorf("signature %s", got)
	}
	for _, a := range []*authority{f.auths.user, f.auths.host} {
		if key, ok := a.tlsCert.PublicKey.(*rsa.PublicKey); !ok || key.Size() != 256 || a.sshSigner.PublicKey().Type() != ssh.KeyAlgoRSA {
			t.Errorf("authority keys %T, %s", a.tlsCert.PublicKey, a.sshSigner.PublicKey().Type())
		}
	}
	var seq pkix.RDNSequence
	if _, err := asn1.Unmarshal(l.tlsCert.RawSubject, &seq); err != nil {
		t.Error(err)
	}
}
