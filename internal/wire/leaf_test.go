package wire

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

// A reply with one host authority, put together by hand from the table of the
// auth API: what a cluster sends is read, and what it adds is skipped.
func TestCertAuthorityBytes(t *testing.T) {
	wire := strings.Join([]string{
		"0a5c",                                               // one authority
		"0a0e", hex.EncodeToString([]byte("cert_authority")), // 1 kind
		"1204", hex.EncodeToString([]byte("host")), // 2 sub kind
		"1a02", hex.EncodeToString([]byte("v2")), // 3 version
		"220c", "0a0172", "1207", hex.EncodeToString([]byte("default")), // 4 metadata
		"2a32",                                               // 5 spec
		"0a04", hex.EncodeToString([]byte("host")), "120172", // 1 type, 2 cluster
		"4a00",                                               // 9: ours has no such field as a message
		"5a0d", "0a04", "0a026b0a", "1205", "0a0163", "2200", // 11 active: SSH, TLS with a CRL
		"6216", "0a04", "0a026c0a", "120e", "0a0164", "2209", hex.EncodeToString([]byte("the crl..")), // 12 additional
	}, "")
	raw, err := hex.DecodeString(wire)
	if err != nil {
		t.Fatal(err)
	}
	var got CertAuthoritiesResponse
	if err := Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := CertAuthoritiesResponse{Authorities: []*CertAuthority{{
		Kind: "cert_authority", SubKind: "host", Version: "v2", Metadata: Metadata{Name: "r", Namespace: "default"},
		Spec: CertAuthoritySpec{
			Type: "host", ClusterName: "r",
			ActiveKeys:     CAKeySet{SSH: []*SSHKeyPair{{[]byte("k\n")}}, TLS: []*TLSKeyPair{{[]byte("c")}}},
			AdditionalKeys: CAKeySet{SSH: []*SSHKeyPair{{[]byte("l\n")}}, TLS: []*TLSKeyPair{{[]byte("d")}}},
		},
	}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v", got.Authorities[0])
	}
	if ask := hex.EncodeToString(Marshal(&CertAuthoritiesRequest{Type: "host"})); ask != "0a04686f7374" {
		t.Errorf("asked with %s", ask)
	}
}
