package sessionwire

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Bytes put together by hand from 8.1 and 8.4 of the auth API's facts, and what a real
// client has sent.
func TestSessionRequests(t *testing.T) {
	captured, err := os.ReadFile(filepath.Join("..", "testdata", "grpc", "IsMFARequired.request.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	node := &RequiredRequest{Node: &NodeLogin{"node-1", "root"}}
	const nodeBytes = "1a0e 0a06 6e6f64652d31 1204 726f6f74"
	for name, tt := range map[string]struct {
		message any
		want    []byte
	}{
		"is it required":            {node, unhex(t, nodeBytes)},
		"is it required, as sent":   {node, captured},
		"challenge for a session":   {&ChallengeRequest{ContextUser: &wire.Empty{}, Check: node, Extensions: &ChallengeExtensions{6, 2}}, unhex(t, "1a00 2a10"+nodeBytes+"3204 0806 1002")},
		"challenge for many":        {&ChallengeRequest{ContextUser: &wire.Empty{}, Extensions: &ChallengeExtensions{6, 1}}, unhex(t, "1a00 3204 0806 1001")},
		"challenge without a scope": {&ChallengeRequest{ContextUser: &wire.Empty{}}, unhex(t, "1a00")},
		"wanted, 14":                {&SingleUseRequest{Init: &accesswire.UserCertsRequest{PublicKey: []byte("k"), Usage: UsageSSH}}, unhex(t, "0a05 0a016b 5001")},
		"answer, 14":                {&SingleUseRequest{MFAResponse: &mfawire.Answer{TOTP: &mfawire.TOTPAnswer{Code: "1"}}}, unhex(t, "1205 1203 0a0131")},
	} {
		if got := wire.Marshal(tt.message); !bytes.Equal(got, tt.want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, tt.want)
		}
	}
}

func TestSessionAnswers(t *testing.T) {
	for input, want := range map[string]RequiredResponse{
		"1002":     {false, RequiredNo},
		"08011001": {true, RequiredYes},
		"0801":     {true, 0}, // 14.x
		"":         {},
	} {
		var got RequiredResponse
		if err := wire.Unmarshal(unhex(t, input), &got); err != nil || got != want {
			t.Errorf("%s: %+v, %v", input, got, err)
		}
	}
	read := func(s string, v any) {
		t.Helper()
		if err := wire.Unmarshal(unhex(t, s), v); err != nil {
			t.Error(err)
		}
	}
	var challenge mfawire.Challenge
	if read("2002", &challenge); challenge != (mfawire.Challenge{Required: RequiredNo}) {
		t.Errorf("not required: %+v", challenge)
	}
	var first, second SingleUseResponse
	read("0a041200 2001", &first)
	read("1203 0a0173", &second)
	if c := first.Challenge; c == nil || c.TOTP == nil || c.Required != RequiredYes || first.Cert != nil {
		t.Errorf("challenge %+v", first)
	}
	if second.Challenge != nil || second.Cert == nil || string(second.Cert.SSH) != "s" {
		t.Errorf("certificate %+v", second)
	}
}
