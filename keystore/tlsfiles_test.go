package keystore

import (
	"path/filepath"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// case F10, case F20: key pairs with anything in them. What is accepted fits together.
func FuzzTLSFiles(f *testing.F) {
	seedFromFixtures(f, "/identity/")
	key, cert, cas := testenv.Read(f, fixtureIdentity+"tls.key"), testenv.Read(f, fixtureIdentity+"tls.crt"), testenv.Read(f, fixtureIdentity+"tls.cas")
	f.Add([]byte(cert + cas + key))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzed := filepath.Join(dir, "fuzzed")
		testenv.Write(t, fuzzed, string(data))
		for _, paths := range [][3]string{
			{fuzzed, fixtureIdentity + "tls.crt", fixtureIdentity + "tls.cas"}, {fixtureIdentity + "tls.key", fuzzed, fixtureIdentity + "tls.cas"},
			{fixtureIdentity + "tls.key", fixtureIdentity + "tls.crt", fuzzed}, {fuzzed, fuzzed, fuzzed},
		} {
			id := new(Identity)
			err := id.ReadTLSFiles(paths[0], paths[1], paths[2])
			if err != nil && (id.TLSKey != nil || id.TLSCert != nil) {
				t.Fatalf("half an identity after %v", err)
			}
			if err != nil {
				continue
			}
			if _, err := id.TLSConfig(); err != nil {
				t.Fatal(err)
			}
			useIdentity(t, id)
			if looked := new(Identity); looked.ReadTLSCert(paths[1]) != nil || !looked.TLSCert.Equal(id.TLSCert) {
				t.Fatal("another certificate for looking")
			}
		}
	})
}
