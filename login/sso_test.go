package login

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/proxy"
)

// browserLogin is a login that waits for its browser.
type browserLogin struct {
	t       *testing.T
	rogue   *rogue
	client  *proxy.Client
	link    string
	request map[string]any // what the console endpoint was asked
	body    string
	cancel  context.CancelCauseFunc
	done    chan struct{}
	result  *Result
	err     error
}

// ssoCase bends a login.
type ssoCase struct {
	kind    string         // github if empty
	suite   string         // balanced-v1 if empty
	logout  bool           // the connector has single logout
	console map[string]any // the proxy's answer; a page to open if nil
	request func(*Request)
	ui      func(*UI)
}

const providerPage = "https://idp.example.com/authorize?state=1"

// startSSO begins a login and returns when the browser is to be opened, or the
// login is over.
func startSSO(t *testing.T, tc ssoCase) *browserLogin {
	t.Helper()
	if tc.kind == "" {
		tc.kind = "github"
	}
	if tc.suite == "" {
		tc.suite = "balanced-v1"
	}
	if tc.console == nil {
		tc.console = map[string]any{"redirect_url": providerPage, "post_form": ""}
	}
	b := &browserLogin{t: t, rogue: new(rogue), done: make(chan struct{})}
	b.client = startRogue(t, b.rogue)
	b.rogue.ping["auth"] = map[string]any{
		"type": tc.kind, tc.kind: map[string]any{"name": "gh", "singleLogoutEnabled": tc.logout}, "private_key_policy": "none", "default_session_ttl": "8h0m0s", "signature_algorithm_suite": tc.suite,
	}
	b.rogue.finish = func(w http.ResponseWriter, _ *http.Request) {
		b.body = b.rogue.bodies[len(b.rogue.bodies)-1]
		_ = json.Unmarshal([]byte(b.body), &b.request)
		_ = json.NewEncoder(w).Encode(tc.console)
	}
	req := Request{User: "somebody", Now: func() time.Time { return testNow }}
	if tc.request != nil {
		tc.request(&req)
	}
	opened := make(chan string, 1)
	ui := UI{Browse: func(_ context.Context, link string) error { opened <- link; return nil }}
	if tc.ui != nil {
		tc.ui(&ui)
	}
	var ctx context.Context
	ctx, b.cancel = context.WithCancelCause(t.Context())
	t.Cleanup(func() { b.cancel(nil); <-b.done })
	go func() {
		defer close(b.done)
		b.result, b.err = Run(ctx, b.client, req, ui)
	}()
	select {
	case b.link = <-opened:
	case <-b.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the login hangs")
	}
	return b
}

// callback is the address that the proxy was given, with its one parameter.
func (b *browserLogin) callback() (address, secret string) {
	u, err := url.Parse(b.request["redirect_url"].(string))
	must(b.t, err)
	return "http://" + u.Host + u.Path, u.Query().Get("secret_key")
}

// seal closes a text as the proxy does.
func (b *browserLogin) seal(plaintext []byte) string {
	_, secret := b.callback()
	key, err := hex.DecodeString(secret)
	must(b.t, err)
	block, err := aes.NewCipher(key)
	must(b.t, err)
	gcm, err := cipher.NewGCM(block)
	must(b.t, err)
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce)
	sealed, err := json.Marshal(map[string][]byte{"ciphertext": gcm.Seal(nil, nonce, plaintext, nil), "nonce": nonce})
	must(b.t, err)
	return string(sealed)
}

// answer is a good answer for user, sealed.
func (b *browserLogin) answer(user string) string {
	var keys map[string]any
	must(b.t, json.Unmarshal([]byte(b.body), &keys))
	keys["user"] = user
	body, err := json.Marshal(keys)
	must(b.t, err)
	plaintext, err := json.Marshal(b.rogue.sign(b.t, string(body)))
	must(b.t, err)
	return b.seal(plaintext)
}

// browser follows no redirect: it tells where they lead.
func browser() *http.Client {
	return &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask makes one request of a browser.
func (b *browserLogin) ask(method, address, body string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	must(b.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	answer, err := browser().Do(req)
	must(b.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(b.t, err)
	return answer, string(text)
}

// goesOn fails the test if the login is over.
func (b *browserLogin) goesOn() {
	b.t.Helper()
	select {
	case <-b.done:
		b.t.Fatalf("the login is over: %v", b.err)
	default:
	}
}

// finish brings a good answer and expects the login to take it.
func (b *browserLogin) finish() {
	b.t.Helper()
	address, _ := b.callback()
	// Clusters of version 14 leave two empty parameters behind.
	answer, _ := b.ask("GET", address+"?"+url.Values{"response": {b.answer("bob")}, "secret": {""}, "secret_key": {""}}.Encode(), "")
	<-b.done
	if b.err != nil || answer.StatusCode != 302 || b.result.Identity.User != "bob" {
		b.t.Fatalf("%v, %s", b.err, answer.Status)
	}
}

func TestSSOLogin(t *testing.T) {
	for _, kind := range []string{"github", "oidc", "saml"} {
		t.Run(kind, func(t *testing.T) {
			b := startSSO(t, ssoCase{kind: kind, request: func(r *Request) { r.TTL = time.Hour }})
			address, secret := b.callback()
			for name, want := range map[string]any{
				"connector_id": "gh", "cert_ttl": 3.6e12, "RouteToCluster": "", "KubernetesCluster": "", "client_version": "18.3.0", "public_key": nil,
			} {
				if b.request[name] != want {
					t.Errorf("%s is %v, want %v", name, b.request[name], want)
				}
			}
			// case L07: what must not be guessed has 256 bits.
			if verifier, _ := b.request["PKCEVerifier"].(string); !regexp.MustCompile(`^[\w-]{43}$`).MatchString(verifier) {
				t.Errorf("PKCEVerifier %q", verifier)
			}
			if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(secret) || !strings.HasSuffix(address, "/callback") {
				t.Errorf("redirect_url %v", b.request["redirect_url"])
			}
			if !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/[\w-]{43}$`).MatchString(b.link) || strings.Contains(b.link, secret) {
				t.Errorf("link %s", b.link)
			}
			start, _ := b.ask("GET", b.link, "")
			if start.StatusCode != 302 || start.Header.Get("Location") != providerPage {
				t.Errorf("the link leads to %s %s", start.Status, start.Header.Get("Location"))
			}
			end, body := b.ask("POST", address, url.Values{"response": {b.answer("bob")}}.Encode())
			// case L06: the browser ends on the proxy's page, and nothing of what came is in it.
			if end.StatusCode != 302 || end.Header.Get("Location") != "https://"+b.client.WebAddr()+"/web/msg/info/login_success" || body != "" {
				t.Errorf("the answer leads to %s %s %s", end.Status, end.Header.Get("Location"), body)
			}
			<-b.done
			if b.err != nil || b.result.Identity.User != "bob" {
				t.Fatalf("%+v, %v", b.result, b.err)
			}
			if got, want := strings.Join(b.rogue.asked, " "), "/webapi/ping /webapi/"+kind+"/login/console"; got != want {
				t.Errorf("the proxy was asked %s, want %s", got, want)
			}
		})
	}
}

// A cluster of version 14 takes one key, under another name.
func TestSSOWithOneKey(t *testing.T) {
	b := startSSO(t, ssoCase{suite: "legacy"})
	if b.request["public_key"] == nil || b.request["public_key"] != b.request["ssh_pub_key"] {
		t.Errorf("public_key %v, ssh_pub_key %v", b.request["public_key"], b.request["ssh_pub_key"])
	}
}

// Whether the identity provider can be told of a logout is known from the ping, or
// from the answer, and of SAML alone.
func TestSSOSingleLogout(t *testing.T) {
	for _, tc := range []struct {
		kind             string
		pinged, answered bool
		want             bool
	}{
		{"saml", true, false, true}, {"saml", false, true, true}, {"saml", false, false, false}, {"oidc", true, false, false},
	} {
		b := startSSO(t, ssoCase{kind: tc.kind, logout: tc.pinged})
		var keys map[string]any
		must(t, json.Unmarshal([]byte(b.body), &keys))
		keys["user"] = "bob"
		body, err := json.Marshal(keys)
		must(t, err)
		answer := b.rogue.sign(t, string(body))
		answer["samlSingleLogoutEnabled"] = tc.answered
		plaintext, err := json.Marshal(answer)
		must(t, err)
		address, _ := b.callback()
		b.ask("GET", address+"?"+url.Values{"response": {b.seal(plaintext)}}.Encode(), "")
		<-b.done
		if b.err != nil || b.result.SingleLogout != tc.want {
			t.Errorf("%+v: %+v, %v", tc, b.result, b.err)
		}
	}
}

// Whatever comes that the proxy has not made changes nothing.
func TestForgedCallbacks(t *testing.T) {
	b := startSSO(t, ssoCase{})
	address, secret := b.callback()
	_, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/callback"))
	must(t, err)
	zeros := strings.Repeat("0", 64)
	good := b.answer("bob")
	flipped := strings.Replace(good, `"nonce":"`, `"nonce":"AAAA`, 1)
	bad := func(ciphertext, nonce []byte) string {
		sealed, _ := json.Marshal(map[string][]byte{"ciphertext": ciphertext, "nonce": nonce})
		return "?" + url.Values{"response": {string(sealed)}}.Encode()
	}
	huge := strings.Repeat("x", maxBrowserForm+1)
	for _, tc := range []struct {
		name, method, where, body string
		headers                   []string
		want                      int
	}{
		{"case L01: err", "GET", "?err=canary", "", nil, 403},
		{"case L01: err with another secret", "GET", "?err=canary&secret_key=" + zeros, "", nil, 403},
		{"case L01: err with the secret twice", "GET", "?err=canary&secret_key=" + secret + "&secret_key=" + secret, "", nil, 403},
		{"case L01: err as a form", "POST", "", "err=canary&secret_key=" + zeros, nil, 403},
		{"case L01: the secret alone", "GET", "?secret_key=" + secret, "", nil, 403},
		{"case L01: nothing", "GET", "", "", nil, 403},
		{"case L01: another path", "GET", "/canary", "", nil, 404},
		{"case L01: a path that is nearly it", "GET", "%2f", "", nil, 404},
		{"case L01: a query that is none", "GET", "?%zz=canary", "", nil, 403},
		{"case L02: another host", "GET", "?err=x&secret_key=" + secret, "", []string{"Host", "evil.example:" + port}, 421},
		{"case L02: the host without the port", "GET", "?err=x&secret_key=" + secret, "", []string{"Host", "127.0.0.1"}, 421},
		{"case L02: another host on the short link", "GET", "\x00link", "", []string{"Host", "evil.example"}, 421},
		{"case L03: preflight", "OPTIONS", "", "", []string{"Origin", "https://evil.example", "Access-Control-Request-Private-Network", "true"}, 200},
		{"case L03: another method", "PUT", "", "a=b", nil, 405},
		{"case L03: HEAD", "HEAD", "", "", nil, 405},
		{"case L03: from another origin", "GET", "?err=canary", "", []string{"Origin", "https://evil.example", "Sec-Fetch-Mode", "cors"}, 403},
		{"case L05: nonce of 11 bytes", "GET", bad(make([]byte, 64), make([]byte, 11)), "", nil, 403},
		{"case L05: nonce of 13 bytes", "GET", bad(make([]byte, 64), make([]byte, 13)), "", nil, 403},
		{"case L05: no nonce", "GET", bad(make([]byte, 64), nil), "", nil, 403},
		{"case L05: a tag that is wrong", "GET", bad(make([]byte, 64), make([]byte, 12)), "", nil, 403},
		{"case L05: no ciphertext", "GET", bad(nil, make([]byte, 12)), "", nil, 403},
		{"case L05: a good answer with another nonce", "GET", "?" + url.Values{"response": {flipped}}.Encode(), "", nil, 403},
		{"case L05: no JSON", "GET", "?response=canary", "", nil, 403},
		{"case L05: a form that is too long", "POST", "", "response=" + huge, nil, 413},
		{"case L05: multipart", "POST", "", "canary", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		{"case L05: a head that is too long", "GET", "?response=" + huge, "", nil, 431},
		{"case L10: the short link is not used up by asking how", "HEAD", "\x00link", "", nil, 405},
		{"case L10: nor by a browser that looks ahead", "GET", "\x00link", "", []string{"Sec-Purpose", "prefetch;prerender"}, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			where := address + tc.where
			if tc.where == "\x00link" {
				where = b.link
			}
			status, header, body := rawAsk(t, b, tc.method, where, tc.body, tc.headers)
			if status != tc.want || strings.Contains(body, "canary") {
				t.Errorf("%d %s, want %d", status, body, tc.want)
			}
			for name := range header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s: %s", name, header.Get(name))
				}
			}
			if status != 200 && !strings.HasPrefix(header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("policy %q", header.Get("Content-Security-Policy"))
			}
			b.goesOn()
		})
	}
	b.finish()
}

// rawAsk is ask for requests that the server may answer, and hang up on, before
// they are through.
func rawAsk(t *testing.T, b *browserLogin, method, where, body string, headers []string) (int, http.Header, string) {
	t.Helper()
	if len(body) <= maxBrowserForm && len(where) <= maxBrowserHead {
		answer, text := b.ask(method, where, body, headers...)
		return answer.StatusCode, answer.Header, text
	}
	u, err := url.Parse(where)
	must(t, err)
	c := &callback{hosts: []string{u.Host}, secret: make([]byte, 32), outcome: make(chan outcome, 1)}
	request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", method, u.RequestURI(), u.Host, len(body), body)
	answer := answerTo(t, c, []byte(request))
	return answer.StatusCode, answer.Header, ""
}

// case L05: a form of 100 MB is refused when it is announced, or when there is too
// much of it; nothing of that size is ever held.
func TestHugeForms(t *testing.T) {
	const head = "POST /callback HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	chunk := "10000\r\n" + strings.Repeat("x", 0x10000) + "\r\n"
	for name, request := range map[string]string{
		"announced": head + "Content-Length: 104857600\r\n\r\nresponse=x",
		"in chunks": head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 1600),
	} {
		conn := &onceConn{in: bytes.NewReader([]byte(request))}
		(&answerer{handle: func(*http.Request, url.Values) reply { t.Error("it was handled"); return reply{} }}).answer(conn)
		if !strings.HasPrefix(conn.out.String(), "HTTP/1.1 413 ") {
			t.Errorf("%s: %.80s", name, conn.out.String())
		}
		if read := len(request) - conn.in.Len(); read > maxBrowserForm+64<<10 {
			t.Errorf("%s: %d bytes were read", name, read)
		}
	}
}

// case L05: a head of nothing but short lines, which takes twenty times its size, is
// refused after a few of them.
func TestManyHeaderLines(t *testing.T) {
	var head strings.Builder
	head.WriteString("GET /callback HTTP/1.1\r\nHost: h\r\n")
	for i := range 200_000 {
		fmt.Fprintf(&head, "%x:\n", i)
	}
	conn := &onceConn{in: bytes.NewReader([]byte(head.String() + "\r\n"))}
	(&answerer{handle: func(*http.Request, url.Values) reply { t.Error("it was handled"); return reply{} }}).answer(conn)
	if read := head.Len() - conn.in.Len(); read > 16<<10 || !strings.HasPrefix(conn.out.String(), "HTTP/1.1 431 ") {
		t.Errorf("%d bytes were read: %.80s", read, conn.out.String())
	}
}

// case L01: any number of tries. Each is turned away; the login is then as good as new.
func TestManyForgedCallbacks(t *testing.T) {
	b := startSSO(t, ssoCase{})
	address, secret := b.callback()
	c := newCallback(strings.TrimSuffix(address, "/callback"), nil, pages{})
	for i := range 100_000 {
		u := &url.URL{Path: "/callback", RawQuery: fmt.Sprintf("err=x&secret_key=%064x", i)}
		if answer := c.take(u, nil); answer.status != 403 || answer.last != nil {
			t.Fatalf("try %d: %d", i, answer.status)
		}
	}
	for range 300 {
		if answer, _ := b.ask("GET", address+"?err=x&secret_key="+strings.ToUpper(secret[:63])+"g", ""); answer.StatusCode != 403 {
			t.Fatal(answer.Status)
		}
	}
	// Connections that say nothing do not keep the browser out.
	host := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/callback")
	for range 3 * maxBrowserConns {
		conn, err := net.Dial("tcp", host)
		must(t, err)
		defer conn.Close()
	}
	b.finish()
}

// case L04: an answer counts once; then nobody listens any more.
func TestAnswerCountsOnce(t *testing.T) {
	b := startSSO(t, ssoCase{})
	address, _ := b.callback()
	host := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/callback")
	idle, err := net.Dial("tcp", host)
	must(t, err)
	defer idle.Close()
	b.finish()
	if conn, err := net.Dial("tcp", host); err == nil {
		_ = conn.Close()
		t.Error("the listener is still there")
	}
	_ = idle.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("another connection goes on: %v", err)
	}
	// And the one who comes in the same moment gets nothing.
	c := newCallback("http://127.0.0.1:1", nil, pages{})
	c.judge = func([]byte) error { return nil }
	b.request["redirect_url"] = c.address()
	query := &url.URL{RawQuery: url.Values{"response": {b.seal([]byte("{}"))}}.Encode()}
	if first, second := c.take(query, nil), c.take(query, nil); first.status != 302 || second.status != 403 {
		t.Errorf("%d, then %d", first.status, second.status)
	}
}

// case L10: the short link works once.
func TestLinkWorksOnce(t *testing.T) {
	b := startSSO(t, ssoCase{})
	if answer, _ := b.ask("GET", b.link, ""); answer.StatusCode != 302 {
		t.Error(answer.Status)
	}
	if answer, body := b.ask("GET", b.link, ""); answer.StatusCode != 410 || answer.Header.Get("Location") != "" || !strings.Contains(body, "works once") {
		t.Errorf("%s %s", answer.Status, body)
	}
	b.finish()
}

// The proxy's word that a login has failed ends it, with a text that is safe to show.
func TestRefusedInTheBrowser(t *testing.T) {
	for _, tc := range []struct {
		text, want string
		is         error
	}{
		{"no role\n\tfor you", "browser login on HOST: no role\n    \tfor you", nil},
		{"\x1b[2Jgone\u202e", `browser login on HOST: \x1b[2Jgone\u202e`, nil}, // case L01
		{"", "browser login on HOST: the proxy says no, and not why", nil},
		{"private key policy not met: hardware_key_touch", "private key policy not met: hardware_key_touch", ErrUnsupported}, // case L27
	} {
		for _, method := range []string{"GET", "POST"} {
			b := startSSO(t, ssoCase{})
			address, secret := b.callback()
			values := url.Values{"err": {tc.text}, "secret_key": {secret}}.Encode()
			var answer *http.Response
			if method == "GET" {
				answer, _ = b.ask("GET", address+"?"+values, "")
			} else {
				answer, _ = b.ask("POST", address+"?secret_key="+secret, url.Values{"err": {tc.text}}.Encode())
			}
			<-b.done
			var refused *proxy.Error
			switch want := strings.ReplaceAll(tc.want, "HOST", b.client.WebAddr()); {
			case b.err == nil || !strings.Contains(b.err.Error(), want):
				t.Errorf("%q: %v, want %s", tc.text, b.err, want)
			case tc.is != nil && !errors.Is(b.err, tc.is), tc.is == nil && !errors.As(b.err, &refused):
				t.Errorf("%q: error of the wrong kind: %v", tc.text, b.err)
			case strings.Contains(b.err.Error(), secret):
				t.Errorf("the error holds the secret: %v", b.err)
			}
			if answer.Header.Get("Location") != "https://"+b.client.WebAddr()+"/web/msg/error/login" {
				t.Errorf("the browser ends on %q", answer.Header.Get("Location"))
			}
		}
	}
}

// What the proxy has sealed and must not be used ends the login, and the browser
// is told that it failed.
func TestSealedAnswersAreJudged(t *testing.T) {
	for name, answer := range map[string]func(*browserLogin) string{
		"case L13: a user above":                  func(b *browserLogin) string { return b.answer("../mallory") },
		"case L13: a user with a separator":       func(b *browserLogin) string { return b.answer(`a\b`) },
		"case L13: a user that is a device":       func(b *browserLogin) string { return b.answer("CON") },
		"case L13: a user with a NUL":             func(b *browserLogin) string { return b.answer("a\x00b") },
		"case L13: a user of 5 KB":                func(b *browserLogin) string { return b.answer(strings.Repeat("a", 5000)) },
		"case L13: no user":                       func(b *browserLogin) string { return b.answer("") },
		"case L14: no certificates":               func(b *browserLogin) string { return b.seal([]byte(`{"username":"bob"}`)) },
		"case L05: something else than an answer": func(b *browserLogin) string { return b.seal([]byte(`[]`)) },
		"case L05: nothing":                       func(b *browserLogin) string { return b.seal(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			b := startSSO(t, ssoCase{})
			address, _ := b.callback()
			page, _ := b.ask("GET", address+"?"+url.Values{"response": {answer(b)}}.Encode(), "")
			<-b.done
			if !errors.Is(b.err, ErrRejected) || !strings.HasSuffix(page.Header.Get("Location"), "/web/msg/error/login") {
				t.Errorf("%v; the browser ends on %s", b.err, page.Header.Get("Location"))
			}
		})
	}
}

// case L11: a browser is sent to https, or to this machine, and nowhere else.
func TestHostileStarts(t *testing.T) {
	for _, target := range []string{
		"file:///etc/passwd", "javascript:alert(1)", "ssh://host", `\\host\share`, "-oProxyCommand=x", "--help", "//host/x", "/relative", "https:opaque", "https:///x", "https://:443/x",
		"http://idp.example.com/", "http://127.0.0.1.example.com/", "http://localhost/", "https://user:pass@idp.example.com/", "https://idp.example.com/\r\nSet-Cookie: a=b", "https://idp.example.com/\x00",
		"https://idp.example.com/\u202e", "https://idp.example.com/a b", `https://idp.example.com/"`, "HTTPS\x1b://x", "https://idp.example.com/" + strings.Repeat("a", 900_000), " https://idp.example.com/",
	} {
		b := startSSO(t, ssoCase{console: map[string]any{"redirect_url": target}})
		<-b.done
		if b.err == nil || b.link != "" || strings.ContainsAny(b.err.Error(), "\x00\x1b\r\n") || len(b.err.Error()) > 500 {
			t.Errorf("%.60q: opened %q, error %.200v", target, b.link, b.err)
		}
	}
	for _, target := range []string{"https://idp.example.com:8443/x?y=z%20%0a", "http://127.0.0.1:8080/x", "http://[::1]:8080/x", "HTTPS://idp.example.com"} {
		b := startSSO(t, ssoCase{console: map[string]any{"redirect_url": target}})
		if b.link == "" {
			t.Errorf("%s: %v", target, b.err)
		}
	}
	for name, console := range map[string]map[string]any{
		"neither":            {"redirect_url": "", "post_form": ""},
		"no base64":          {"redirect_url": "", "post_form": "<form>"},
		"a form of a MB":     {"post_form": make([]byte, 600_000)},
		"a script to no end": {"post_form": []byte("<form></form><script>x")},
		"a tag to no end":    {"post_form": []byte("<form></form><script")},
		"many scripts":       {"post_form": []byte(strings.Repeat("<script>x</script>", 5))},
	} {
		b := startSSO(t, ssoCase{kind: "saml", console: console})
		if b.link != "" || b.err == nil {
			t.Errorf("%s: opened %q, error %v", name, b.link, b.err)
		}
	}
}

// A SAML login can begin with a form: only its script runs, and the form goes to
// https. The hash is that of the script which the reference server sends.
func TestPostForm(t *testing.T) {
	const script = `document.getElementById('SAMLSubmitButton').style.visibility="hidden";document.getElementById('SAMLRequestForm').submit();`
	form := `<form method="post" action="https://idp.example.com/sso" id="SAMLRequestForm"><input type="hidden" name="SAMLRequest" value="PD94"/></form><SCRIPT>` + script + `</SCRIPT>`
	b := startSSO(t, ssoCase{kind: "saml", console: map[string]any{"post_form": base64.StdEncoding.EncodeToString([]byte(form))}})
	answer, body := b.ask("GET", b.link, "")
	policy := answer.Header.Get("Content-Security-Policy")
	if answer.StatusCode != 200 || !strings.Contains(body, form) {
		t.Errorf("%s %s", answer.Status, body)
	}
	for _, want := range []string{
		"default-src 'none';", "script-src 'sha256-AjPdJSbZmeWHnEc5ykvJFay8FTWeTeRbs9dutfZ0HqE=';", "base-uri 'none';", "frame-ancestors 'none';",
		"object-src 'none';", "img-src 'none';", "style-src 'none';", "form-action https:",
	} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	b.finish()
}

// The wait ends with the person's patience, at once, or with ours.
func TestWaitEnds(t *testing.T) {
	enough := errors.New("enough")
	b := startSSO(t, ssoCase{})
	b.cancel(enough)
	<-b.done
	if !errors.Is(b.err, enough) {
		t.Errorf("error %v", b.err)
	}
	address, _ := b.callback()
	if _, err := browser().Get(address); err == nil {
		t.Error("the listener is still there")
	}
	testOnlyPatience = time.Millisecond
	defer func() { testOnlyPatience = 0 }()
	b = startSSO(t, ssoCase{})
	<-b.done
	if !errors.Is(b.err, ErrNoAnswer) {
		t.Errorf("error %v", b.err)
	}
}

// Where the listener is, and where browsers are told that it is.
func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for _, tc := range []struct {
		name, bind, callback string
		base                 string // pattern
		hosts                string
		err                  string
	}{
		{name: "any port of this machine", base: `^http://127\.0\.0\.1:\d+$`},
		{name: "a name of this machine", bind: "localhost:0", base: `^http://(127\.0\.0\.1|\[::1\]):\d+$`},
		{name: "case L08: all interfaces", bind: "0.0.0.0:0", err: "not of this machine alone"},
		{name: "case L08: all interfaces, with a port alone", bind: ":0", err: "not of this machine alone"},
		{name: "case L08: all interfaces of IPv6", bind: "[::]:0", err: "not of this machine alone"},
		{name: "case L08: another address", bind: "192.0.2.1:0", err: "not of this machine alone"},
		{name: "case L08: said on purpose", bind: "0.0.0.0:0", callback: "login.example.com", base: `^https://login\.example\.com$`, hosts: "login.example.com"},
		{name: "a callback with a port", bind: "127.0.0.1:0", callback: "http://Box:8080/", base: `^http://Box:8080$`, hosts: "box:8080"},
		{name: "the port that https has anyway", bind: "127.0.0.1:0", callback: "https://login.example.com:443", base: `^https://login\.example\.com$`, hosts: "login.example.com"},
		{name: "the port that http has anyway", bind: "127.0.0.1:0", callback: "http://[2001:db8::1]:80", base: `^http://\[2001:db8::1\]$`, hosts: "[2001:db8::1]"},
		{name: "the port of the other scheme", bind: "127.0.0.1:0", callback: "http://x:443", base: `^http://x:443$`, hosts: "x:443"},
		{name: "a callback with a path", bind: "127.0.0.1:0", callback: "https://x/y", err: "is not https://HOST"},
		{name: "a callback with a user", bind: "127.0.0.1:0", callback: "https://u@x", err: "is not https://HOST"},
		{name: "a callback of another scheme", bind: "127.0.0.1:0", callback: "ftp://x", err: "is not https://HOST"},
		{name: "no port", bind: "127.0.0.1", err: "is not host:port"},
		{name: "case L09: a port that is taken", bind: taken.Addr().String(), err: "in use"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, base, hosts, err := listen(t.Context(), tc.bind, tc.callback)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) && !(tc.err == "in use" && errors.As(err, new(*net.OpError))) {
					t.Fatalf("error %v, want %s", err, tc.err)
				}
				return
			}
			must(t, err)
			defer l.Close()
			if !regexp.MustCompile(tc.base).MatchString(base) || tc.hosts != "" && hosts[len(hosts)-1] != tc.hosts {
				t.Errorf("base %s, hosts %v", base, hosts)
			}
		})
	}
}

// A login that nobody can be asked about, or that the person refuses, sends nothing.
func TestSSONeedsABrowser(t *testing.T) {
	refusal := errors.New("no")
	for name, tc := range map[string]ssoCase{
		"no browser":  {ui: func(u *UI) { u.Browse = nil }},
		"nobody asks": {request: func(r *Request) { r.CallbackURL = "https://x" }},
		"the person says no": {request: func(r *Request) { r.CallbackURL = "https://x" }, ui: func(u *UI) {
			u.Expose = func(context.Context, string) error { return refusal }
		}},
	} {
		b := startSSO(t, tc)
		<-b.done
		if !errors.Is(b.err, ErrCannotAsk) && !errors.Is(b.err, refusal) || len(b.rogue.asked) > 1 {
			t.Errorf("%s: %v; asked %v", name, b.err, b.rogue.asked)
		}
	}
}
