package keystore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"golang.org/x/crypto/ssh"
)

// A file with many authorities that says the same thousands of times costs no more than its
// lines: none is compared with all keys before it. case F10
func TestIdentityFileThatRepeatsItself(t *testing.T) {
	const keys, lines = 500, 4000
	var file, last []byte
	for range keys {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.NewPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		last = append([]byte("@cert-authority harbor "), ssh.MarshalAuthorizedKey(key)...)
		file = append(file, last...)
	}
	file = append(file, bytes.Repeat(last, lines-keys)...)
	var parts *identityParts
	allocated := testing.AllocsPerRun(1, func() {
		var err error
		if parts, err = scanIdentity(file); err != nil {
			t.Fatal(err)
		}
	})
	if len(parts.authorities) != 1 || len(parts.authorities[0].SSHKeys) != keys {
		t.Fatalf("%d authorities", len(parts.authorities))
	}
	if allocated > lines*keys/10 {
		t.Errorf("%.0f allocations for %d lines", allocated, lines)
	}
}
