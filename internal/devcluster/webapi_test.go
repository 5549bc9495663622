package devcluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// captured is an answer as it was recorded.
type captured struct {
	status int
	header http.Header
	body   []byte
}

func readCaptured(t *testing.T, version, name string) captured {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", version, "webapi", name+".http"))
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s: no body", name)
	}
	line, fields, _ := strings.Cut(string(head)+"\r\n\r\n", "\r\n")
	c := captured{body: body}
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &c.status); err != nil {
		t.Fatal(err)
	}
	mime, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields))).ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	c.header = http.Header(mime)
	return c
}

// jsonPaths lists the members of a JSON text in their order.
func jsonPaths(t *testing.T, raw []byte) []string {
	t.Helper()
	var paths []string
	var walk func(dec *json.Decoder, prefix string)
	walk = func(dec *json.Decoder, prefix string) {
		tok, err := dec.Token()
		if err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		delim, ok := tok.(json.Delim)
		if !ok {
			return
		}
		for dec.More() {
			path := prefix + "[]"
			if delim == '{' {
				key, _ := dec.Token()
				path = fmt.Sprintf("%s.%v", prefix, key)
				paths = append(paths, path)
			}
			walk(dec, path)
		}
		_, _ = dec.Token()
	}
	walk(json.NewDecoder(bytes.NewReader(raw)), "")
	return paths
}

// compare checks an answer against a captured one: status, header fields and
// their values but for date and length, the members of the body in their order,
// and, where exact, every byte of it.
func compare(t *testing.T, name string, got *http.Response, body []byte, missing ...string) {
	t.Helper()
	compareWith(t, readCaptured(t, "18.3", name), name, got, body, missing...)
}

func compareWith(t *testing.T, want captured, name string, got *http.Response, body []byte, missing ...string) {
	t.Helper()
	if got.StatusCode != want.status {
		t.Fatalf("%s: status %d, want %d: %s", name, got.StatusCode, want.status, body)
	}
	if chunked := want.header.Get("Transfer-Encoding") != ""; chunked != (got.ContentLength < 0) {
		t.Errorf("%s: content length %d, captured answer chunked: %v", name, got.ContentLength, chunked)
	}
	for _, h := range []http.Header{want.header, got.Header} {
		for _, field := range []string{"Date", "Content-Length", "Transfer-Encoding"} {
			h.Del(field)
		}
	}
	if !maps.EqualFunc(want.header, got.Header, slices.Equal) {
		t.Errorf("%s: header\n%v\nwant\n%v", name, got.Header, want.header)
	}
	if want.status != http.StatusOK && !bytes.Equal(body, want.body) {
		t.Errorf("%s: body\n%s\nwant\n%s", name, body, want.body)
		return
	}
	wantPaths := slices.DeleteFunc(jsonPaths(t, want.body), func(p string) bool { return slices.Contains(missing, p) })
	if gotPaths := jsonPaths(t, body); !slices.Equal(gotPaths, wantPaths) {
		t.Errorf("%s: members\n%v\nwant\n%v", name, gotPaths, wantPaths)
	}
}

func TestCapturedWebAnswers(t *testing.T) {
	f := startCluster(t, nil)
	finish := func(change func(map[string]any)) string { return finishBody(t, new(login), change) }
	good := f.code()
	begin := func(user, pass string) string {
		return fmt.Sprintf(`{"user":%q,"pass":%q,"passwordless":false}`, user, pass)
	}
	// No device here is a security key, and both of these stand on one.
	noKeys := []string{".auth.allow_passwordless", ".auth.allow_headless"}
	tests := []struct {
		name, method, path, body string
		missing                  []string
	}{
		{"ping", "GET", "/webapi/ping", "", noKeys},
		{"ping", "GET", "/v1/webapi/ping?group=x&update_id=y", "", noKeys},
		{"ping-connector", "GET", "/webapi/ping/local", "", noKeys},
		{"find", "GET", "/webapi/find", "", nil},
		{"motd", "GET", "/webapi/motd", "", nil},
		{"begin-ok", "POST", "/webapi/mfa/login/begin", begin("alice", alicePassword), nil},
		{"begin-bad-password", "POST", "/webapi/mfa/login/begin", begin("alice", "wrong"), nil},
		{"begin-unknown-user", "POST", "/webapi/mfa/login/begin", begin("nobody", "wrong"), nil},
		{"begin-bad-json", "POST", "/webapi/mfa/login/begin", "{", nil},
		{"finish-bad-otp", "POST", "/webapi/mfa/login/finish", finish(func(m map[string]any) { m["totp_code"] = "x" }), nil},
		{"finish-no-keys", "POST", "/webapi/mfa/login/finish", `{"user":"alice","password":"x"}`, nil},
		{"finish-ok", "POST", "/webapi/mfa/login/finish", finish(func(m map[string]any) { m["totp_code"] = good }), nil},
		{"finish-reused-otp", "POST", "/webapi/mfa/login/finish", finish(func(m map[string]any) { m["totp_code"] = good }), nil},
		{"ssh-certs-gone", "POST", "/webapi/ssh/certs", "{}", nil},
		{"sso-unknown-connector", "POST", "/webapi/github/login/console", `{"connector_id":"nope"}`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			resp, body := f.do(test.method, test.path, test.body)
			compare(t, test.name, resp, body, test.missing...)
		})
	}
}

// message is the text of an error answer.
func errorText(t *testing.T, raw []byte) string {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return e.Error.Message
}

// skKey is the public key of a security key, which the protocol does not list.
const skKey = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fAAAABHNzaDo="

func TestFinishRefusals(t *testing.T) {
	f := startCluster(t, nil)
	tests := []struct {
		name   string
		change map[string]any
		status int
		text   string
	}{
		{"password alone", nil, 403, textMissingFactor},
		{"no user", map[string]any{"user": "", "totp_code": "123456"}, 400, "missing parameter 'username'"},
		{"nothing", map[string]any{"password": ""}, 400, "at least one authentication method is required"},
		{"code alone", map[string]any{"password": "", "totp_code": f.code()}, 403, textWrongFactor},
		{"wrong password", map[string]any{"password": "nope", "totp_code": f.code()}, 403, textWrongFactor},
		{"unknown user", map[string]any{"user": "nobody", "totp_code": f.code()}, 403, textWrongFactor},
		{"security key", map[string]any{"webauthn_challenge_response": map[string]any{"id": "x"}}, 403, textInvalid},
		{"passwordless", map[string]any{"user": "", "webauthn_challenge_response": map[string]any{"id": "x"}}, 403, textInvalid},
		{"format", map[string]any{"compatibility": "pgp"}, 400, `provided value "pgp" is not a valid certificate format`},
		{"bad ssh key", map[string]any{"ssh_pub_key": []byte(skKey)}, 400, "ssh_pub_key: unsupported public key type sk-ssh-ed25519@openssh.com"},
		{"bad tls key", map[string]any{"tls_pub_key": []byte("x")}, 400, "tls_pub_key: expected a PEM encoded public key"},
		{"leaf", map[string]any{"totp_code": f.code(), "RouteToCluster": "leaf"}, 404, `remote cluster "leaf" not found`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body := finishBody(t, new(login), func(m map[string]any) { maps.Copy(m, test.change) })
			resp, raw := f.do("POST", "/webapi/mfa/login/finish", body)
			if resp.StatusCode != test.status || errorText(t, raw) != test.text {
				t.Errorf("got %d %s", resp.StatusCode, raw)
			}
		})
	}
}

func TestWebRequestRules(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.MOTD = "be <kind>" })
	if resp, raw := f.do("GET", "/webapi/motd", ""); resp.StatusCode != 200 || !strings.Contains(string(raw), `"Text":"be \u003ckind\u003e"`) {
		t.Errorf("motd: %d %s", resp.StatusCode, raw)
	}
	if resp, raw := f.do("POST", "/webapi/mfa/login/begin", `{"passwordless":true}`); resp.StatusCode != 400 || errorText(t, raw) != "passwordless requires WebAuthn" {
		t.Errorf("passwordless: %d %s", resp.StatusCode, raw)
	}
	if resp, raw := f.do("GET", "/webapi/ping/okta", ""); resp.StatusCode != 400 || !strings.Contains(errorText(t, raw), "local, passwordless, headless") {
		t.Errorf("connector: %d %s", resp.StatusCode, raw)
	}
	if resp, raw := f.do("POST", "/webapi/mfa/login/begin", `{"user":"`+strings.Repeat("x", maxBody)+`"}`); resp.StatusCode != 429 || errorText(t, raw) != "the read limit is reached" {
		t.Errorf("long body: %d %s", resp.StatusCode, raw)
	}
	for _, path := range []string{"/webapi/oidc/login/console", "/v1/webapi/nope"} {
		if resp, raw := f.do("GET", path, ""); resp.StatusCode != 404 || errorText(t, raw) != "path not found" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, raw)
		}
	}
	if resp, raw := f.do("GET", "/web/msg/info/login_success", ""); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("page: %d %s", resp.StatusCode, raw)
	}
	req, err := http.NewRequest("POST", "https://"+f.PublicAddr()+"/webapi/mfa/login/begin", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := f.webClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || errorText(t, raw) != "invalid request" {
		t.Errorf("no content type: %d %s", resp.StatusCode, raw)
	}
}

func TestSecondFactorOff(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.SecondFactor = factorOff })
	_, raw := f.do("GET", "/webapi/ping", "")
	var p pingResponse
	if err := json.Unmarshal(raw, &p); err != nil || p.Auth.SecondFactor != "off" || p.Auth.PreferredLocalMFA != "" {
		t.Errorf("ping: %v %s", err, raw)
	}
	if f.secret != "" {
		t.Error("a device was enrolled")
	}
	f.login(nil)
	body := finishBody(t, new(login), func(m map[string]any) { m["password"] = "nope" })
	if resp, raw := f.do("POST", "/webapi/mfa/login/finish", body); resp.StatusCode != 403 || errorText(t, raw) != textWrongPassword {
		t.Errorf("wrong password: %d %s", resp.StatusCode, raw)
	}
}

func TestLockOut(t *testing.T) {
	f := startCluster(t, nil)
	attempt := func(code string) (int, string) {
		body := finishBody(t, new(login), func(m map[string]any) { m["totp_code"] = code })
		resp, raw := f.do("POST", "/webapi/mfa/login/finish", body)
		if resp.StatusCode == 200 {
			return 200, ""
		}
		return resp.StatusCode, errorText(t, raw)
	}
	for i := range maxFailures - 1 {
		if _, text := attempt("000000x"); text != textWrongFactor {
			t.Fatalf("attempt %d: %s", i, text)
		}
	}
	if _, text := attempt("000000x"); text != textLocked {
		t.Fatalf("the attempt that locks: %s", text)
	}
	if _, text := attempt(f.code()); text != textLocked {
		t.Fatalf("right code on a locked account: %s", text)
	}
	resp, raw := f.do("POST", "/webapi/mfa/login/begin", fmt.Sprintf(`{"user":"alice","pass":%q}`, alicePassword))
	if resp.StatusCode != 403 || errorText(t, raw) != textInvalid {
		t.Errorf("begin shows the lock: %d %s", resp.StatusCode, raw)
	}
	users, err := f.Users()
	if err != nil || len(users) != 1 || users[0].LockedUntil.IsZero() {
		t.Errorf("users: %+v, %v", users, err)
	}
	f.clock.Advance(lockDuration + time.Second)
	if status, text := attempt(f.code()); status != 200 {
		t.Errorf("after the lock: %s", text)
	}
	// Failures that are too old do not count, nor do those before a success.
	for range 3 {
		attempt("000000x")
	}
	f.clock.Advance(failureWindow + time.Second)
	for range maxFailures - 1 {
		if _, text := attempt("000000x"); text != textWrongFactor {
			t.Fatalf("after a pause: %s", text)
		}
	}
	if status, text := attempt(f.code()); status != 200 {
		t.Fatalf("success: %s", text)
	}
	f.clock.Advance(time.Minute)
	if _, text := attempt("000000x"); text != textWrongFactor {
		t.Errorf("after a success: %s", text)
	}
	// A reset lifts the lock.
	for range maxFailures {
		attempt("000000x")
	}
	en, err := f.ResetUser("alice", "")
	if err != nil {
		t.Fatal(err)
	}
	f.secret = en.TOTPSecret
	body := finishBody(t, new(login), func(m map[string]any) { m["password"], m["totp_code"] = en.Password, f.code() })
	if resp, raw := f.do("POST", "/webapi/mfa/login/finish", body); resp.StatusCode != 200 {
		t.Errorf("after a reset: %d %s", resp.StatusCode, raw)
	}
}

func TestOneTimeCodes(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 10, 0, time.UTC)
	u := &user{Devices: []*device{{Kind: kindTOTP, Secret: "JBSWY3DPEHPK3PXP"}}}
	code := func(skew time.Duration) string {
		f := &fixture{t: t, clock: &testClock{t: now.Add(skew)}, secret: u.Devices[0].Secret}
		return f.code()
	}
	for _, skew := range []time.Duration{-2, 2} {
		if u.useCode(now, code(skew*codePeriod)) {
			t.Errorf("skew %d accepted", skew)
		}
	}
	for _, skew := range []time.Duration{-1, 0, 1} {
		if !u.useCode(now, code(skew*codePeriod)) {
			t.Errorf("skew %d refused", skew)
		}
		if u.useCode(now, code(skew*codePeriod)) {
			t.Errorf("skew %d accepted twice", skew)
		}
	}
	if u.useCode(now, "") || (&user{}).useCode(now, "123456") {
		t.Error("no code or no device accepted")
	}
}

func TestRateLimits(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.NoRateLimit = false })
	post := func() (int, []byte) {
		resp, raw := f.do("POST", "/webapi/mfa/login/begin", `{"user":"nobody","pass":"x"}`)
		return resp.StatusCode, raw
	}
	for i := range normalBurst {
		if status, raw := post(); status != 403 {
			t.Fatalf("call %d: %d %s", i, status, raw)
		}
	}
	if status, raw := post(); status != 429 || errorText(t, raw) != "rate limit exceeded, try again in 3s" {
		t.Errorf("beyond the burst: %d %s", status, raw)
	}
	if resp, _ := f.do("GET", "/webapi/ping", ""); resp.StatusCode != 200 {
		t.Errorf("ping is limited: %d", resp.StatusCode)
	}
	f.clock.Advance(3 * time.Second)
	if status, _ := post(); status != 403 {
		t.Errorf("after a pause: %d", status)
	}
}
