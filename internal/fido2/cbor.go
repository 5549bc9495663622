package fido2

import (
	"encoding/binary"
	"errors"
)

// Major types of CBOR.
const (
	cborNegative = 1 << 5
	cborBytes    = 2 << 5
	cborText     = 3 << 5
	cborArray    = 4 << 5
	cborMap      = 5 << 5
)

// unwrap takes a CBOR byte string, and nothing but it, apart.
func unwrap(b []byte) ([]byte, error) {
	bad := errors.New("no CBOR byte string")
	if len(b) == 0 || b[0]&0xe0 != cborBytes {
		return nil, bad
	}
	n, skip := int(b[0]&0x1f), 1
	switch {
	case n < 24:
	case n == 24 && len(b) > 1:
		n, skip = int(b[1]), 2
	case n == 25 && len(b) > 2:
		n, skip = int(binary.BigEndian.Uint16(b[1:])), 3
	default:
		return nil, bad
	}
	if len(b) != skip+n {
		return nil, bad
	}
	return b[skip:], nil
}

func head(b []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
}

func cborString(b []byte, s string) []byte { return append(head(b, cborText, len(s)), s...) }
func cborBlob(b, s []byte) []byte          { return append(head(b, cborBytes, len(s)), s...) }

// attestation is what a key says of its make.
type attestation struct {
	format   string // packed, fido-u2f or none
	authData []byte
	sig      []byte
	cert     []byte // none: the new key signs for itself
}

// object is the CBOR object that servers take (WebAuthn, 6.5.4). Members are in
// the canonical order: shorter names first.
func (a *attestation) object() []byte {
	b := cborString(cborString(head(nil, cborMap, 3), "fmt"), a.format)
	b = a.statement(cborString(b, "attStmt"))
	return cborBlob(cborString(b, "authData"), a.authData)
}

func (a *attestation) statement(b []byte) []byte {
	const es256 = 7 // as CBOR writes -7: one less, and negative
	members := 1
	if a.format == "packed" {
		members++
	}
	if len(a.cert) > 0 {
		members++
	}
	if a.format == "none" || len(a.sig) == 0 {
		return head(b, cborMap, 0)
	}
	b = head(b, cborMap, members)
	if a.format == "packed" {
		b = head(cborString(b, "alg"), cborNegative, es256-1)
	}
	b = cborBlob(cborString(b, "sig"), a.sig)
	if len(a.cert) > 0 {
		b = cborBlob(head(cborString(b, "x5c"), cborArray, 1), a.cert)
	}
	return b
}
