package softkey

import (
	"crypto/ecdsa"
	"encoding/binary"
)

// Major types of CBOR.
const (
	cborUint   = 0 << 5
	cborNegint = 1 << 5
	cborBytes  = 2 << 5
	cborText   = 3 << 5
	cborMap    = 5 << 5
)

func head(b []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
}

func text(b []byte, s string) []byte  { return append(head(b, cborText, len(s)), s...) }
func blob(b []byte, s []byte) []byte  { return append(head(b, cborBytes, len(s)), s...) }
func negative(b []byte, n int) []byte { return head(b, cborNegint, n-1) } // -n

// coseKey is a public key in COSE's form: {1: 2 (EC2), 3: -7 (ES256), -1: 1
// (P-256), -2: x, -3: y}.
func coseKey(public *ecdsa.PublicKey) ([]byte, error) {
	point, err := public.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	b := head(nil, cborMap, 5)
	b = head(head(b, cborUint, 1), cborUint, 2)
	b = negative(head(b, cborUint, 3), 7)
	b = head(negative(b, 1), cborUint, 1)
	b = blob(negative(b, 2), point[1:33])
	return blob(negative(b, 3), point[33:]), nil
}

// AttestationObject is the CBOR object that a server takes.
func (c *Created) AttestationObject() []byte {
	b := text(text(head(nil, cborMap, 3), "fmt"), c.Format)
	b = text(b, "attStmt")
	if c.Format == "packed" {
		b = negative(text(head(b, cborMap, 2), "alg"), 7)
		b = blob(text(b, "sig"), c.Signature)
	} else {
		b = head(b, cborMap, 0)
	}
	return blob(text(b, "authData"), c.AuthData)
}
