package login

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// softAuthenticator is a key made of software. Nobody touches it while wait is open.
type softAuthenticator struct {
	*softkey.Key
	wait  chan struct{}
	asked int
	ended chan struct{} // closed when it was let go
}

func (s *softAuthenticator) Assert(ctx context.Context, req AssertRequest) (*Assertion, error) {
	s.asked++
	text, hash := req.ClientData()
	list, err := s.GetAssertion(softkey.GetRequest{RPID: req.RPID, ClientDataHash: hash, Allow: req.Allow, UV: req.UserVerification})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-ctx.Done():
			if s.ended != nil {
				close(s.ended)
			}
			return nil, ctx.Err()
		}
	}
	a := list[0]
	return &Assertion{CredentialID: a.CredentialID, ClientDataJSON: text, AuthenticatorData: a.AuthData, Signature: a.Signature, UserHandle: a.UserID}, nil
}

func (s *softAuthenticator) Register(context.Context, RegisterRequest) (*Registration, error) {
	return nil, ErrNoKey
}

// newSoftAuthenticator has one credential for a relying party, of alice.
func newSoftAuthenticator(t *testing.T, rpID string) (*softAuthenticator, []byte) {
	t.Helper()
	s := &softAuthenticator{Key: new(softkey.Key)}
	made, err := s.MakeCredential(softkey.CreateRequest{RPID: rpID, UserID: []byte("handle"), UserName: "alice", Resident: true})
	must(t, err)
	return s, made.ID
}

// challengeText is a challenge as a proxy sends it; change bends its members.
func challengeText(id []byte, change func(pk map[string]any)) string {
	pk := map[string]any{
		"challenge": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1, 2, 3, 4}, 8)), "timeout": 300000, "rpId": "127.0.0.1", "userVerification": "discouraged",
	}
	if id != nil {
		pk["allowCredentials"] = []map[string]any{{"type": "public-key", "id": base64.StdEncoding.EncodeToString(id)}}
	}
	if change != nil {
		change(pk)
	}
	text, _ := json.Marshal(map[string]any{"publicKey": pk})
	return string(text)
}

// keyRogue is a proxy that asks for a security key, and for a code if totp.
func keyRogue(challenge string, totp bool) *rogue {
	return &rogue{begin: fmt.Sprintf(`{"webauthn_challenge":%s,"totp_challenge":%v,"sso_challenge":null}`, challenge, totp)}
}

// forAlice signs for alice where nobody has said who it is.
func forAlice(a *answer) {
	a.username, a.ssh.KeyId, a.tls.Subject.CommonName = "alice", "alice", "alice"
}

func TestSecurityKeyLogin(t *testing.T) {
	key, id := newSoftAuthenticator(t, "127.0.0.1")
	r := keyRogue(challengeText(id, nil), false)
	client := startRogue(t, r)
	r.ping["auth"].(map[string]any)["second_factor"] = "webauthn"
	var p person
	touches := 0
	ui := p.ui()
	ui.Key, ui.Touch = key, func() { touches++ }
	if _, err := Run(t.Context(), client, alice(), ui); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.asked, " "); got != "/webapi/ping /webapi/mfa/login/begin /webapi/mfa/login/finish" || touches != 1 || p.codes != 0 {
		t.Errorf("calls %s, %d touches, %d codes", got, touches, p.codes)
	}
	var sent struct {
		Password string `json:"password"`
		WebAuthn struct {
			ID, RawID, Type string
			Response        struct{ ClientDataJSON, AuthenticatorData, Signature string }
		} `json:"webauthn_challenge_response"`
	}
	must(t, json.Unmarshal([]byte(r.bodies[2]), &sent))
	client64, err := base64.RawURLEncoding.DecodeString(sent.WebAuthn.Response.ClientDataJSON)
	must(t, err)
	want := `{"type":"webauthn.get","challenge":"AQIDBAECAwQBAgMEAQIDBAECAwQBAgMEAQIDBAECAwQ","origin":"https://` + client.WebAddr() + `"}`
	if string(client64) != want || sent.Password != "correct horse" || sent.WebAuthn.ID != base64.RawURLEncoding.EncodeToString(id) || sent.WebAuthn.Type != "public-key" {
		t.Errorf("sent %+v\nclient data %s\nwant %s", sent, client64, want)
	}
}

// case L26: what a hostile proxy may ask of a security key. No device is asked
// and nothing more is sent.
func TestHostileChallengesAreRefused(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(make([]byte, maxChallenge+1))
	for name, bend := range map[string]func(pk map[string]any){
		"another host":           func(pk map[string]any) { pk["rpId"] = "teleport.example.com" },
		"no relying party":       func(pk map[string]any) { pk["rpId"] = "" },
		"part of the address":    func(pk map[string]any) { pk["rpId"] = "0.0.1" },
		"no challenge":           func(pk map[string]any) { delete(pk, "challenge") },
		"short challenge":        func(pk map[string]any) { pk["challenge"] = "AAAA" },
		"long challenge":         func(pk map[string]any) { pk["challenge"] = long },
		"no base64":              func(pk map[string]any) { pk["challenge"] = "%%%" },
		"no credentials":         func(pk map[string]any) { delete(pk, "allowCredentials") },
		"empty credential":       func(pk map[string]any) { pk["allowCredentials"] = []map[string]any{{"type": "public-key", "id": ""}} },
		"too many":               func(pk map[string]any) { pk["allowCredentials"] = manyCredentials(maxCredentials + 1) },
		"credentials of no type": func(pk map[string]any) { pk["allowCredentials"] = []map[string]any{{"type": "x", "id": "AQID"}} },
	} {
		t.Run(name, func(t *testing.T) {
			key, id := newSoftAuthenticator(t, "127.0.0.1")
			r := keyRogue(challengeText(id, bend), true)
			client := startRogue(t, r)
			r.ping["auth"].(map[string]any)["second_factor"] = "on"
			var p person
			ui := p.ui()
			ui.Key = key
			_, err := Run(t.Context(), client, alice(), ui)
			if !errors.Is(err, ErrRejected) || key.asked > 0 || len(r.asked) != 2 {
				t.Errorf("error %v, %d questions, calls %v", err, key.asked, r.asked)
			}
		})
	}
}

func manyCredentials(n int) []any {
	one := map[string]any{"type": "public-key", "id": "AQID"}
	return slices.Repeat([]any{one}, n)
}

// case L26: a login without a password needs to know that it is the owner.
func TestHostilePasswordlessChallenges(t *testing.T) {
	for name, tc := range map[string]struct {
		bend func(pk map[string]any)
		want error
	}{
		"in order":    {func(pk map[string]any) { pk["userVerification"] = "required" }, nil},
		"discouraged": {func(pk map[string]any) { pk["userVerification"] = "discouraged" }, ErrRejected},
		"left out":    {func(pk map[string]any) { delete(pk, "userVerification") }, ErrRejected},
		"foreign credentials": {func(pk map[string]any) {
			pk["userVerification"], pk["allowCredentials"] = "required", []map[string]any{{"type": "public-key", "id": "AQID"}}
		}, ErrRejected},
		"another host": {func(pk map[string]any) { pk["userVerification"], pk["rpId"] = "required", "example.com" }, ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			key, _ := newSoftAuthenticator(t, "127.0.0.1")
			r := keyRogue(challengeText(nil, tc.bend), false)
			r.bend = forAlice
			client := startRogue(t, r)
			auth := r.ping["auth"].(map[string]any)
			auth["local"], auth["allow_passwordless"] = map[string]any{"name": "passwordless"}, true
			request := alice()
			request.User, request.Connector = "somebody", "passwordless"
			result, err := Run(t.Context(), client, request, UI{Key: key})
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				if key.asked > 0 {
					t.Error("the key was asked")
				}
				return
			}
			if result.Identity.User != "alice" || strings.Contains(r.bodies[1]+r.bodies[2], "somebody") {
				t.Errorf("%s, sent %s", result.Identity.User, r.bodies)
			}
			request.KeyUser = "bob"
			r.asked, r.bodies = nil, nil
			if _, err := Run(t.Context(), client, request, UI{Key: key}); !errors.Is(err, ErrRejected) {
				t.Errorf("the key is alice's, bob was asked for: %v", err)
			}
		})
	}
}

// A key that says nothing of the user cannot log in on its own.
func TestPasswordlessNeedsAUserHandle(t *testing.T) {
	key, _ := newSoftAuthenticator(t, "127.0.0.1")
	key.Credentials[0].UserID = nil
	r := keyRogue(challengeText(nil, func(pk map[string]any) { pk["userVerification"] = "required" }), false)
	r.bend = forAlice
	client := startRogue(t, r)
	auth := r.ping["auth"].(map[string]any)
	auth["local"], auth["allow_passwordless"] = map[string]any{"name": "passwordless"}, true
	if _, err := Run(t.Context(), client, alice(), UI{Key: key}); !errors.Is(err, ErrNoKey) {
		t.Errorf("%v", err)
	}
}

// case L26: which names keys may answer to at a proxy.
func TestRelyingParties(t *testing.T) {
	for _, tc := range []struct {
		rpID, host string
		ok         bool
	}{
		{"tele.example.com", "tele.example.com", true},
		{"TELE.example.com", "tele.Example.com", true},
		{"example.com", "tele.example.com", true},
		{"example.com", "a.b.example.com", true},
		{"localhost", "localhost", true},
		{"proxy", "proxy", true},
		{"example.co.uk", "tele.example.co.uk", true},
		{"127.0.0.1", "127.0.0.1", true},
		{"com", "example.com", false},
		{"co.uk", "example.co.uk", false},
		{"com.au", "example.com.au", false},
		{"ample.com", "example.com", false},
		{".example.com", "a.example.com", false},
		{"example.com.", "a.example.com", false},
		{"a.example.com", "example.com", false},
		{"tele.example.com", "example.com", false},
		{"evil.example", "tele.example.com", false},
		{"0.0.1", "127.0.0.1", false},
		{"", "localhost", false},
		{"", "", false},
	} {
		if err := checkRPID(tc.rpID, tc.host); (err == nil) != tc.ok {
			t.Errorf("%q at %q: %v", tc.rpID, tc.host, err)
		}
	}
}

// A proxy that announces another's address does not get a signature for it.
func TestOriginIsTheHostThatWasDialled(t *testing.T) {
	key, id := newSoftAuthenticator(t, "teleport.example.com")
	r := keyRogue(challengeText(id, func(pk map[string]any) { pk["rpId"] = "teleport.example.com" }), false)
	client := startRogue(t, r)
	r.ping["auth"].(map[string]any)["second_factor"] = "webauthn"
	r.ping["proxy"] = map[string]any{"ssh": map[string]any{"public_addr": "teleport.example.com:443"}}
	var p person
	ui := p.ui()
	ui.Key = key
	if _, err := Run(t.Context(), client, alice(), ui); !errors.Is(err, ErrRejected) || key.asked > 0 || !strings.Contains(err.Error(), "calls itself teleport.example.com:443") {
		t.Errorf("error %v, %d questions", err, key.asked)
	}
}

// Code and key are asked for at once: the first counts, the other is let go.
func TestFirstToAnswerWins(t *testing.T) {
	run := func(t *testing.T, key *softAuthenticator, id []byte, codeOrKey func(context.Context) (string, error)) (*rogue, error) {
		t.Helper()
		r := keyRogue(challengeText(id, nil), true)
		client := startRogue(t, r)
		r.ping["auth"].(map[string]any)["second_factor"] = "on"
		var p person
		ui := p.ui()
		ui.Key, ui.CodeOrKey = key, codeOrKey
		ui.Code = func(context.Context) (string, error) { t.Error("asked for a code alone"); return "", nil }
		_, err := Run(t.Context(), client, alice(), ui)
		return r, err
	}
	left := func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
	t.Run("the key", func(t *testing.T) {
		key, id := newSoftAuthenticator(t, "127.0.0.1")
		let := make(chan struct{})
		r, err := run(t, key, id, func(ctx context.Context) (string, error) { defer close(let); return left(ctx) })
		if err != nil || !strings.Contains(r.bodies[2], `"totp_code":""`) || strings.Contains(r.bodies[2], `"webauthn_challenge_response":null`) {
			t.Errorf("%v, %v", err, r.bodies)
		}
		<-let
	})
	t.Run("the code", func(t *testing.T) {
		key, id := newSoftAuthenticator(t, "127.0.0.1")
		key.wait, key.ended = make(chan struct{}), make(chan struct{})
		r, err := run(t, key, id, func(context.Context) (string, error) { return "123456", nil })
		if err != nil || !strings.Contains(r.bodies[2], `"totp_code":"123456"`) || !strings.Contains(r.bodies[2], `"webauthn_challenge_response":null`) {
			t.Errorf("%v, %v", err, r.bodies)
		}
		<-key.ended
	})
	t.Run("Enter, then the key", func(t *testing.T) {
		key, id := newSoftAuthenticator(t, "127.0.0.1")
		key.wait = make(chan struct{})
		r, err := run(t, key, id, func(context.Context) (string, error) { defer close(key.wait); return "", nil })
		if err != nil || strings.Contains(r.bodies[2], `"webauthn_challenge_response":null`) {
			t.Errorf("%v, %v", err, r.bodies)
		}
	})
	t.Run("nobody to ask, then the key", func(t *testing.T) {
		key, id := newSoftAuthenticator(t, "127.0.0.1")
		key.wait = make(chan struct{})
		if _, err := run(t, key, id, func(context.Context) (string, error) { defer close(key.wait); return "", ErrCannotAsk }); err != nil {
			t.Error(err)
		}
	})
	t.Run("a key that is not registered, then the code", func(t *testing.T) {
		key, _ := newSoftAuthenticator(t, "127.0.0.1")
		if _, err := run(t, key, []byte("another"), func(context.Context) (string, error) { return "123456", nil }); err != nil {
			t.Error(err)
		}
	})
	t.Run("neither", func(t *testing.T) {
		key, _ := newSoftAuthenticator(t, "127.0.0.1")
		gone := errors.New("closed")
		if _, err := run(t, key, []byte("another"), func(context.Context) (string, error) { return "", gone }); !errors.Is(err, gone) {
			t.Error(err)
		}
	})
}

// Where the key wants its PIN as well, no code is asked for beside it.
func TestPINAndCodeAreNotAskedAtOnce(t *testing.T) {
	key, id := newSoftAuthenticator(t, "127.0.0.1")
	r := keyRogue(challengeText(id, func(pk map[string]any) { pk["userVerification"] = "required" }), true)
	client := startRogue(t, r)
	r.ping["auth"].(map[string]any)["second_factor"] = "on"
	var p person
	ui := p.ui()
	ui.Key = key
	ui.CodeOrKey = func(context.Context) (string, error) { t.Error("asked for a code"); return "", nil }
	if _, err := Run(t.Context(), client, alice(), ui); err != nil || key.asked != 1 {
		t.Errorf("%v, %d questions", err, key.asked)
	}
}

// The server's patience bounds the wait for a touch.
func TestChallengeTimeout(t *testing.T) {
	key, id := newSoftAuthenticator(t, "127.0.0.1")
	key.wait = make(chan struct{})
	r := keyRogue(challengeText(id, func(pk map[string]any) { pk["timeout"] = 1 }), false)
	client := startRogue(t, r)
	r.ping["auth"].(map[string]any)["second_factor"] = "webauthn"
	var p person
	ui := p.ui()
	ui.Key = key
	if _, err := Run(t.Context(), client, alice(), ui); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no security key was touched in time") {
		t.Error(err)
	}
	for ms, want := range map[int64]time.Duration{0: maxWaitForTouch, -5: maxWaitForTouch, 1000: time.Second, 1 << 62: maxWaitForTouch} {
		if got := boundedTimeout(ms); got != want {
			t.Errorf("%d ms: %s", ms, got)
		}
	}
}

// Which second factors the modes ask for, and what is said where one cannot be met.
func TestMFAModes(t *testing.T) {
	for _, tc := range []struct {
		mode      string
		code, key bool // what the user has
		noKeys    bool // the machine speaks with none
		want      string
	}{
		{"auto", true, true, false, "code or key"},
		{"", true, true, false, "code or key"},
		{"auto", true, false, false, "code"},
		{"auto", false, true, false, "key"},
		{"auto", false, false, false, "nothing"},
		{"auto", true, true, true, "code"},
		{"auto", false, true, true, "no security key can answer"},
		{"otp", true, true, false, "code"},
		{"otp", false, true, false, "no device for one-time codes"},
		{"otp", false, false, false, "nothing"},
		{"cross-platform", true, true, false, "key"},
		{"cross-platform", true, false, false, "no security key"},
		{"cross-platform", true, true, true, "no security key can answer"},
		{"cross-platform", false, false, false, "nothing"},
		{"platform", true, true, false, "built into this machine"},
		{"sso", true, true, false, "a second factor in the browser"},
		{"sso", false, false, false, "nothing"},
	} {
		r := &rogue{}
		client := startRogue(t, r)
		s := &session{client: client, req: Request{User: "alice", MFAMode: tc.mode}}
		if !tc.noKeys {
			s.ui.Key = &softAuthenticator{Key: new(softkey.Key)}
		}
		code, key, err := s.wanted(tc.code, tc.key)
		got := map[[2]bool]string{{true, true}: "code or key", {true, false}: "code", {false, true}: "key", {false, false}: "nothing"}[[2]bool{code, key}]
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

// What is signed is the text that other clients write, member for member.
func TestClientData(t *testing.T) {
	r := RegisterRequest{Challenge: []byte{0xfb, 0xff}, Origin: "https://tele.example.com:443"}
	text, hash := r.ClientData()
	sum := sha256.Sum256(text)
	if string(text) != `{"type":"webauthn.create","challenge":"-_8","origin":"https://tele.example.com:443"}` || !bytes.Equal(hash, sum[:]) {
		t.Errorf("%s", text)
	}
	if !json.Valid(text) {
		t.Error("no JSON")
	}
}

func TestRegisterRequestIsJudged(t *testing.T) {
	good := RegisterRequest{
		Challenge: make([]byte, 32), RPID: "example.com", RPName: "Teleport", Origin: "https://tele.example.com:443",
		UserID: []byte("u"), User: "alice",
	}
	must(t, good.Check())
	for name, bend := range map[string]func(r *RegisterRequest){
		"relying party": func(r *RegisterRequest) { r.RPID = "example.org" },
		"challenge":     func(r *RegisterRequest) { r.Challenge = nil },
		"user handle":   func(r *RegisterRequest) { r.UserID = make([]byte, 65) },
		"user":          func(r *RegisterRequest) { r.User = "a\nb" },
		"name":          func(r *RegisterRequest) { r.RPName = "" },
		"verification":  func(r *RegisterRequest) { r.Resident = true },
		"excluded":      func(r *RegisterRequest) { r.Exclude = make([][]byte, maxCredentials+1) },
	} {
		bad := good
		bend(&bad)
		if err := bad.Check(); !errors.Is(err, ErrRejected) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a proxy sends as a challenge, it is refused or within bounds.
func FuzzWebAuthnChallenge(f *testing.F) {
	f.Add([]byte(`{"publicKey":{"challenge":"q83vEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJq80=","timeout":300000,"rpId":"tele.example.com","allowCredentials":[{"type":"public-key","id":"AQIDBA=="}],"userVerification":"discouraged","extensions":{"appid":"https://tele.example.com:443"}}}`), false)
	f.Add([]byte(`{"publicKey":{"challenge":"q83vEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJq80","timeout":300000,"rpId":"example.com","userVerification":"required"}}`), true)
	f.Add([]byte(`{"publicKey":{"challenge":"","rpId":"com","allowCredentials":[{}]}}`), false)
	f.Fuzz(func(t *testing.T, data []byte, passwordless bool) {
		r, err := parseAssertRequest(data, "tele.example.com:443", passwordless)
		if err != nil {
			if !errors.Is(err, ErrRejected) {
				t.Fatal(err)
			}
			return
		}
		if n := len(r.Challenge); n < minChallenge || n > maxChallenge || len(r.Allow) > maxCredentials || r.Timeout <= 0 || r.Timeout > maxWaitForTouch {
			t.Fatalf("accepted %+v", r)
		}
		if passwordless && (!r.UserVerification || len(r.Allow) > 0) {
			t.Fatalf("accepted without a password: %+v", r)
		}
		if id := strings.ToLower(r.RPID); id != "tele.example.com" && id != "example.com" {
			t.Fatalf("accepted for %q", r.RPID)
		}
		if text, _ := r.ClientData(); !json.Valid(text) {
			t.Fatalf("client data %s", text)
		}
	})
}
