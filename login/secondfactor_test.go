package login

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// maker is a security key that makes credentials, or waits for its touch.
type maker struct {
	*softkey.Key
	untouched bool
	asked     int
}

func (m *maker) Assert(context.Context, AssertRequest) (*Assertion, error) { return nil, ErrNoKey }

func (m *maker) Register(ctx context.Context, req RegisterRequest) (*Registration, error) {
	m.asked++
	if m.untouched {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	text, hash := req.ClientData()
	made, err := m.MakeCredential(softkey.CreateRequest{
		RPID: req.RPID, ClientDataHash: hash, UserID: req.UserID, UserName: req.User, Resident: req.Resident, UV: req.UserVerification, Exclude: req.Exclude,
	})
	if err != nil {
		return nil, err
	}
	return &Registration{CredentialID: made.ID, ClientDataJSON: text, AttestationObject: made.AttestationObject()}, nil
}

func assertRequest(id []byte, change func(*AssertRequest)) *AssertRequest {
	req := &AssertRequest{
		Challenge: bytes.Repeat([]byte{1, 2, 3, 4}, 8), RPID: "tele.example.com", Origin: WebAuthnOrigin("tele.example.com:443"),
		Allow: [][]byte{id}, Timeout: time.Minute,
	}
	if change != nil {
		change(req)
	}
	return req
}

// What a login asks for is asked for in the same way afterwards, and a key is
// asked for the proxy of the session alone.
func TestAskSecondFactor(t *testing.T) {
	key, id := newSoftAuthenticator(t, "tele.example.com")
	for _, tc := range []struct {
		name     string
		question Question
		typed    string
		code     string
		key      bool
		err      error
		asked    int // of the key
	}{
		{name: "a code", question: Question{Code: true}, typed: "123456", code: "123456"},
		{name: "a key", question: Question{Key: assertRequest(id, nil)}, key: true, asked: 1},
		{name: "no timeout is the longest there is", question: Question{Key: assertRequest(id, func(r *AssertRequest) { r.Timeout = 0 })}, key: true, asked: 1},
		{name: "either, by mode", question: Question{Code: true, Key: assertRequest(id, nil), MFAMode: "otp"}, typed: "1", code: "1"},
		{name: "either, by the other mode", question: Question{Code: true, Key: assertRequest(id, nil), MFAMode: "cross-platform"}, key: true, asked: 1},
		{name: "a mode that cannot be met", question: Question{Key: assertRequest(id, nil), MFAMode: "otp"}, err: ErrUnsupported},
		{name: "case L26: another host's name", question: Question{Key: assertRequest(id, func(r *AssertRequest) { r.RPID = "evil.example.net" })}, err: ErrRejected},
		{name: "case L26: a registry's name", question: Question{Key: assertRequest(id, func(r *AssertRequest) { r.RPID = "com" })}, err: ErrRejected},
		{name: "case L26: anybody's credential", question: Question{Key: assertRequest(id, func(r *AssertRequest) { r.Allow = nil })}, err: ErrRejected},
		{name: "an empty challenge", question: Question{Key: assertRequest(id, func(r *AssertRequest) { r.Challenge = nil })}, err: ErrRejected},
	} {
		key.asked = 0
		ui := UI{Key: key, Code: func(context.Context) (string, error) { return tc.typed, nil }}
		code, answer, err := AskSecondFactor(t.Context(), tc.question, ui)
		if !errors.Is(err, tc.err) || code != tc.code || (answer != nil) != tc.key || key.asked != tc.asked {
			t.Errorf("%s: code %q, key %v (asked %d times), %v", tc.name, code, answer != nil, key.asked, err)
		}
	}
	if _, _, err := AskSecondFactor(t.Context(), Question{Code: true}, UI{Code: func(context.Context) (string, error) { return "", nil }}); err == nil {
		t.Error("no code passed for one")
	}
	if _, _, err := AskSecondFactor(t.Context(), Question{Code: true}, UI{}); !errors.Is(err, ErrCannotAsk) {
		t.Errorf("nobody to ask: %v", err)
	}
	if _, _, err := AskSecondFactor(t.Context(), Question{Key: assertRequest(id, nil)}, UI{}); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key to ask: %v", err)
	}
}

func TestRegisterKey(t *testing.T) {
	request := func(change func(*RegisterRequest)) RegisterRequest {
		r := RegisterRequest{
			Challenge: bytes.Repeat([]byte{1, 2, 3, 4}, 8), RPID: "tele.example.com", RPName: "Teleport",
			Origin: WebAuthnOrigin("tele.example.com:443"), UserID: []byte("id"), User: "alice", Timeout: time.Minute,
		}
		change(&r)
		return r
	}
	keys := &maker{Key: new(softkey.Key)}
	made, err := RegisterKey(t.Context(), keys, request(func(*RegisterRequest) {}))
	if err != nil || len(made.CredentialID) == 0 || !bytes.Contains(made.ClientDataJSON, []byte("webauthn.create")) {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, err = RegisterKey(t.Context(), keys, request(func(r *RegisterRequest) { r.Exclude = [][]byte{made.CredentialID} })); !errors.Is(err, softkey.ErrExcluded) {
		t.Errorf("a key that is registered already: %v", err)
	}
	keys.asked = 0
	for name, change := range map[string]func(*RegisterRequest){
		"case L26: another host's name":           func(r *RegisterRequest) { r.RPID = "evil.example.net" },
		"case L26: no PIN for a passwordless key": func(r *RegisterRequest) { r.Resident = true },
		"case L26: logged in elsewhere":           func(r *RegisterRequest) { r.Reached = "tele.example.com.evil.example.net" },
		// It would fill the pipe to fido2-cred, which is written before that runs.
		"a user name without end": func(r *RegisterRequest) { r.User = strings.Repeat("a", 100<<10) },
		"no user":                 func(r *RegisterRequest) { r.User = "" },
		"no user handle":          func(r *RegisterRequest) { r.UserID = nil },
		"no challenge":            func(r *RegisterRequest) { r.Challenge = nil },
	} {
		if _, err := RegisterKey(t.Context(), keys, request(change)); !errors.Is(err, ErrRejected) || keys.asked > 0 {
			t.Errorf("%s: %v, the key was asked %d times", name, err, keys.asked)
		}
	}
	keys.untouched = true
	_, err = RegisterKey(t.Context(), keys, request(func(r *RegisterRequest) { r.Timeout = time.Millisecond }))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "touched in time") {
		t.Errorf("nobody touches the key: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("^C")
	cancel(gone)
	if _, err = RegisterKey(ctx, keys, request(func(*RegisterRequest) {})); !errors.Is(err, gone) {
		t.Errorf("^C: %v", err)
	}
}
