package accesswire

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
)

// A reply with one host authority, put together by hand from the table of the
// auth API: what a cluster sends is read, and what it adds is skipped.
func TestCertAuthorityBytes(t *testing.T) {
	answer := strings.Join([]string{
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
	raw, err := hex.DecodeString(answer)
	if err != nil {
		t.Fatal(err)
	}
	var got CertAuthoritiesResponse
	if err := wire.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := CertAuthoritiesResponse{Authorities: []*CertAuthority{{
		Kind: "cert_authority", SubKind: "host", Version: "v2", Metadata: wire.Metadata{Name: "r", Namespace: "default"},
		Spec: CertAuthoritySpec{
			Type: "host", ClusterName: "r",
			ActiveKeys:     CAKeySet{SSH: []*SSHKeyPair{{[]byte("k\n")}}, TLS: []*TLSKeyPair{{[]byte("c")}}},
			AdditionalKeys: CAKeySet{SSH: []*SSHKeyPair{{[]byte("l\n")}}, TLS: []*TLSKeyPair{{[]byte("d")}}},
		},
	}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v", got.Authorities[0])
	}
	if ask := hex.EncodeToString(wire.Marshal(&CertAuthoritiesRequest{Type: "host"})); ask != "0a04686f7374" {
		t.Errorf("asked with %s", ask)
	}
}

// Field numbers of certificates and access requests as the tables of the auth API
// (7.1, 11.1, 11.3) have them, byte by byte.
func TestRequestBytes(t *testing.T) {
	for name, tc := range map[string]struct {
		message any
		want    string
	}{
		"certificates": {
			&UserCertsRequest{PublicKey: []byte("k"), Username: "u", Expires: &wire.Timestamp{Seconds: 5}, RouteToCluster: "c",
				AccessRequests: []string{"a", "b"}, DropAccessRequests: []string{"*"}, SSHPublicKey: []byte("s"), TLSPublicKey: []byte("t")},
			"0a016b" + "120175" + "1a020805" + "2a0163" + "320161" + "320162" + "7a012a" + "b2010173" + "ba010174",
		},
		"certificate for a session": {
			&UserCertsRequest{Username: "u", RouteToCluster: "c", NodeName: "n", Usage: 1, SSHLogin: "l", Purpose: 2,
				MFAResponse: &mfawire.Answer{TOTP: &mfawire.TOTPAnswer{Code: "1"}}, SSHPublicKey: []byte("s")},
			"120175" + "2a0163" + "4a016e" + "5001" + "92010512030a0131" + "9a01016c" + "a80102" + "b2010173",
		},
		"access request": {
			&AccessRequest{Kind: "k", Version: "v", Metadata: wire.Metadata{Name: "i"}, Spec: AccessRequestSpec{
				User: "u", Roles: []string{"r"}, State: 1, RequestReason: "w", SuggestedReviewers: []string{"c"}}},
			"0a016b" + "1a0176" + "22030a0169" + "2a0e" + "0a0175" + "120172" + "1801" + "320177" + "6a0163",
		},
		"list":         {&ListAccessRequestsRequest{Filter: &AccessRequestFilter{ID: "i", User: "u"}}, "0a060a0169120175"},
		"capabilities": {&AccessCapabilitiesRequest{User: "u"}, "0a0175"},
		"watch": {
			&Watch{Kinds: []*WatchKind{{Kind: "k", Filter: map[string]string{"id": "i", "user": "u"}}}},
			"0a17" + "0a016b" + "2207" + "0a026964" + "120169" + "2209" + "0a0475736572" + "120175",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hex.EncodeToString(wire.Marshal(tc.message)); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	read := func(s string, v any) {
		raw, err := hex.DecodeString(s)
		if err == nil {
			err = wire.Unmarshal(raw, v)
		}
		if err != nil {
			t.Error(err)
		}
	}
	var can AccessCapabilities
	read("220170"+"2801"+"3001", &can)
	if !reflect.DeepEqual(can, AccessCapabilities{RequestPrompt: "p", RequireReason: true, AutoRequest: true}) {
		t.Errorf("capabilities %+v", can)
	}
	var put, deleted Event
	read("0801"+"7205"+"22030a0169", &put) // AccessRequest is field 14
	read("0802"+"1205"+"22030a0169", &deleted)
	if put.Type != 1 || put.AccessRequest.Metadata.Name != "i" || deleted.Type != 2 || deleted.Header.Metadata.Name != "i" {
		t.Errorf("events %+v, %+v", put, deleted)
	}
	var certs Certs
	read("0a0173"+"120174"+"1a0178", &certs)
	if string(certs.SSH) != "s" || string(certs.TLS) != "t" {
		t.Errorf("certificates %+v", certs)
	}
}
