package devcluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// headlessCall is a headless login under way.
type headlessCall struct {
	login
	id     string
	answer chan *http.Response
	body   []byte
}

func (f *fixture) startHeadless(user string, change func(map[string]any)) *headlessCall {
	f.t.Helper()
	h := &headlessCall{answer: make(chan *http.Response, 1)}
	body := finishBody(f.t, &h.login, func(m map[string]any) {
		delete(m, "password")
		delete(m, "webauthn_challenge_response")
		h.id = headlessID(m["ssh_pub_key"].([]byte))
		m["user"], m["headless_id"] = user, h.id
		if change != nil {
			change(m)
		}
	})
	go func() {
		var resp *http.Response
		resp, h.body = f.do(http.MethodPost, "/webapi/headless/login", body)
		h.answer <- resp
	}()
	return h
}

// status waits for the answer.
func (h *headlessCall) status(t *testing.T) int {
	t.Helper()
	select {
	case resp := <-h.answer:
		return resp.StatusCode
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
		return 0
	}
}

func callHeadless(t *testing.T, cc *grpc.ClientConn, id string) (*pb.HeadlessAuthentication, error) {
	t.Helper()
	reply := new(pb.HeadlessAuthentication)
	return reply, cc.Invoke(t.Context(), "/proto.AuthService/GetHeadlessAuthentication", &pb.GetHeadlessAuthenticationRequest{Id: id}, reply)
}

func updateHeadless(t *testing.T, cc *grpc.ClientConn, id string, state headlessState, answer *pb.MFAAuthenticateResponse) error {
	t.Helper()
	req := &pb.UpdateHeadlessAuthenticationStateRequest{Id: id, State: int32(state), MfaResponse: answer}
	return cc.Invoke(t.Context(), "/proto.AuthService/UpdateHeadlessAuthenticationState", req, new(pb.Empty))
}

// touched is the answer of alice's key to a challenge of a scope.
func (f *fixture) touched(k *softkey.Key, scope challengeScope) []byte {
	f.t.Helper()
	u, err := f.userByName("alice")
	if err != nil {
		f.t.Fatal(err)
	}
	opts, err := f.beginAssertion(u, scope)
	if err != nil {
		f.t.Fatal(err)
	}
	challenge, err := json.Marshal(opts.json())
	if err != nil {
		f.t.Fatal(err)
	}
	answer, err := k.Get(f.origin(), challenge)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer
}

func (f *fixture) touchedMessage(k *softkey.Key, scope challengeScope) *pb.MFAAuthenticateResponse {
	f.t.Helper()
	parsed, err := parseAssertionResponse(f.touched(k, scope))
	if err != nil {
		f.t.Fatal(err)
	}
	r := parsed.Response
	return &pb.MFAAuthenticateResponse{Response: &pb.MFAAuthenticateResponse_Webauthn{Webauthn: &pb.CredentialAssertionResponse{
		Type: "public-key", RawId: parsed.RawID, Response: &pb.AuthenticatorAssertionResponse{
			ClientDataJson: r.ClientDataJSON, AuthenticatorData: r.AuthenticatorData, Signature: r.Signature,
		},
	}}}
}

func startHeadlessCluster(t *testing.T) (*fixture, *softkey.Key) {
	t.Helper()
	f := startCluster(t, func(cfg *Config) { cfg.SecondFactor = factorOn })
	k := new(softkey.Key)
	f.register(k, "blue key", false)
	return f, k
}

// What is issued is short, and says by which device it was approved.
func TestHeadlessApproved(t *testing.T) {
	f, k := startHeadlessCluster(t)
	cc := f.auth(f.login(nil))
	h := f.startHeadless("alice", nil)
	seen, err := callHeadless(t, cc, h.id)
	if err != nil {
		t.Fatal(err)
	}
	if seen.User != "alice" || seen.State != int32(headlessPending) || seen.Header.Metadata.Name != h.id ||
		!strings.HasPrefix(seen.ClientIpAddress, "127.0.0.1:") || headlessID(seen.SshPublicKey) != h.id {
		t.Errorf("%v", seen)
	}
	if err := updateHeadless(t, cc, h.id, headlessApproved, f.touchedMessage(k, scopeHeadless)); err != nil {
		t.Fatal(err)
	}
	if got := h.status(t); got != 200 {
		t.Fatalf("%d: %s", got, h.body)
	}
	if err := json.Unmarshal(h.body, &h.resp); err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(h.resp.Cert)
	if err != nil {
		t.Fatal(err)
	}
	cert, tlsCert := key.(*ssh.Certificate), parseCert(t, h.resp.TLSCert)
	if left := time.Unix(int64(cert.ValidBefore), 0).Sub(f.clock.Now()); left != time.Minute || !tlsCert.NotAfter.Equal(f.clock.Now().Add(time.Minute)) {
		t.Errorf("the certificates last %v", left)
	}
	if got := cert.Extensions["mfa-verified"]; got != "blue key" {
		t.Errorf("approved by %q", got)
	}
	var approvedBy any
	for _, name := range tlsCert.Subject.Names {
		if name.Type.Equal(identityOID(attrMFAVerified)) {
			approvedBy = name.Value
		}
	}
	if approvedBy != "blue key" {
		t.Errorf("the TLS certificate is approved by %v", approvedBy)
	}
	// It has been decided: nobody decides again.
	for _, state := range []headlessState{headlessApproved, headlessDenied} {
		if err := updateHeadless(t, cc, h.id, state, f.touchedMessage(k, scopeHeadless)); status.Code(err) != codes.PermissionDenied {
			t.Errorf("state %d again: %v", state, err)
		}
	}
}

// A yes takes a security key that was touched for that; a no takes nothing; and nobody
// but the user has a say.
func TestHeadlessDecisions(t *testing.T) {
	f, k := startHeadlessCluster(t)
	f.headless.look = 50 * time.Millisecond
	if _, err := f.AddUser(UserSpec{Name: "bob", Password: "canary-bob", Roles: []string{"access"}}); err != nil {
		t.Fatal(err)
	}
	cc := f.auth(f.login(nil))
	h := f.startHeadless("alice", nil)
	f.headless.look = headlessLook
	if _, err := callHeadless(t, cc, h.id); err != nil {
		t.Fatal(err)
	}
	f.headless.look = 50 * time.Millisecond
	code := &pb.MFAAuthenticateResponse{Response: &pb.MFAAuthenticateResponse_Totp{Totp: &pb.TOTPResponse{Code: f.code()}}}
	for name, tc := range map[string]struct {
		state  headlessState
		answer *pb.MFAAuthenticateResponse
		want   codes.Code
	}{
		"without a second factor":     {headlessApproved, nil, codes.InvalidArgument},
		"with a one-time code":        {headlessApproved, code, codes.InvalidArgument},
		"with a key, for a login":     {headlessApproved, f.touchedMessage(k, scopeLogin), codes.PermissionDenied},
		"back to pending":             {headlessPending, nil, codes.InvalidArgument},
		"a state that does not exist": {9, nil, codes.InvalidArgument},
	} {
		if err := updateHeadless(t, cc, h.id, tc.state, tc.answer); status.Code(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.denyHeadless("bob", h.id); !errors.Is(err, errHeadlessUnknown) {
		t.Errorf("bob denies it: %v", err)
	}
	if _, err := f.headless.get(t.Context(), "bob", h.id, f.now); !errors.Is(err, errHeadlessUnknown) {
		t.Errorf("bob sees it: %v", err)
	}
	if _, err := callHeadless(t, cc, "54519721-945e-5d87-bd76-494ca02368b8"); status.Code(err) != codes.NotFound {
		t.Errorf("an id that nobody has: %v", err)
	}
	if err := updateHeadless(t, cc, h.id, headlessDenied, nil); err != nil {
		t.Fatal(err)
	}
	if got := h.status(t); got != 403 || errorText(t, h.body) != textHeadlessDenied {
		t.Errorf("%d: %s", got, h.body)
	}
}

func TestHeadlessRequestsThatAreRefused(t *testing.T) {
	f, _ := startHeadlessCluster(t)
	for name, change := range map[string]func(map[string]any){
		"no id":          func(m map[string]any) { delete(m, "headless_id") },
		"another key's":  func(m map[string]any) { m["headless_id"] = "54519721-945e-5d87-bd76-494ca02368b8" },
		"no SSH key":     func(m map[string]any) { delete(m, "ssh_pub_key") },
		"no user":        func(m map[string]any) { m["user"] = "" },
		"strange format": func(m map[string]any) { m["compatibility"] = "xml" },
		"a leaf":         func(m map[string]any) { m["RouteToCluster"] = "leaf" },
	} {
		if got := f.startHeadless("alice", change).status(t); got != 400 {
			t.Errorf("%s: status %d", name, got)
		}
	}
}

// Nobody looks at it, or the one who asks goes away: nothing is left of it.
func TestHeadlessRequestsEnd(t *testing.T) {
	f := startCluster(t, func(cfg *Config) { cfg.SecondFactor, cfg.HeadlessWait = factorOn, 200*time.Millisecond })
	for _, user := range []string{"alice", "nobody"} {
		if got := f.startHeadless(user, nil).status(t); got != 504 {
			t.Errorf("%s: status %d", user, got)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	f.headless.notice("alice", f.now())
	go func() {
		_, err := f.headless.submit(ctx, headlessLogin{id: "x", user: "alice"}, f.now)
		gone <- err
	}()
	err := f.headless.await(t.Context(), func() bool { return f.headless.owned("alice", "x", f.now()) != nil })
	if err != nil {
		t.Fatal(err)
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if f.headless.owned("alice", "x", f.now()) != nil {
		t.Error("the request is still there")
	}
}

// Whoever watches learns of requests as they come and go.
func TestWatchHeadless(t *testing.T) {
	f, _ := startHeadlessCluster(t)
	cc := f.auth(f.login(nil))
	stream, err := cc.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/proto.AuthService/WatchPendingHeadlessAuthentications")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.SendMsg(new(pb.Empty)), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	var h *headlessCall
	for _, want := range []int32{eventInit, eventPut, eventDelete} {
		event := new(pb.HeadlessEvent)
		if err := stream.RecvMsg(event); err != nil {
			t.Fatal(err)
		}
		if event.Type != want || want != eventInit && event.Header.Metadata.Name != h.id {
			t.Fatalf("%v, want type %d", event, want)
		}
		switch want {
		case eventInit:
			h = f.startHeadless("alice", nil)
		case eventPut:
			if err := f.denyHeadless("alice", h.id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := h.status(t); got != 403 {
		t.Errorf("status %d", got)
	}
}

// tab is a browser's session.
type tab struct {
	f      *fixture
	cookie *http.Cookie
	token  string
}

// call makes a call with what the tab has of cookie and token.
func (b *tab) call(method, path, body string) (int, []byte) {
	b.f.t.Helper()
	req, err := http.NewRequest(method, "https://"+b.f.PublicAddr()+path, strings.NewReader(body))
	if err != nil {
		b.f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if b.cookie != nil {
		req.AddCookie(b.cookie)
	}
	if b.token != "" {
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	resp, err := b.f.webClient().Do(req)
	if err != nil {
		b.f.t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		b.cookie = c
	}
	raw := new(strings.Builder)
	if _, err := io.Copy(raw, resp.Body); err != nil {
		b.f.t.Fatal(err)
	}
	var answer webSessionAnswer
	if json.Unmarshal([]byte(raw.String()), &answer) == nil && answer.Token != "" {
		b.token = answer.Token
	}
	return resp.StatusCode, []byte(raw.String())
}

// Both ways to sign in, and what a session is needed for.
func TestHeadlessOnTheWeb(t *testing.T) {
	f, k := startHeadlessCluster(t)
	f.headless.look = 10 * time.Second
	b := &tab{f: f}
	for _, body := range []string{
		`{"user":"alice","pass":"` + alicePassword + `"}`,
		`{"user":"alice","pass":"wrong","second_factor_token":"` + f.code() + `"}`,
	} {
		if got, raw := b.call("POST", "/webapi/sessions/web", body); got != 403 || errorText(t, raw) != textInvalid {
			t.Errorf("%d: %s", got, raw)
		}
	}
	if got, raw := b.call("POST", "/webapi/sessions/web", `{"user":"alice","pass":"`+alicePassword+`","second_factor_token":"`+f.code()+`"}`); got != 200 {
		t.Fatalf("%d: %s", got, raw)
	}
	if c := b.cookie; c.Name != "__Host-session" || !c.Secure || !c.HttpOnly || c.Path != "/" || !strings.HasPrefix(c.Value, "7b2275736572223a22616c696365222c22736964223a22") {
		t.Errorf("%v", c)
	}
	h := f.startHeadless("alice", nil)
	path := "/webapi/headless/" + h.id
	if got, _ := (&tab{f: f, cookie: b.cookie}).call("GET", path, ""); got != 403 {
		t.Errorf("the cookie alone: status %d", got)
	}
	if got, _ := (&tab{f: f, token: b.token}).call("GET", path, ""); got != 403 {
		t.Errorf("the token alone: status %d", got)
	}
	got, raw := b.call("GET", path, "")
	var record headlessRecord
	if err := json.Unmarshal(raw, &record); err != nil || got != 200 || record.Header.Metadata.Name != h.id || record.User != "alice" || record.State != headlessPending {
		t.Fatalf("%d: %s", got, raw)
	}
	if got, _ := b.call("PUT", path, `{"action":"deny","mfaResponse":{}}`); got != 400 {
		t.Errorf("a word that is not one of the two: status %d", got)
	}
	if got, _ := b.call("PUT", path, `{"action":"accept","mfaResponse":{"totp_code":"123456"}}`); got != 400 {
		t.Errorf("a code: status %d", got)
	}
	// The other way to sign in, then approve with the member of older servers.
	_ = f.touched(k, scopeLogin) // a challenge that nobody answers
	other := &tab{f: f}
	if got, raw := other.call("POST", "/webapi/mfa/login/finishsession", `{"user":"alice","webauthnAssertionResponse":`+string(f.touched(k, scopeLogin))+`}`); got != 200 {
		t.Fatalf("%d: %s", got, raw)
	}
	if got, raw := other.call("PUT", path, `{"action":"accept","webauthnAssertionResponse":`+string(f.touched(k, scopeHeadless))+`}`); got != 200 || string(raw) != `{"message":"ok"}` {
		t.Fatalf("%d: %s", got, raw)
	}
	if got := h.status(t); got != 200 {
		t.Errorf("%d: %s", got, h.body)
	}
	f.headless.look = 50 * time.Millisecond
	if got, raw := b.call("GET", "/webapi/headless/54519721-945e-5d87-bd76-494ca02368b8", ""); got != 400 || errorText(t, raw) != "requested invalid headless session" {
		t.Errorf("%d: %s", got, raw)
	}
}

// A denial needs no MFA member; the page is served, and talks to nobody else.
func TestHeadlessDeniedOnTheWeb(t *testing.T) {
	f, k := startHeadlessCluster(t)
	b := &tab{f: f}
	if got, raw := b.call("POST", "/webapi/mfa/login/finishsession", `{"user":"alice","webauthnAssertionResponse":`+string(f.touched(k, scopeLogin))+`}`); got != 200 {
		t.Fatalf("%d: %s", got, raw)
	}
	h := f.startHeadless("alice", nil)
	if got, raw := b.call("GET", "/webapi/headless/"+h.id, ""); got != 200 {
		t.Fatalf("%d: %s", got, raw)
	}
	if got, raw := b.call("PUT", "/webapi/headless/"+h.id, `{"action":"denied"}`); got != 200 {
		t.Fatalf("%d: %s", got, raw)
	}
	if got := h.status(t); got != 403 {
		t.Errorf("status %d", got)
	}
	resp, page := f.do("GET", "/web/headless/"+h.id, "")
	if resp.StatusCode != 200 || !strings.Contains(string(page), "Headless login") || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; connect-src 'self';") {
		t.Errorf("%v", resp.Header)
	}
}
