package keystore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"golang.org/x/crypto/ssh"
)

const repeatedKeys, repeatedLines = 500, 4000

// repeated has so many lines, with so many keys, the last one again and again; hosts are
// those that each line names.
func repeated(t *testing.T, hosts, comment string) []byte {
	t.Helper()
	var file, last []byte
	for range repeatedKeys {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.NewPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		last = append([]byte("@cert-authority "+hosts+" "), bytes.TrimSpace(ssh.MarshalAuthorizedKey(key))...)
		last = append(last, comment+"\n"...)
		file = append(file, last...)
	}
	return append(file, bytes.Repeat(last, repeatedLines-repeatedKeys)...)
}

// A file with many authorities that says the same thousands of times costs no more than its
// lines: none is compared with all keys before it. case F10
func TestIdentityFileThatRepeatsItself(t *testing.T) {
	file := repeated(t, "harbor", "")
	var parts *identityParts
	allocated := testing.AllocsPerRun(1, func() {
		var err error
		if parts, err = scanIdentity(file); err != nil {
			t.Fatal(err)
		}
	})
	if len(parts.authorities) != 1 || len(parts.authorities[0].SSHKeys) != repeatedKeys {
		t.Fatalf("%d authorities", len(parts.authorities))
	}
	if allocated > repeatedLines*repeatedKeys/10 {
		t.Errorf("%.0f allocations for %d lines", allocated, repeatedLines)
	}
}

// The same of known_hosts. case F08
func TestKnownHostsThatRepeatThemselves(t *testing.T) {
	file := repeated(t, "gate,harbor,*.harbor", " type=host")
	var got trust
	allocated := testing.AllocsPerRun(1, func() { got = readTrust(file, "gate", all) })
	if len(got.clusters) != 1 || len(got.keys["harbor"]) != repeatedKeys {
		t.Fatalf("%v, %d keys", got.clusters, len(got.keys["harbor"]))
	}
	if allocated > repeatedLines*repeatedKeys/10 {
		t.Errorf("%.0f allocations for %d lines", allocated, repeatedLines)
	}
}
