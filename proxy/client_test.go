package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorded reads a request of the reference client.
func recorded(t *testing.T, name string) *request {
	t.Helper()
	head, body, _ := bytes.Cut(bytes.ReplaceAll(readFile(t, name), []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	lines := strings.Split(strings.TrimSpace(string(head)), "\n")
	return &request{line: lines[0], headers: lines[1:], body: strings.TrimSpace(string(body))}
}

func checkRequest(t *testing.T, got, want *request) {
	t.Helper()
	slices.Sort(got.headers)
	slices.Sort(want.headers)
	if got.line != want.line || !slices.Equal(got.headers, want.headers) || got.body != want.body {
		t.Errorf("sent\n%+v\nthe reference client sends\n%+v", got, want)
	}
}

// The whole web API as one login uses it: the answers are the captured ones,
// the requests must be those of the reference client byte for byte, and one
// connection carries them all.
func TestLoginReplay(t *testing.T) {
	ca := newAuthority(t, "web")
	var seen []*request
	answers := map[string]string{
		"GET /webapi/ping HTTP/1.1":               "ping.http",
		"GET /webapi/ping/local HTTP/1.1":         "ping-connector.http",
		"GET /webapi/motd HTTP/1.1":               "motd.http",
		"POST /webapi/mfa/login/begin HTTP/1.1":   "begin-ok.http",
		"POST /webapi/mfa/login/finish HTTP/1.1":  "finish-ok.http",
		"GET /webapi/ping/no%2Fsuch%3F HTTP/1.1":  "ssh-certs-gone.http",
		"GET /webapi/connectionupgrade HTTP/1.1":  "",
		"POST /webapi/github/login/console HTTP/": "",
	}
	p := startWeb(t, serverConfig(t, ca), func(r *request) []byte {
		seen = append(seen, r)
		return fixture(t, "webapi-18.3/"+answers[r.line])
	})
	c := clientFor(t, p.addr, ca.pool())
	ctx := testContext(t)

	ping, err := c.Ping(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if ping.ClusterName != "real.example.test" || ping.ServerVersion != "18.3.0" || ping.Auth.SecondFactor != "on" ||
		ping.Auth.SignatureSuite() != "balanced-v1" || ping.Auth.DefaultSessionTTL() != 12*time.Hour || ping.Auth.LocalName() != "" {
		t.Errorf("ping: %+v", ping)
	}
	if ping, err = c.Ping(ctx, "local"); err != nil || ping.Auth.LocalName() != "local" || ping.Auth.DefaultSessionTTL() != 0 {
		t.Errorf("ping of a connector: %+v, %v", ping, err)
	}
	if motd, err := c.MOTD(ctx); motd != "" || err != nil {
		t.Errorf("motd: %q, %v", motd, err)
	}

	begin := recorded(t, "webapi-18.3/begin.request")
	var beginReq BeginRequest
	if err := json.Unmarshal([]byte(begin.body), &beginReq); err != nil {
		t.Fatal(err)
	}
	challenge, err := c.LoginBegin(ctx, beginReq)
	if err != nil || !challenge.TOTP || challenge.WebAuthn != nil {
		t.Errorf("begin: %+v, %v", challenge, err)
	}

	finish := recorded(t, "webapi-18.3/finish.request")
	var finishReq FinishRequest
	if err := json.Unmarshal([]byte(finish.body), &finishReq); err != nil {
		t.Fatal(err)
	}
	finishReq.WebAuthn = nil
	answer, err := c.LoginFinish(ctx, finishReq)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Username != "fixture" || !bytes.HasPrefix(answer.Cert, []byte("ssh-ed25519-cert-v01@openssh.com ")) ||
		!bytes.HasPrefix(answer.TLSCert, []byte("-----BEGIN CERTIFICATE-----")) || len(answer.HostSigners) != 1 ||
		answer.HostSigners[0].DomainName != "real.example.test" || len(answer.HostSigners[0].CheckingKeys) != 1 || len(answer.HostSigners[0].TLSCerts) != 1 {
		t.Errorf("finish: %+v", answer)
	}
	checkRequest(t, seen[0], recorded(t, "webapi-18.3/ping.request"))
	checkRequest(t, seen[3], begin)
	checkRequest(t, seen[4], finish)

	var refused *Error
	if _, err := c.Ping(ctx, "no/such?"); !errors.As(err, &refused) || refused.Status != 404 || refused.Message != "path not found" {
		t.Errorf("%v", err)
	}
	if n := p.conns.Load(); n != 1 {
		t.Errorf("%d connections, want one for everything", n)
	}
}

func TestErrorAnswers(t *testing.T) {
	ca := newAuthority(t, "web")
	var next []byte
	p := startWeb(t, serverConfig(t, ca), func(*request) []byte { return next })
	c := clientFor(t, p.addr, ca.pool())
	for _, tt := range []struct {
		name    string
		answer  []byte
		status  int
		message string
	}{
		{"wrong password", fixture(t, "webapi-18.3/begin-bad-password.http"), 403, "invalid credentials"},
		{"14", fixture(t, "webapi-14.0/begin-bad-password.http"), 403, "invalid credentials"},
		{"unknown user", fixture(t, "webapi-18.3/begin-unknown-user.http"), 403, "invalid credentials"},
		{"bad JSON", fixture(t, "webapi-18.3/begin-bad-json.http"), 400, "request: unexpected end of JSON input"},
		{"bad code", fixture(t, "webapi-18.3/finish-bad-otp.http"), 403, "invalid username, password or second factor"},
		{"used code", fixture(t, "webapi-18.3/finish-reused-otp.http"), 403, "invalid username, password or second factor"},
		{"no keys", fixture(t, "webapi-18.3/finish-no-keys.http"), 400, "'ssh_pub_key' or 'tls_pub_key' must be set"},
		{"contexts", reply(403, `{"error":{"message":"no"},"messages":["inner","outer"],"message":"old","fields":{"a":1},"traces":[{}]}`), 403, "outer: inner: old: no"},
		{"text", reply(429, "slow down"), 429, "slow down"},
		{"nothing", reply(500, ""), 500, ""},
		{"other JSON", reply(502, `{"detail":1}`), 502, `{"detail":1}`},
		{"null", reply(500, "null"), 500, "null"},
		{"array", reply(500, "[]"), 500, "[]"},
	} {
		next = tt.answer
		_, err := c.LoginFinish(testContext(t), FinishRequest{User: "u", Password: canary, TOTPCode: canary})
		var refused *Error
		if !errors.As(err, &refused) || refused.Status != tt.status || refused.Message != tt.message || refused.Host != p.addr {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error shows the password", tt.name)
		}
	}
	// case T01, case T02: as it came in the field, visible in the text
	hostile := "no\x1b]52;c;aGk=\x07\u202e\u0085" + strings.Repeat("x", 1<<16)
	body, _ := json.Marshal(map[string]any{"error": map[string]string{"message": hostile}})
	next = reply(403, string(body))
	_, err := c.Ping(testContext(t), "")
	var refused *Error
	if !errors.As(err, &refused) || refused.Message != hostile {
		t.Fatalf("%v", err)
	}
	if shown := err.Error(); !strings.Contains(shown, `no\x1b]52;c;aGk=\a\u202e\u0085xxx`) || len(shown) > 2<<10 {
		t.Errorf("shown as %.200q, %d bytes", shown, len(shown))
	}
	if n := p.conns.Load(); n != 1 {
		t.Errorf("%d connections, want one: a refusal does not end it", n)
	}
}

// case L23
func TestSecretsAreNotShown(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	begin := BeginRequest{User: "u", Password: canary}
	finish := FinishRequest{User: "u", Password: canary, TOTPCode: canary, WebAuthn: json.RawMessage(`"` + canary + `"`)}
	for _, v := range []any{begin, &begin, finish, &finish, struct{ R FinishRequest }{finish}, []any{&begin}} {
		logger.Debug("x", "v", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if shown := fmt.Sprintf(verb, v); strings.Contains(shown, canary) || strings.Contains(shown, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s shows %s", verb, shown)
			}
		}
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log shows the password")
	}
	c := NewClient(Options{Addr: Addr{Host: "127.0.0.1", WebPort: 1, WebPortGiven: true}})
	if _, err := c.LoginFinish(testContext(t), FinishRequest{Password: "\xff"}); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a password that JSON cannot carry: %v", err)
	}
}

// The server is told nothing that it does not need: the name in SNI, no ALPN.
func TestHandshakeSaysLittle(t *testing.T) {
	ca := newAuthority(t, "web")
	cfg := serverConfig(t, ca)
	hello := make(chan []string, 1)
	cfg.GetConfigForClient = helloTo(hello)
	p := startWeb(t, cfg, func(*request) []byte { return fixture(t, "webapi-18.3/ping.http") })
	_, port, _ := strings.Cut(p.addr, ":")
	c := NewClient(Options{Addr: mustParse(t, "proxy.test:"+port), RootCAs: ca.pool(), Dial: dialTo(map[string]string{port: p.addr})})
	defer c.Close()
	if c.WebAddr() != "proxy.test:"+port || c.Host() != "proxy.test" {
		t.Errorf("%s %s", c.WebAddr(), c.Host())
	}
	if _, err := c.Ping(testContext(t), ""); err != nil {
		t.Fatal(err)
	}
	if got := <-hello; !slices.Equal(got, []string{"proxy.test"}) {
		t.Errorf("SNI and ALPN %q, want the name and no ALPN", got)
	}
}
