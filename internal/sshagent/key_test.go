package sshagent

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func sshSignature(r, s *big.Int) []byte { return ssh.Marshal(struct{ R, S *big.Int }{r, s}) }

func TestASN1Signature(t *testing.T) {
	key := newP256(t)
	digest := sha256.Sum256([]byte("message"))
	for range 100 { // short numbers and such with the top bit set come up
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		sig, err := asn1Signature(sshSignature(r, s))
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig) {
			t.Fatalf("%x, %v does not verify", sig, err)
		}
	}
	// case K12
	n, one := elliptic.P256().Params().N, big.NewInt(1)
	for what, blob := range map[string][]byte{
		"nothing":         {},
		"one number":      ssh.Marshal(struct{ R *big.Int }{one}),
		"three numbers":   ssh.Marshal(struct{ R, S, T *big.Int }{one, one, one}),
		"zero":            sshSignature(one, new(big.Int)),
		"negative":        sshSignature(big.NewInt(-1), one),
		"too big":         sshSignature(n, one),
		"huge":            sshSignature(one, new(big.Int).Lsh(one, 1<<20)),
		"a long length":   []byte("\xff\xff\xff\xff\x01"),
		"ASN.1 already":   {0x30, 6, 2, 1, 1, 2, 1, 1},
		"not well formed": []byte(str("\x01") + str("\x01") + "x"),
	} {
		if sig, err := asn1Signature(blob); err == nil {
			t.Errorf("%s gave %x", what, sig)
		}
	}
}

func FuzzASN1Signature(f *testing.F) {
	one := big.NewInt(1)
	f.Add(sshSignature(one, new(big.Int).Sub(elliptic.P256().Params().N, one)))
	f.Add(sshSignature(new(big.Int).Lsh(one, 255), big.NewInt(-1)))
	f.Add([]byte("\x00\x00\x00\x21\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, blob []byte) {
		sig, err := asn1Signature(blob)
		if err != nil {
			return
		}
		var n struct{ R, S *big.Int }
		rest, err := asn1.Unmarshal(sig, &n)
		if err != nil || len(rest) != 0 || len(sig) > 72 {
			t.Fatalf("%x became %x", blob, sig)
		}
		// Only numbers with zeros in front may look different on the way back.
		if back := sshSignature(n.R, n.S); len(back) > len(blob) || len(back) == len(blob) && !bytes.Equal(back, blob) {
			t.Fatalf("%x became %x, back %x", blob, sig, back)
		}
	})
}

// A key of the agent is of one kind, and of no use for digests.
func TestKeyRefuses(t *testing.T) {
	t.Setenv(variable, "")
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range []crypto.PublicKey{newEd25519(t).Public(), p384.Public(), newRSA(t).Public(), nil} {
		if _, err := OpenKey(pub); err == nil || !strings.Contains(err.Error(), "only ECDSA P-256") {
			t.Errorf("%T: %v", pub, err)
		}
	}
	k := &Key{}
	if _, err := k.Sign(rand.Reader, make([]byte, 32), crypto.SHA256); err == nil || !strings.Contains(err.Error(), "not their digests") {
		t.Errorf("signed a digest: %v", err)
	}
	for _, opts := range []crypto.SignerOpts{nil, crypto.Hash(0), crypto.SHA1, crypto.SHA384} {
		if _, err := k.SignMessage(rand.Reader, nil, opts); err == nil || !strings.Contains(err.Error(), "SHA-256 only") {
			t.Errorf("signed with %v: %v", opts, err)
		}
	}
	var _ crypto.MessageSigner = k
}
