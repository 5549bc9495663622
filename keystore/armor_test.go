package keystore

import (
	"bytes"
	"encoding/pem"
	"testing"
)

// samePEM fails unless decodePEM finds, block after block, what pem.Decode finds.
func samePEM(t *testing.T, data []byte) {
	t.Helper()
	for {
		got, gotRest := decodePEM(data)
		want, wantRest := pem.Decode(data)
		if (got == nil) != (want == nil) || !bytes.Equal(gotRest, wantRest) {
			t.Fatalf("%q: got %v and %q, pem.Decode %v and %q", data, got, gotRest, want, wantRest)
		}
		if got == nil {
			return
		}
		if got.Type != want.Type || !bytes.Equal(got.Bytes, want.Bytes) || len(got.Headers) != len(want.Headers) {
			t.Fatalf("%q: got %v, pem.Decode %v", data, got, want)
		}
		data = gotRest
	}
}

func TestPEMIsReadAsTheLibraryReadsIt(t *testing.T) {
	for _, s := range []string{
		"", "\n", "-----BEGIN A-----", "-----BEGIN A-----\n", "-----BEGIN A-----\n-----END A-----\n", "-----BEGIN A-----\n\n-----END A-----\n",
		"-----BEGIN A-----\nQUJD\n-----END A-----", "-----BEGIN A-----\nQUJD\n-----END A-----\n", "-----BEGIN A-----\r\nQUJD\r\n-----END A-----\r\n",
		"-----BEGIN A-----\nQUJD\r\n-----END A-----\nrest", "-----BEGIN A-----\nQUJD\n-----END A----- \nrest", "-----BEGIN A-----\nQUJD\n-----END A-----x\n",
		"-----BEGIN A-----\nQUJD\n-----END B-----\n-----BEGIN C-----\nQUJD\n-----END C-----\n", "-----BEGIN A-----\nQU JD\n-----END A-----\n",
		"-----BEGIN A-----\nQUJ\n-----END A-----\n", "-----BEGIN A-----\nk: v\n\nQUJD\n-----END A-----\n", "-----BEGIN A-----\nk: v\n-----END A-----\n",
		"-----BEGIN A-----\n-----BEGIN B-----\nQUJD\n-----END B-----\n", "junk\n-----BEGIN A-----\nQUJD\n-----END A-----\n",
		"-----BEGIN A-----\nQUJD-----END A-----\n", "-----BEGIN A \t-----\nQUJD\n-----END A \t-----\n", "-----BEGIN A----- \nQUJD\n-----END A-----\n",
		"-----BEGIN -----\nQUJD\n-----END -----\n", "-----BEGIN -----BEGIN A-----\nQUJD\n-----END -----BEGIN A-----\n", "-----BEGIN A:b-----\nQUJD\n-----END A:b-----\n",
		"-----BEGIN A-----\nQUJD\n-----END A-----\n-----BEGIN B-----\nQUJD\n-----END B-----\n\n", "-----BEGIN A-----\nQUJD\n-----END A-----\n-----END A-----\n",
		"-----BEGIN A-----\n-\nQUJD\n-----END A-----\n", "-----BEGIN A-----\n\nQUJD\n-----END A-----\n", "-----BEGIN A----------\nQUJD\n-----END A----------\n",
		"-----BEGIN ----\nQUJD\n-----END ----\n", "-----BEGIN A-----\nQUJD\n-----END A-----\n\t\n", "-----BEGIN A-----\nQ=\nUJD\n-----END A-----\n",
	} {
		samePEM(t, []byte(s))
	}
}

func FuzzPEM(f *testing.F) {
	seedFromFixtures(f, "/keys/")
	seedFromFixtures(f, "/identity/")
	for _, s := range []string{"-----BEGIN A-----\n-----BEGIN B-----\nQUJD\n-----END B-----\n", "-----BEGIN A-----\nk: v\n\nQUJD\r\n-----END A-----\nx"} {
		f.Add([]byte(s))
	}
	f.Fuzz(samePEM)
}
