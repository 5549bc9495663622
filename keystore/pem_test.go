package keystore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

type sampleKeys struct {
	rsa     *rsa.PrivateKey
	ecdsa   *ecdsa.PrivateKey
	ed25519 ed25519.PrivateKey
}

func newSampleKeys(t testing.TB) sampleKeys {
	t.Helper()
	r, _ := keysFor(t, SuiteLegacy)
	e, c := keysFor(t, SuiteBalanced)
	return sampleKeys{r.(*rsa.PrivateKey), c.(*ecdsa.PrivateKey), e.(ed25519.PrivateKey)}
}

func TestKeysAreWrittenInTheirFormAndReadBack(t *testing.T) {
	k := newSampleKeys(t)
	for _, tc := range []struct {
		key      crypto.Signer
		ssh, tls string
	}{
		{k.rsa, pemRSA, pemRSA}, {k.ecdsa, pemOpenSSH, pemPKCS8}, {k.ed25519, pemOpenSSH, pemPKCS8},
	} {
		for _, form := range []struct {
			want   string
			encode func(crypto.Signer) ([]byte, error)
		}{{tc.ssh, encodeSSHKey}, {tc.tls, encodeTLSKey}} {
			data, err := form.encode(tc.key)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(data, []byte("-----BEGIN "+form.want+"-----\n")) || !bytes.HasSuffix(data, []byte("-----\n")) {
				t.Errorf("%T is written as %.40q", tc.key, data)
			}
			if back, err := decodeKey(data); err != nil || !samePublic(back.Public(), tc.key.Public()) {
				t.Errorf("%T %s: %v", tc.key, form.want, err)
			}
		}
	}
	a, _ := encodeSSHKey(k.rsa)
	b, _ := encodeTLSKey(k.rsa)
	if !bytes.Equal(a, b) {
		t.Error("the files of one RSA key differ")
	}
}

// The label of an ASN.1 key is not taken literally; line ends and text around do
// not matter; the first block decides.
func TestKeysOfOtherWritersAreRead(t *testing.T) {
	k := newSampleKeys(t)
	sec1, err := x509.MarshalECPrivateKey(k.ecdsa)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k.ed25519)
	if err != nil {
		t.Fatal(err)
	}
	openssh, err := encodeSSHKey(k.ecdsa)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := encodePEM(pemRSA, x509.MarshalPKCS1PrivateKey(k.rsa))
	for name, tc := range map[string]struct {
		data []byte
		want crypto.Signer
	}{
		"SEC1":                   {encodePEM(pemEC, sec1), k.ecdsa},
		"SEC1 labelled PKCS#8":   {encodePEM(pemPKCS8, sec1), k.ecdsa},
		"PKCS#8 labelled PKCS#1": {encodePEM(pemRSA, pkcs8), k.ed25519},
		"CRLF":                   {bytes.ReplaceAll(pkcs1, []byte("\n"), []byte("\r\n")), k.rsa},
		"text before":            {append([]byte("comment\n"), openssh...), k.ecdsa},
		"two blocks":             {append(bytes.Clone(openssh), pkcs1...), k.ecdsa},
		"no last newline":        {bytes.TrimSuffix(openssh, []byte("\n")), k.ecdsa},
	} {
		if got, err := decodeKey(tc.data); err != nil || !samePublic(got.Public(), tc.want.Public()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// case F20: broken and foreign keys are an error, never a panic.
func TestKeysThatCannotBeUsed(t *testing.T) {
	k := newSampleKeys(t)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der224, _ := x509.MarshalPKCS8PrivateKey(p224)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(k.ed25519, "", []byte("pass"))
	if err != nil {
		t.Fatal(err)
	}
	// A PKCS#1 key of which only the modulus, exponents and primes are there.
	partial, _ := asn1.Marshal(struct {
		V                   int
		N                   *big.Int
		E                   int
		D, P, Q, Dp, Dq, Qi *big.Int
	}{0, k.rsa.N, k.rsa.E, k.rsa.D, k.rsa.Primes[0], big.NewInt(1), big.NewInt(0), big.NewInt(0), big.NewInt(0)})
	whole := x509.MarshalPKCS1PrivateKey(k.rsa)
	for name, tc := range map[string]struct{ data, kind string }{
		"junk":                {"not a key", ""},
		"no content":          {"-----BEGIN RSA PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n", ""},
		"cut off":             {string(encodePEM(pemRSA, whole))[:200], ""},
		"half the DER":        {string(encodePEM(pemRSA, whole[:len(whole)/2])), ""},
		"partial PKCS#1":      {string(encodePEM(pemRSA, partial)), ""},
		"OpenSSH junk":        {string(encodePEM(pemOpenSSH, []byte("openssh-key-v1\x00rest"))), ""},
		"a certificate":       {string(encodePEM(pemCert, whole)), KeyUnknown},
		"wrong curve":         {string(encodePEM(pemPKCS8, der224)), KeyUnknown},
		"encrypted OpenSSH":   {string(pem.EncodeToMemory(locked)), KeyEncrypted},
		"encrypted PKCS#8":    {string(encodePEM(pemEncrypted, whole)), KeyEncrypted},
		"encrypted old style": {string(pem.EncodeToMemory(&pem.Block{Type: pemRSA, Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: whole})), KeyEncrypted},
		"on a token":          {string(encodePEM(pemToken, []byte(`{"serial_number":1,"slot_key":154}`))), KeyHardware},
		"DSA":                 {string(encodePEM("DSA PRIVATE KEY", whole)), KeyUnknown},
	} {
		_, err := decodeKey([]byte(tc.data))
		if err == nil {
			t.Errorf("%s was read", name)
			continue
		}
		var other *KeyError
		if errors.As(err, &other) != (tc.kind != "") || other != nil && other.Kind != tc.kind {
			t.Errorf("%s: %v, want kind %q", name, err, tc.kind)
		}
		if other != nil && errors.Is(err, ErrDamaged) != (tc.kind != KeyHardware) {
			t.Errorf("%s: a new login helps: %v", name, errors.Is(err, ErrDamaged))
		}
	}
}

// Who has a certificate of one kind renewed leaves the other key out.
func TestPublicKeyOfOne(t *testing.T) {
	sshKey, tlsKey := keysFor(t, SuiteBalanced)
	if line, data, err := PublicKeys(nil, tlsKey); line != nil || data == nil || err != nil {
		t.Errorf("TLS alone: %q, %q, %v", line, data, err)
	}
	if line, data, err := PublicKeys(sshKey, nil); line == nil || data != nil || err != nil {
		t.Errorf("SSH alone: %q, %q, %v", line, data, err)
	}
}

func TestPublicKeysInTheFormsOfTheLoginCalls(t *testing.T) {
	for suite, label := range map[Suite]string{
		"": "RSA PUBLIC KEY", SuiteLegacy: "RSA PUBLIC KEY", SuiteBalanced: "PUBLIC KEY", SuiteFIPS: "PUBLIC KEY", SuiteHSM: "PUBLIC KEY",
	} {
		sshKey, tlsKey := keysFor(t, suite)
		line, data, err := PublicKeys(sshKey, tlsKey)
		if err != nil {
			t.Fatal(err)
		}
		pub, comment, _, rest, err := ssh.ParseAuthorizedKey(line)
		if err != nil || comment != "" || len(rest) != 0 || !bytes.HasSuffix(line, []byte("\n")) || !samePublic(sshPublic(pub), sshKey.Public()) {
			t.Errorf("%q: %q, %v", suite, line, err)
		}
		block, _ := pem.Decode(data)
		if block == nil || block.Type != label {
			t.Fatalf("%q: %q", suite, data)
		}
		var key any
		if key, err = x509.ParsePKIXPublicKey(block.Bytes); label == "RSA PUBLIC KEY" {
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		}
		if err != nil || !samePublic(key, tlsKey.Public()) {
			t.Errorf("%q: %v", suite, err)
		}
		if same := samePublic(sshKey.Public(), tlsKey.Public()); same != (suite == "" || suite == SuiteLegacy) {
			t.Errorf("%q: one key for both is %v", suite, same)
		}
	}
	// case L27, case L28: nothing weaker instead of a suite we do not know.
	if _, _, err := GenerateKeys("rsa-1024"); err == nil {
		t.Error("an unknown suite made keys")
	}
}

// Other programs read what we write.
func TestOpenSSHAndOpenSSLReadOurKeys(t *testing.T) {
	keygen, openssl := testenv.Program(t, "ssh-keygen"), testenv.Program(t, "openssl")
	k := newSampleKeys(t)
	dir := t.TempDir()
	for i, key := range []crypto.Signer{k.rsa, k.ecdsa, k.ed25519} {
		sshForm, _ := encodeSSHKey(key)
		tlsForm, _ := encodeTLSKey(key)
		path := filepath.Join(dir, string(rune('a'+i)))
		for suffix, data := range map[string][]byte{"": sshForm, ".key": tlsForm} {
			if err := os.WriteFile(path+suffix, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, _, err := PublicKeys(key, key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := exec.Command(keygen, "-y", "-f", path).CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(string(want)) {
			t.Errorf("ssh-keygen reads %q, want %q: %v", got, want, err)
		}
		if out, err := exec.Command(openssl, "pkey", "-in", path+".key", "-noout", "-check").CombinedOutput(); err != nil && key != crypto.Signer(k.ed25519) {
			t.Errorf("openssl: %s %v", out, err)
		}
	}
}
