package devcluster

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

func (f *fixture) origin() string { return "https://" + f.PublicAddr() }

// register gives alice a key.
func (f *fixture) register(k *softkey.Key, name string, passwordless bool) {
	f.t.Helper()
	opts, err := f.BeginRegistration("alice", passwordless)
	if err != nil {
		f.t.Fatal(err)
	}
	answer, err := k.Create(f.origin(), opts)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.FinishRegistration("alice", name, answer); err != nil {
		f.t.Fatal(err)
	}
}

// challenge begins a login and returns the challenge for security keys.
func (f *fixture) challenge(body string) (key json.RawMessage, totp bool) {
	f.t.Helper()
	resp, raw := f.do("POST", "/webapi/mfa/login/begin", body)
	var answer struct {
		Key  json.RawMessage `json:"webauthn_challenge"`
		TOTP bool            `json:"totp_challenge"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || resp.StatusCode != http.StatusOK {
		f.t.Fatalf("begin: %d %s", resp.StatusCode, raw)
	}
	return answer.Key, answer.TOTP
}

const (
	beginAlice        = `{"user":"alice","pass":"` + alicePassword + `"}`
	beginPasswordless = `{"user":"","pass":"","passwordless":true}`
)

// finish ends a login with a security key's answer.
func (f *fixture) finish(answer []byte, change func(map[string]any)) (status int, text string, username string) {
	f.t.Helper()
	body := finishBody(f.t, new(login), func(m map[string]any) {
		m["webauthn_challenge_response"] = json.RawMessage(answer)
		if change != nil {
			change(m)
		}
	})
	resp, raw := f.do("POST", "/webapi/mfa/login/finish", body)
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, errorText(f.t, raw), ""
	}
	var ok loginResponse
	if err := json.Unmarshal(raw, &ok); err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, "", ok.Username
}

func withOn(c *Config) { c.SecondFactor = factorOn }

func nameless(m map[string]any) { m["user"], m["password"] = "", "" }

func TestPasswordAndSecurityKey(t *testing.T) {
	for _, packed := range []bool{false, true} {
		f := startCluster(t, withOn)
		k := &softkey.Key{Packed: packed}
		if key, totp := f.challenge(beginAlice); string(key) != "null" || !totp {
			t.Fatalf("a user without a key is asked %s, %v", key, totp)
		}
		f.register(k, "blue key", false)
		raw, totp := f.challenge(beginAlice)
		if !totp || !strings.Contains(string(raw), `"rpId":"localhost"`) || !strings.Contains(string(raw), `"userVerification":"discouraged"`) || !strings.Contains(string(raw), `"timeout":300000`) {
			t.Errorf("challenge %s", raw)
		}
		answer, err := k.Get(f.origin(), raw)
		if err != nil {
			t.Fatal(err)
		}
		if status, text, name := f.finish(answer, nil); status != 200 || name != "alice" {
			t.Fatalf("%d %s %s", status, text, name)
		}
		if status, text, _ := f.finish(answer, nil); status != 403 || text != textInvalid {
			t.Errorf("the same answer again: %d %s", status, text)
		}
		// The one-time code still does.
		if status, text, _ := f.finish([]byte("null"), func(m map[string]any) { m["totp_code"] = f.code() }); status != 200 {
			t.Errorf("code: %s", text)
		}
		if status, text, _ := f.finish([]byte("null"), nil); status != 403 || text != textMissingFactor {
			t.Errorf("password alone: %d %s", status, text)
		}
	}
}

func TestPasswordless(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SecondFactor = factorWebAuthn })
	var k softkey.Key
	f.register(&k, "resident", true)
	raw, totp := f.challenge(beginPasswordless)
	if totp || strings.Contains(string(raw), "allowCredentials") || !strings.Contains(string(raw), `"userVerification":"required"`) {
		t.Errorf("challenge %s, %v", raw, totp)
	}
	answer, err := k.Get(f.origin(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if status, text, name := f.finish(answer, nameless); status != 200 || name != "alice" {
		t.Fatalf("%d %s %s", status, text, name)
	}
	if status, _, _ := f.finish(answer, nameless); status != 403 {
		t.Error("an answer served twice")
	}
	raw, _ = f.challenge(beginPasswordless)
	answer, _ = k.Get(f.origin(), raw)
	f.clock.Advance(passwordlessLife + time.Second)
	if status, _, _ := f.finish(answer, nameless); status != 403 {
		t.Error("an old challenge was accepted")
	}
	_, raw = f.do("GET", "/webapi/ping", "")
	for _, want := range []string{`"second_factor":"webauthn"`, `"preferred_local_mfa":"webauthn"`, `"allow_passwordless":true`, `"rp_id":"localhost"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("ping lacks %s: %s", want, raw)
		}
	}
	none := startCluster(t, nil)
	if resp, raw := none.do("POST", "/webapi/mfa/login/begin", beginPasswordless); resp.StatusCode != 400 || errorText(t, raw) != "passwordless requires WebAuthn" {
		t.Errorf("%d %s", resp.StatusCode, raw)
	}
}

// What is wrong with an answer, one thing each.
func TestSecurityKeyAnswersAreJudged(t *testing.T) {
	for name, answer := range map[string]func(f *fixture, k *softkey.Key) []byte{
		"another origin":    func(f *fixture, k *softkey.Key) []byte { return get(f, k, "https://evil.example:443", beginAlice) },
		"nobody touched it": func(f *fixture, k *softkey.Key) []byte { k.NoUP = true; return get(f, k, f.origin(), beginAlice) },
		"of another scope":  func(f *fixture, k *softkey.Key) []byte { return get(f, k, f.origin(), beginPasswordless) },
		"of an old challenge": func(f *fixture, k *softkey.Key) []byte {
			old := get(f, k, f.origin(), beginAlice)
			f.challenge(beginAlice)
			return old
		},
		"too late": func(f *fixture, k *softkey.Key) []byte {
			old := get(f, k, f.origin(), beginAlice)
			f.clock.Advance(challengeLife + time.Second)
			return old
		},
		"another key": func(f *fixture, k *softkey.Key) []byte {
			k.Credentials[0].Private, _ = otherPrivate()
			return get(f, k, f.origin(), beginAlice)
		},
		"no JSON object": func(*fixture, *softkey.Key) []byte { return []byte(`"x"`) },
		"ids that differ": func(f *fixture, k *softkey.Key) []byte {
			return []byte(strings.Replace(string(get(f, k, f.origin(), beginAlice)), `"id":"`, `"id":"AAAA`, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := startCluster(t, withOn)
			var k softkey.Key
			f.register(&k, "key", true)
			if status, text, _ := f.finish(answer(f, &k), nil); status != 403 || text != textInvalid {
				t.Errorf("%d %s", status, text)
			}
		})
	}
}

// get answers a fresh challenge.
func get(f *fixture, k *softkey.Key, origin, begin string) []byte {
	f.t.Helper()
	raw, _ := f.challenge(begin)
	answer, err := k.Get(origin, raw)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer
}

// otherPrivate is a private key that nobody knows the public half of.
func otherPrivate() ([]byte, error) {
	var k softkey.Key
	_, err := k.MakeCredential(softkey.CreateRequest{})
	return k.Credentials[0].Private, err
}

func TestRegistrationIsJudged(t *testing.T) {
	f := startCluster(t, withOn)
	var k softkey.Key
	f.register(&k, "key", false)
	opts, err := f.BeginRegistration("alice", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Create(f.origin(), opts); !errors.Is(err, softkey.ErrExcluded) {
		t.Errorf("a key that is registered was asked for again: %v", err)
	}
	var other softkey.Key
	answer, err := other.Create(f.origin(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.FinishRegistration("alice", "key", answer); !errors.Is(err, errDeviceExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := f.FinishRegistration("alice", "other", answer); !errors.Is(err, errBadAnswer) {
		t.Errorf("the same registration again: %v", err)
	}
	opts, _ = f.BeginRegistration("alice", false)
	answer, _ = other.Create("https://evil.example", opts)
	if err := f.FinishRegistration("alice", "other", answer); !errors.Is(err, errBadAnswer) {
		t.Errorf("another origin: %v", err)
	}
	opts, _ = f.BeginRegistration("alice", false)
	answer, _ = other.Create(f.origin(), opts)
	if err := f.FinishRegistration("alice", strings.Repeat("x", 31), answer); !errors.Is(err, errDeviceName) {
		t.Errorf("long name: %v", err)
	}
	if users, err := f.Users(); err != nil || strings.Join(users[0].Devices, " ") != "otp key" {
		t.Errorf("%+v, %v", users, err)
	}
	off := startCluster(t, nil)
	if _, err := off.BeginRegistration("alice", false); !errors.Is(err, errFactorOff) {
		t.Errorf("a cluster without security keys: %v", err)
	}
	if _, err := Start(t.Context(), Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", PublicAddr: "127.0.0.1:3080", SecondFactor: factorOn}); err == nil {
		t.Error("an address was taken for a relying party")
	}
}

// A directory of an older version has one device at most, for one-time codes.
func TestOldUsersAreRead(t *testing.T) {
	u := new(user)
	if err := json.Unmarshal([]byte(`{"name":"alice","roles":["access"],"device":{"id":"1","name":"otp","secret":"JBSWY3DPEHPK3PXP","added":"2026-01-02T03:04:05Z"}}`), u); err != nil {
		t.Fatal(err)
	}
	if len(u.Devices) != 1 || u.Devices[0].Kind != kindTOTP || u.Devices[0].Secret == "" || u.Name != "alice" {
		t.Errorf("%+v", u)
	}
	again, err := json.Marshal(u)
	if err != nil || strings.Contains(string(again), `"device":`) {
		t.Errorf("%s, %v", again, err)
	}
	if err := json.Unmarshal(again, u); err != nil || len(u.Devices) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

// A locked account stays locked for keys, and wrong answers lock it.
func TestSecurityKeysAndLocks(t *testing.T) {
	f := startCluster(t, withOn)
	var k softkey.Key
	f.register(&k, "key", true)
	wrong := func() (int, string, string) {
		return f.finish(get(f, &k, "https://evil.example", beginPasswordless), func(m map[string]any) { m["password"] = "" })
	}
	for range maxFailures - 1 {
		if _, text, _ := wrong(); text != textInvalid {
			t.Fatal(text)
		}
	}
	if _, text, _ := wrong(); text != textLocked {
		t.Fatalf("the answer that locks: %s", text)
	}
	if _, text, _ := f.finish(get(f, &k, f.origin(), beginPasswordless), nameless); text != textLocked {
		t.Errorf("passwordless on a locked account: %q", text)
	}
}

func TestPasswordlessChallengesAreBounded(t *testing.T) {
	f := startCluster(t, withOn)
	for range maxPasswordlessAsked {
		if _, err := f.beginAssertion(nil, scopePasswordless); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.beginAssertion(nil, scopePasswordless); !errors.Is(err, errTooManyChallenges) {
		t.Fatal(err)
	}
	f.clock.Advance(passwordlessLife)
	if _, err := f.beginAssertion(nil, scopePasswordless); err != nil {
		t.Errorf("after they have expired: %v", err)
	}
}
