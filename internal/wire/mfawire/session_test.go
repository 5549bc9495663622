package mfawire

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-087d674e/tsh/internal/wire"
)

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
		"is it required":             {node, unhex(t, nodeBytes)},
		"is it required, as sent":    {node, captured},
		"challenge for a session":    {&ChallengeRequest{ContextUser: &wire.Empty{}, Check: node, Extensions: &ChallengeExtensions{6, 2}}, unhex(t, "1a00 2a10"+nodeBytes+"3204 0806 1002")},
		"challenge for many":         {&ChallengeRequest{ContextUser: &wire.Empty{}, Extensions: &ChallengeExtensions{6, 1}}, unhex(t, "1a00 3204 0806 1001")},
		"challenge without a scope":  {&ChallengeRequest{ContextUser: &wire.Empty{}}, unhex(t, "1a00")},
		"challenge, nothing is said": {&ChallengeRequest{}, nil},
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
	var challenge Challenge
	if err := wire.Unmarshal(unhex(t, "2002"), &challenge); err != nil || challenge != (Challenge{Required: RequiredNo}) {
		t.Errorf("not required: %+v, %v", challenge, err)
	}
}
