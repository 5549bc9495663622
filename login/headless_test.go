package login

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/proxy"
)

// The test vector of the protocol's description.
func TestHeadlessID(t *testing.T) {
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n"
	if got, want := HeadlessID([]byte(line)), "54519721-945e-5d87-bd76-494ca02368b8"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if HeadlessID([]byte(strings.TrimSpace(line))) == HeadlessID([]byte(line)) {
		t.Error("the line end does not count")
	}
}

// headlessRogue is a proxy that knows headless logins, of some version.
func headlessRogue(version string) *rogue {
	auth := map[string]any{"type": "local", "local": map[string]any{"name": "headless"}, "allow_headless": true, "private_key_policy": "none", "signature_algorithm_suite": "balanced-v1"}
	if strings.HasPrefix(version, "14.") {
		delete(auth, "signature_algorithm_suite")
	}
	return &rogue{ping: map[string]any{
		"auth": auth, "server_version": version, "cluster_name": "example.com",
		"proxy": map[string]any{"tls_routing_enabled": true, "ssh": map[string]any{"public_addr": "tele.example.com:443"}},
	}}
}

// shown is what the person was told.
type shown struct {
	webAddr, id string
	over        bool
}

func (s *shown) ui() UI {
	return UI{Headless: func(webAddr, id string) func() {
		s.webAddr, s.id = webAddr, id
		return func() { s.over = true }
	}}
}

func aliceHeadless() Request {
	r := alice()
	r.Connector = "headless"
	return r
}

func TestHeadlessLogin(t *testing.T) {
	r := headlessRogue("18.3.0")
	client := startRogue(t, r)
	var s shown
	result, err := Run(t.Context(), client, aliceHeadless(), s.ui())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.asked, " "); got != "/webapi/ping/headless /webapi/headless/login" {
		t.Errorf("the proxy was asked %s", got)
	}
	var sent struct {
		User, RouteToCluster string
		HeadlessID           string `json:"headless_id"`
		SSHPubKey            []byte `json:"ssh_pub_key"`
	}
	must(t, json.Unmarshal([]byte(r.bodies[1]), &sent))
	if sent.User != "alice" || sent.RouteToCluster != "" || sent.HeadlessID != s.id || sent.HeadlessID != HeadlessID(sent.SSHPubKey) {
		t.Errorf("sent %s, shown %s", r.bodies[1], s.id)
	}
	if s.webAddr != "tele.example.com:443" || !s.over {
		t.Errorf("shown %+v", s)
	}
	if got := ssh.MarshalAuthorizedKey(result.Identity.SSHCert.Key); string(got) != string(sent.SSHPubKey) {
		t.Error("the certificate is for another key")
	}
}

// A cluster of version 14 takes one key, at another path.
func TestHeadlessLoginOfOld(t *testing.T) {
	r := headlessRogue("14.0.0-dev")
	r.finish = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(403)
		_, _ = io.WriteString(w, `{"error":{"message":"headless authentication failed"}}`)
	}
	client := startRogue(t, r)
	var s shown
	_, err := Run(t.Context(), client, aliceHeadless(), s.ui())
	if !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
	var sent map[string]any
	must(t, json.Unmarshal([]byte(r.bodies[1]), &sent))
	line, _ := sent["pub_key"].(string)
	if r.asked[1] != "/webapi/ssh/certs" || sent["headless_id"] != s.id || line == "" || sent["ssh_pub_key"] != nil || sent["tls_pub_key"] != nil {
		t.Errorf("%s was sent %v", r.asked[1], sent)
	}
}

// Every way in which it fails says which it was; none is tried twice.
func TestHeadlessFailures(t *testing.T) {
	refuse := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":{"message":"`+text+`"}}`)
		}
	}
	for name, tc := range map[string]struct {
		change func(*rogue)
		finish http.HandlerFunc
		want   error
		text   string
	}{
		"denied":          {finish: refuse(403, "headless authentication denied"), want: ErrDenied},
		"locked":          {finish: refuse(403, "lock targeting user is in force"), text: "lock targeting"},
		"the server late": {finish: refuse(504, "gave up"), want: ErrNotApproved},
		"another key":     {finish: refuse(400, "headless id mismatch"), text: "mismatch"},
		"not allowed":     {change: func(r *rogue) { delete(r.ping["auth"].(map[string]any), "allow_headless") }, want: ErrUnsupported, text: "does not allow headless logins"},
	} {
		t.Run(name, func(t *testing.T) {
			r := headlessRogue("18.3.0")
			client := startRogue(t, r)
			if r.finish = tc.finish; tc.change != nil {
				tc.change(r)
			}
			var s shown
			_, err := Run(t.Context(), client, aliceHeadless(), s.ui())
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Error(err)
			}
			if tc.want == nil && (errors.Is(err, ErrDenied) || errors.Is(err, ErrNotApproved)) {
				t.Errorf("taken for something else: %v", err)
			}
			if len(r.asked) > 2 {
				t.Errorf("asked %v", r.asked)
			}
		})
	}
}

// The wait ends with the time there is, and at once with the person's ^C.
func TestHeadlessWaitEnds(t *testing.T) {
	errStop := errors.New("the person gave up")
	for name, tc := range map[string]struct {
		end  func(ctx context.Context, waiting <-chan struct{}) (context.Context, context.CancelFunc)
		want error
	}{
		"time is over": {func(ctx context.Context, _ <-chan struct{}) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		}, ErrNotApproved},
		"given up": {func(ctx context.Context, waiting <-chan struct{}) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			go func() {
				<-waiting
				cancel(errStop)
			}()
			return ctx, func() { cancel(nil) }
		}, errStop},
	} {
		t.Run(name, func(t *testing.T) {
			r := headlessRogue("18.3.0")
			waiting := make(chan struct{})
			r.finish = func(_ http.ResponseWriter, req *http.Request) {
				close(waiting)
				<-req.Context().Done()
			}
			client := startRogue(t, r)
			ctx, cancel := tc.end(t.Context(), waiting)
			defer cancel()
			var s shown
			_, err := Run(ctx, client, aliceHeadless(), s.ui())
			if !errors.Is(err, tc.want) || !s.over {
				t.Errorf("%v; over %v", err, s.over)
			}
		})
	}
}

// A minute is short: where the clocks differ by more, that is what is said.
func TestHeadlessClocks(t *testing.T) {
	r := headlessRogue("18.3.0")
	r.bend = func(a *answer) {
		for _, c := range []*x509.Certificate{&a.tls} {
			c.NotBefore, c.NotAfter = testNow.Add(-3*time.Minute), testNow.Add(-time.Minute)
		}
		a.ssh.ValidAfter, a.ssh.ValidBefore = uint64(testNow.Add(-3*time.Minute).Unix()), uint64(testNow.Add(-time.Minute).Unix())
	}
	client := startRogue(t, r)
	var s shown
	_, err := Run(t.Context(), client, aliceHeadless(), s.ui())
	if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
}

// Clusters of version 14 have one text for a no and for nobody who looked at it: the
// time tells them apart.
func TestHeadlessRefusalOfOld(t *testing.T) {
	refused := &proxy.Error{Op: "headless login", Status: 403, Message: textDenied14}
	if err := explainHeadless(t.Context(), refused, time.Second); !errors.Is(err, ErrDenied) {
		t.Errorf("at once: %v", err)
	}
	if err := explainHeadless(t.Context(), refused, HeadlessPatience); !errors.Is(err, ErrNotApproved) {
		t.Errorf("at the end: %v", err)
	}
}
