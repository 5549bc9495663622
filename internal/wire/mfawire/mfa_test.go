package mfawire

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/wire"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes are put together by hand from the tables of the auth API's facts.
func TestRequests(t *testing.T) {
	var assertion AssertionResponse
	assertion.Type, assertion.RawID = "public-key", []byte{1}
	assertion.Response.ClientDataJSON, assertion.Response.AuthenticatorData = []byte{2}, []byte{3}
	assertion.Response.Signature, assertion.Response.UserHandle = []byte{4}, []byte{5}
	var creation CreationResponse
	creation.Type, creation.RawID = "public-key", []byte{1}
	creation.Response.ClientDataJSON, creation.Response.AttestationObject = []byte{2}, []byte{3}
	const publicKey = "0a0a 7075626c69632d6b6579"
	for name, tt := range map[string]struct {
		message any
		want    string
	}{
		"challenge to manage devices": {&ChallengeRequest{Extensions: &ChallengeExtensions{Scope: 4}}, "3202 0804"},
		"no answer":                   {&Answer{}, ""},
		"code":                        {&Answer{TOTP: &TOTPAnswer{"123456"}}, "1208 0a06 313233343536"},
		"assertion":                   {&Answer{WebAuthn: &assertion}, "1a1d " + publicKey + "120101 1a0c 0a0102 120103 1a0104 220105"},
		"registration, first device":  {&RegisterChallengeRequest{DeviceType: 1, DeviceUsage: 1, Existing: &Answer{}}, "1001 1801 2200"},
		"passwordless registration": {&RegisterChallengeRequest{DeviceType: 3, DeviceUsage: 2, Existing: &Answer{TOTP: &TOTPAnswer{"1"}}},
			"1003 1802 2205 1203 0a0131"},
		"registration with a token": {&RegisterChallengeRequest{TokenID: "t", DeviceType: 1, DeviceUsage: 1}, "0a0174 1001 1801"},
		"add a device for codes": {&AddDeviceRequest{Name: "n", Answer: &RegisterAnswer{TOTP: &TOTPRegisterAnswer{"1", "i"}}, DeviceUsage: 1},
			"12016e 1a08 1206 0a0131 120169 2001"},
		"add a key": {&AddDeviceRequest{TokenID: "t", Name: "n", Answer: &RegisterAnswer{WebAuthn: &creation}, DeviceUsage: 2},
			"0a0174 12016e 1a19 1a17" + publicKey + "120101 1a06 0a0102 120103 2002"},
		"delete":               {&DeleteDeviceRequest{Device: "n", Existing: &Answer{}}, "12016e 1a00"},
		"delete with a token":  {&DeleteDeviceRequest{TokenID: "t", Device: "n"}, "0a0174 12016e"},
		"token":                {&PrivilegeTokenRequest{Existing: &Answer{TOTP: &TOTPAnswer{"1"}}}, "0a05 1203 0a0131"},
		"token without device": {&PrivilegeTokenRequest{}, ""},
	} {
		if got, want := wire.Marshal(tt.message), unhex(t, tt.want); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	var creation CreationOptions
	creation.Challenge = []byte{1}
	creation.RP.ID, creation.RP.Name = "i", "n"
	creation.User.ID, creation.User.Name, creation.User.DisplayName = []byte{2}, "u", "d"
	creation.Parameters = []*CredentialParameter{{"public-key", -7}}
	creation.TimeoutMS = 300000
	creation.ExcludeCredentials = []*Descriptor{{"public-key", []byte{3}}}
	creation.Attestation = "none"
	creation.Selection = &struct {
		Attachment         string `wire:"1"`
		RequireResidentKey bool   `wire:"2"`
		UserVerification   string `wire:"3"`
	}{"", true, "required"}
	const publicKey = "0a0a 7075626c69632d6b6579"
	for name, tt := range map[string]struct {
		input string
		want  any
	}{
		"nothing to answer with": {"", &Challenge{}},
		"not required":           {"2002", &Challenge{Required: 2}},
		"a code or a key": {"1200 1a2e 0a2c 0a0101 10e0a712 1a0169 220f" + publicKey + "120103 2a020a00 320b 646973636f757261676564",
			&Challenge{TOTP: &wire.Empty{}, WebAuthn: &CredentialAssertion{&RequestOptions{
				Challenge: []byte{1}, TimeoutMS: 300000, RPID: "i", AllowCredentials: []*Descriptor{{"public-key", []byte{3}}}, UserVerification: "discouraged"}}}},
		"SSO": {"2a04 0a02 7231", &Challenge{SSO: &wire.Empty{}}},
		"secret": {"122b 0a0453454352 120163 181e 220453484131 2806 320361406f 3a03504e47 420c 64652d61642d62652d6566" + "2d",
			&RegisterChallenge{TOTP: &TOTPRegisterChallenge{Secret: "SECR", Issuer: "c", PeriodSeconds: 30, Algorithm: "SHA1", Digits: 6, Account: "a@o", ID: "de-ad-be-ef-"}}},
		"new key": {"1a5e 0a5c 0a0101 1206 0a0169 12016e 1a09 0a0102 120175 1a0164 2217" + publicKey + "10f9ffffffffffffffff01" +
			"28e0a712 320f" + publicKey + "120103 3a046e6f6e65 4202 1001 4a0c 1001 1a08 7265717569726564",
			&RegisterChallenge{WebAuthn: &CredentialCreation{&creation}}},
		"token":  {"0a0a 757365725f746f6b656e 1a027633 2203 0a0174", &UserToken{Metadata: wire.Metadata{Name: "t"}}},
		"device": {"0a05 2a0169 4200", &AddDeviceResponse{&Device{ID: "i", TOTP: &wire.Empty{}}}},
		"security key": {"2a0169 5219 0a0101 120102 1a046e6f6e65 220103 2805 320104 3801 420169", &Device{ID: "i", WebAuthn: &WebAuthnDevice{
			CredentialID: []byte{1}, PublicKeyCBOR: []byte{2}, AttestationType: "none", AAGUID: []byte{3}, SignatureCounter: 5,
			AttestationObject: []byte{4}, ResidentKey: true, CredentialRPID: "i"}}},
		"SSO device": {"5a09 0a0163 120174 1a0164", &Device{SSO: &SSODevice{"c", "t", "d"}}},
		"U2F device": {"4a020a00", &Device{U2F: &wire.Empty{}}},
	} {
		got := reflect.New(reflect.TypeOf(tt.want).Elem()).Interface()
		if err := wire.Unmarshal(unhex(t, tt.input), got); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, tt.want)
		}
	}
}

// The list that an 18.3 cluster gave.
func TestCapturedDevices(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "testdata", "grpc", "GetMFADevices.response.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	var got GetDevicesResponse
	if err := wire.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Devices) != 1 {
		t.Fatalf("%d devices", len(got.Devices))
	}
	d := got.Devices[0]
	if d.Kind != "mfa_device" || d.Version != "v1" || d.Metadata.Name != "otp" || d.Metadata.Namespace != "default" || d.TOTP == nil ||
		d.ID != "f07ee8eb-5366-41d4-b294-d829dfb13732" || d.AddedAt.Time().Year() != 2026 || !d.LastUsed.Time().After(d.AddedAt.Time().Add(-time.Hour)) {
		t.Errorf("%+v", d)
	}
}

// FuzzAnswers decodes anything as what a server sends.
func FuzzAnswers(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("..", "testdata", "grpc", "GetMFADevices.response.binpb"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{new(Challenge), new(RegisterChallenge), new(GetDevicesResponse), new(UserToken)} {
			if wire.Unmarshal(bytes.Clone(data), v) != nil {
				continue
			}
			if err := wire.Unmarshal(wire.Marshal(v), v); err != nil {
				t.Fatalf("own encoding refused: %v", err)
			}
		}
	})
}
