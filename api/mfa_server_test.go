package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
)

// 18.x gets the answer with the call; a server that takes tokens alone gets the
// same answer once more, for a token, and nobody is asked again.
func TestAnswerOrToken(t *testing.T) {
	for name, tt := range map[string]struct {
		refusal error
		want    string
	}{
		"18.x": {nil, "CreateRegisterChallenge answer, DeleteMFADeviceSync answer"},
		"14.0": {status.Error(codes.PermissionDenied, "invalid token"),
			"CreateRegisterChallenge answer, CreatePrivilegeToken answer, CreateRegisterChallenge token, " +
				"DeleteMFADeviceSync answer, CreatePrivilegeToken answer, DeleteMFADeviceSync token"},
	} {
		var calls []string
		server := startAuth(t, func(method string, request []byte) ([]byte, error) {
			what := ""
			switch {
			case bytes.Contains(request, []byte("\x12\x08\x0a\x06123456")): // TOTP {Code}
				what = " answer"
			case bytes.Contains(request, []byte("\x0a\x06tok-en")):
				what = " token"
			}
			method = method[strings.LastIndexByte(method, '/')+1:]
			calls = append(calls, method+what)
			switch {
			case method == "CreatePrivilegeToken":
				return wire.Marshal(&mfawire.UserToken{Metadata: wire.Metadata{Name: "tok-en"}}), nil
			case what == " answer" && tt.refusal != nil:
				return nil, tt.refusal
			case method == "CreateRegisterChallenge":
				return wire.Marshal(&mfawire.RegisterChallenge{TOTP: &mfawire.TOTPRegisterChallenge{
					Secret: "ABCDEFGH", Issuer: "c", Account: "a", Algorithm: "SHA1", Digits: 6, PeriodSeconds: 30}}), nil
			}
			return nil, nil
		})
		c := server.connect(t)
		answer := mfa.Answer{Code: "123456"}
		challenge, err := c.RegisterMFADevice(testContext(t), mfa.Registration{Kind: mfa.TOTP, Existing: answer})
		if err != nil || challenge.Token != "" != (tt.refusal != nil) {
			t.Errorf("%s: %v, token %q", name, err, challenge.Token)
		}
		if err := c.DeleteMFADevice(testContext(t), "phone", answer); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(calls, ", "); got != tt.want {
			t.Errorf("%s: %s\nwant %s", name, got, tt.want)
		}
	}
}

// Whatever else is refused is not asked for again with a token.
func TestRefusalsWantNoToken(t *testing.T) {
	for _, refusal := range []error{
		status.Error(codes.PermissionDenied, "invalid one time token, please check"),
		status.Error(codes.InvalidArgument, "invalid token"),
		status.Error(codes.Unimplemented, "unknown method"),
	} {
		server := startAuth(t, func(string, []byte) ([]byte, error) { return nil, refusal })
		err := server.connect(t).DeleteMFADevice(testContext(t), "phone", mfa.Answer{Code: "1"})
		if err == nil || server.calls.Load() != 1 {
			t.Errorf("%v: %v after %d calls", refusal, err, server.calls.Load())
		}
	}
}

// Challenges that no device could answer, and answers that say nothing, are
// errors here and not a person's problem.
func TestHostileMFAAnswers(t *testing.T) {
	totp := func(change func(*mfawire.TOTPRegisterChallenge)) any {
		c := &mfawire.TOTPRegisterChallenge{Secret: "ABCDEFGH", Issuer: "c", Account: "a", Algorithm: "sha1", Digits: 6, PeriodSeconds: 30}
		change(c)
		return &mfawire.RegisterChallenge{TOTP: c}
	}
	key := func(change func(*mfawire.CreationOptions)) any {
		o := &mfawire.CreationOptions{Challenge: []byte("0123456789abcdef"), Parameters: []*mfawire.CredentialParameter{{Type: "public-key", Algorithm: mfa.ES256}}}
		o.RP.ID, o.RP.Name, o.User.ID, o.User.Name, o.User.DisplayName = "c", "Teleport", []byte("id"), "alice", "alice"
		change(o)
		return &mfawire.RegisterChallenge{WebAuthn: &mfawire.CredentialCreation{PublicKey: o}}
	}
	for name, tt := range map[string]struct {
		kind  mfa.Kind
		reply any
		want  string // in the error; none for what is in order
	}{
		"codes":           {mfa.TOTP, totp(func(*mfawire.TOTPRegisterChallenge) {}), ""},
		"padded secret":   {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Secret = "ABCDEFG=" }), ""},
		"nothing":         {mfa.TOTP, &mfawire.RegisterChallenge{}, "no challenge"},
		"key for codes":   {mfa.TOTP, key(func(*mfawire.CreationOptions) {}), "another kind"},
		"codes for key":   {mfa.WebAuthn, totp(func(*mfawire.TOTPRegisterChallenge) {}), "another kind"},
		"no secret":       {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Secret = "" }), "secret"},
		"escape":          {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Secret = "\x1b[2J" }), "secret"},
		"huge secret":     {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Secret = strings.Repeat("A", 257) }), "secret"},
		"algorithm":       {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Algorithm = "rot13" }), "algorithm"},
		"no digits":       {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Digits = 0 }), "0 digits"},
		"endless digits":  {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Digits = 1 << 40 }), "digits"},
		"negative digits": {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Digits = 1<<64 - 1 }), "digits"},
		"no period":       {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.PeriodSeconds = 0 }), "seconds"},
		"long account":    {mfa.TOTP, totp(func(c *mfawire.TOTPRegisterChallenge) { c.Account = strings.Repeat("a", 300) }), "account"},
		"key":             {mfa.WebAuthn, key(func(*mfawire.CreationOptions) {}), ""},
		"other keys only": {mfa.WebAuthn, key(func(o *mfawire.CreationOptions) { o.Parameters[0].Algorithm = -257 }), "ES256"},
		"other types":     {mfa.WebAuthn, key(func(o *mfawire.CreationOptions) { o.Parameters[0].Type = "private-key" }), "ES256"},
		"no challenge":    {mfa.WebAuthn, key(func(o *mfawire.CreationOptions) { o.Challenge = nil }), "empty challenge"},
		"no RP ID":        {mfa.WebAuthn, key(func(o *mfawire.CreationOptions) { o.RP.ID = "" }), "empty RP ID"},
		"no RP name":      {mfa.WebAuthn, key(func(o *mfawire.CreationOptions) { o.RP.Name = "" }), "empty RP name"},
		"no user ID":      {mfa.WebAuthn, key(func(o *mfawire.CreationOptions) { o.User.ID = nil }), "empty user ID"},
		"no user name":    {mfa.WebAuthn, key(func(o *mfawire.CreationOptions) { o.User.Name = "" }), "empty user name"},
		"no display name": {mfa.WebAuthn, key(func(o *mfawire.CreationOptions) { o.User.DisplayName = "" }), "empty display name"},
	} {
		server := startAuth(t, func(string, []byte) ([]byte, error) { return wire.Marshal(tt.reply), nil })
		challenge, err := server.connect(t).RegisterMFADevice(testContext(t), mfa.Registration{Kind: tt.kind})
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || challenge != nil):
			t.Errorf("%s: %v, %v; want %q", name, challenge, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "\x1b"):
			t.Errorf("%s: the error holds an escape", name)
		}
	}

	empty := startAuth(t, func(string, []byte) ([]byte, error) { return nil, nil }).connect(t)
	if d, err := empty.AddMFADevice(testContext(t), "n", &mfa.RegisterChallenge{TOTP: &mfa.Secret{}}, mfa.RegisterAnswer{Code: "1"}); err == nil {
		t.Errorf("an answer without a device: %+v", d)
	}
	many := wire.Marshal(&mfawire.GetDevicesResponse{Devices: make([]*mfawire.Device, maxDevices+1)})
	crowded := startAuth(t, func(string, []byte) ([]byte, error) { return many, nil }).connect(t)
	if _, err := crowded.MFADevices(testContext(t)); err == nil || !strings.Contains(err.Error(), "1000") {
		t.Errorf("too many devices: %v", err)
	}
	tokenless := startAuth(t, func(method string, _ []byte) ([]byte, error) {
		if strings.HasSuffix(method, "Token") {
			return nil, nil
		}
		return nil, status.Error(codes.PermissionDenied, "invalid token")
	}).connect(t)
	if err := tokenless.DeleteMFADevice(testContext(t), "n", mfa.Answer{}); err == nil || !strings.Contains(err.Error(), "empty token") {
		t.Errorf("an empty token: %v", err)
	}
}

// Errors match by what the server says, not by accident.
func TestMFAErrors(t *testing.T) {
	all := []error{mfa.ErrExists, mfa.ErrLast, mfa.ErrWrongCode, ErrNotFound, ErrAccessDenied}
	for _, tt := range []struct {
		method string
		code   codes.Code
		text   string
		want   []error
	}{
		{methodAddDevice, codes.AlreadyExists, "MFA device with name \"x\" already exists", []error{mfa.ErrExists}},
		{methodAddDevice, codes.PermissionDenied, "invalid one time token, please check if the token has expired", []error{mfa.ErrWrongCode, ErrAccessDenied}},
		{methodAddDevice, codes.PermissionDenied, "invalid token", []error{ErrAccessDenied}},
		{methodDeleteDevice, codes.InvalidArgument, "cannot delete the last MFA device for this user; add", []error{mfa.ErrLast}},
		{methodDeleteDevice, codes.InvalidArgument, "cannot delete last passwordless credential for user", []error{mfa.ErrLast}},
		{methodDeleteDevice, codes.NotFound, "MFA device \"x\" does not exist", []error{ErrNotFound}},
		{methodPing, codes.AlreadyExists, "", nil},
	} {
		server := startAuth(t, func(string, []byte) ([]byte, error) { return nil, status.Error(tt.code, tt.text) })
		err := server.connect(t).call(testContext(t), tt.method, &wire.Empty{}, &wire.Empty{})
		for _, target := range all {
			if got := errors.Is(err, target); got != slices.Contains(tt.want, target) {
				t.Errorf("%v: is %q: %v", err, target, got)
			}
		}
	}
}

// The JSON of devices has the names that other clients print.
func TestDeviceJSON(t *testing.T) {
	captured, err := os.ReadFile(filepath.Join("..", "internal", "wire", "testdata", "grpc", "GetMFADevices.response.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reply []byte
		kind  string
		want  string
	}{
		{captured, "TOTP", `{"kind":"mfa_device","version":"v1","metadata":{"Name":"otp","Namespace":"default"},"id":"f07ee8eb-5366-41d4-b294-d829dfb13732",` +
			`"addedAt":"2026-11-20T20:20:20.277887611Z","lastUsed":"2026-11-20T20:44:16.482991088Z","totp":{}}`},
		{devices(&mfawire.Device{ID: "i", Metadata: wire.Metadata{Name: "<key>"}, AddedAt: &wire.Timestamp{Seconds: -62135596800}, WebAuthn: &mfawire.WebAuthnDevice{
			CredentialID: []byte{251, 255}, PublicKeyCBOR: []byte{1}, AttestationType: "none", AAGUID: []byte{2}, SignatureCounter: 7,
			AttestationObject: []byte{3}, ResidentKey: true, CredentialRPID: "c"}}), "WebAuthn",
			`{"metadata":{"Name":"<key>"},"id":"i","webauthn":{"credentialId":"+/8=","publicKeyCbor":"AQ==","attestationType":"none","aaguid":"Ag==",` +
				`"signatureCounter":7,"attestationObject":"Aw==","residentKey":true,"credentialRpId":"c"}}`},
		{devices(&mfawire.Device{SSO: &mfawire.SSODevice{ConnectorID: "okta", ConnectorType: "saml", DisplayName: "Okta"}}), "SSO",
			`{"metadata":{},"sso":{"connectorId":"okta","connectorType":"saml","displayName":"Okta"}}`},
		{devices(&mfawire.Device{U2F: &wire.Empty{}}), "U2F", `{"metadata":{},"u2f":{}}`},
		{devices(&mfawire.Device{}), "unknown", `{"metadata":{}}`},
	} {
		server := startAuth(t, func(string, []byte) ([]byte, error) { return tt.reply, nil })
		got, err := server.connect(t).MFADevices(testContext(t))
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %d devices, %v", tt.kind, len(got), err)
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(got[0]); err != nil {
			t.Fatal(err)
		}
		if text := strings.TrimSpace(b.String()); text != tt.want || got[0].Type() != tt.kind {
			t.Errorf("%s:\n got %s\nwant %s", got[0].Type(), text, tt.want)
		}
	}
}

func devices(list ...*mfawire.Device) []byte {
	return wire.Marshal(&mfawire.GetDevicesResponse{Devices: list})
}
