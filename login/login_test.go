package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
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

func copyBounded(w io.Writer, r io.Reader) (int64, error) {
	return io.Copy(w, io.LimitReader(r, 1<<20))
}

// person answers with a fixed password and code, and counts how often it is asked.
type person struct{ passwords, codes, notices int }

func (p *person) ui() UI {
	return UI{
		Password: func(context.Context, string, string) (string, error) { p.passwords++; return "correct horse", nil },
		Code:     func(context.Context) (string, error) { p.codes++; return "123456", nil },
		MOTD:     func(context.Context, string) error { p.notices++; return nil },
	}
}

func alice() Request { return Request{User: "alice", Now: func() time.Time { return testNow }} }

func TestPasswordLogin(t *testing.T) {
	r := new(rogue)
	client := startRogue(t, r)
	var p person
	result, err := Run(t.Context(), client, alice(), p.ui())
	if err != nil {
		t.Fatal(err)
	}
	id := result.Identity
	if id.User != "alice" || id.Cluster != "example.com" || id.RootCluster() != "example.com" || id.Proxy != "127.0.0.1" {
		t.Errorf("identity of %s at %s in %s", id.User, id.Proxy, id.Cluster)
	}
	if p.passwords != 1 || p.codes != 0 {
		t.Errorf("asked for %d passwords and %d codes", p.passwords, p.codes)
	}
	want := "/webapi/ping /webapi/mfa/login/finish"
	if got := strings.Join(r.asked, " "); got != want {
		t.Errorf("the proxy was asked %s, want %s", got, want)
	}
}

// What the second factor setting means for the questions and the calls.
func TestSecondFactors(t *testing.T) {
	for _, tc := range []struct {
		secondFactor string
		begin        string // what begin answers
		codes        int
		calls        string
		err          error
	}{
		{secondFactor: "off", calls: "ping finish"},
		{secondFactor: "otp", codes: 1, calls: "ping finish"},
		{secondFactor: "on", begin: `{"totp_challenge":true}`, codes: 1, calls: "ping begin finish"},
		{secondFactor: "optional", begin: `{"webauthn_challenge":null,"totp_challenge":false}`, calls: "ping begin finish"},
		{secondFactor: "on", begin: `{"webauthn_challenge":{"publicKey":{}},"totp_challenge":true}`, codes: 1, calls: "ping begin finish"},
		{secondFactor: "webauthn", begin: `{"webauthn_challenge":{"publicKey":{}}}`, calls: "ping begin", err: ErrNoKey},
	} {
		t.Run(tc.secondFactor, func(t *testing.T) {
			r := new(rogue)
			client := startRogue(t, r)
			r.ping["auth"].(map[string]any)["second_factor"] = tc.secondFactor
			sign := r.finish
			r.finish = nil
			if tc.begin != "" {
				r.finish = func(w http.ResponseWriter, req *http.Request) {
					if strings.HasSuffix(req.URL.Path, "/begin") {
						r.finish = sign
						_, _ = io.WriteString(w, tc.begin)
					}
				}
			}
			var p person
			_, err := Run(t.Context(), client, alice(), p.ui())
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			var calls []string
			for _, path := range r.asked {
				calls = append(calls, path[strings.LastIndexByte(path, '/')+1:])
			}
			if got := strings.Join(calls, " "); got != tc.calls || p.codes != tc.codes {
				t.Errorf("calls %s and %d codes, want %s and %d", got, p.codes, tc.calls, tc.codes)
			}
		})
	}
}

// Whatever a hostile proxy answers, nothing of it becomes an identity.
func TestHostileAnswersAreRefused(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	_, strange := newSSHAuthority(t)
	for _, tc := range []struct {
		name string // with the case of the catalogue that it belongs to
		bend func(*answer)
	}{
		{"case L13: another user", func(a *answer) { a.username = "mallory" }},
		{"case L13: the certificates of another user", func(a *answer) { a.ssh.KeyId, a.tls.Subject.CommonName = "mallory", "mallory" }},
		{"case L14: no authority", func(a *answer) { a.signers = nil }},
		{"case L14: cluster name with a slash", func(a *answer) { a.signers[0]["domain_name"] = "a/b" }},
		{"case L14: cluster name with dots only", func(a *answer) { a.signers[0]["domain_name"] = ".." }},
		{"case L14: cluster name with a newline", func(a *answer) { a.signers[0]["domain_name"] = "a\nb" }},
		{"case L14: cluster name with a pattern", func(a *answer) { a.signers[0]["domain_name"] = "*" }},
		{"case L14: cluster name with a comma", func(a *answer) { a.signers[0]["domain_name"] = "a,b" }},
		{"case L14: cluster name too long", func(a *answer) { a.signers[0]["domain_name"] = strings.Repeat("a", 254) }},
		{"case L16: SSH certificate for another key", func(a *answer) { a.ssh.Key = strange.PublicKey() }},
		{"case L16: TLS certificate for another key", func(a *answer) { a.tlsKey = other.Public() }},
		{"case L17: host certificate", func(a *answer) { a.ssh.CertType = ssh.HostCert }},
		{"case L17: no principals", func(a *answer) { a.ssh.ValidPrincipals = nil }},
		{"case L17: unknown critical option", func(a *answer) { a.ssh.CriticalOptions = map[string]string{"force-command": "x"} }},
		{"case L17: SSH certificate has expired", func(a *answer) { a.ssh.ValidBefore = uint64(testNow.Add(-time.Second).Unix()) }},
		{"case L17: TLS certificate has expired", func(a *answer) { a.tls.NotAfter = testNow.Add(-time.Second) }},
		{"case L19: not yet valid", func(a *answer) { a.ssh.ValidAfter = uint64(testNow.Add(time.Hour).Unix()) }},
		{"case L18: issuer is another cluster", func(a *answer) { a.issuer = pkix.Name{CommonName: "elsewhere"} }},
		{"case L18: authority is no authority", func(a *answer) { a.authority.IsCA = false }},
		{"case L18: authority of another name", func(a *answer) { a.authority.Subject = pkix.Name{CommonName: "elsewhere"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := startRogue(t, &rogue{bend: tc.bend})
			var p person
			result, err := Run(t.Context(), client, alice(), p.ui())
			if !errors.Is(err, ErrRejected) || result != nil {
				t.Fatalf("result %v, error %v; want it refused", result, err)
			}
			if strings.Contains(err.Error(), "correct horse") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

// What this program cannot do is said before anybody is asked anything.
func TestUnsupportedWaysAreNamed(t *testing.T) {
	for _, tc := range []struct{ key, value, want string }{
		{"type", "ldap", `"ldap" connector`},
		{"type", "github", "no github connector"},
		{"private_key_policy", "hardware_key_touch", "hardware_key_touch"}, // case L27
		{"signature_algorithm_suite", "rsa-512", "rsa-512"},                // case L28
	} {
		r := new(rogue)
		client := startRogue(t, r)
		r.ping["auth"].(map[string]any)[tc.key] = tc.value
		var p person
		_, err := Run(t.Context(), client, alice(), p.ui())
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s=%s: error %v", tc.key, tc.value, err)
		}
		if p.passwords > 0 {
			t.Errorf("%s=%s: a password was asked for", tc.key, tc.value)
		}
	}
}

// A person who is asked early is let go when the proxy turns out to be
// unreachable, and no password is sent.
func TestEarlyQuestionIsGivenUp(t *testing.T) {
	addr, err := proxy.ParseAddr("127.0.0.1:1")
	must(t, err)
	client := proxy.NewClient(proxy.Options{Addr: addr})
	defer client.Close()
	request := alice()
	request.AskFirst = true
	left := make(chan struct{})
	_, err = Run(t.Context(), client, request, UI{Password: func(ctx context.Context, _, _ string) (string, error) {
		defer close(left)
		<-ctx.Done() // the person is still typing
		return "", ctx.Err()
	}})
	if err == nil || errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the reason why the proxy cannot be reached", err)
	}
	<-left
}

// A person who is asked early, because the last login was with a password, is let
// go before the login goes on in the browser: two things at once on one terminal
// are one too many.
func TestEarlyQuestionMakesWayForTheBrowser(t *testing.T) {
	r := &rogue{finish: func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"redirect_url":"https://idp.example.com/","post_form":""}`)
	}}
	client := startRogue(t, r)
	r.ping["auth"] = map[string]any{"type": "github", "github": map[string]any{"name": "gh"}}
	request := alice()
	request.AskFirst = true
	left, enough := make(chan struct{}), errors.New("enough")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := Run(ctx, client, request, UI{
		Password: func(ctx context.Context, _, _ string) (string, error) {
			defer close(left)
			<-ctx.Done() // the person is still typing
			return "", ctx.Err()
		},
		Browse: func(context.Context, string) error {
			select {
			case <-left:
			default:
				t.Error("the password is still being asked for")
			}
			return enough
		},
	})
	if !errors.Is(err, enough) {
		t.Fatalf("error %v", err)
	}
}

// What the cluster suggests besides the certificates is there to be stored.
func TestDefaultRelay(t *testing.T) {
	for suggested, want := range map[string]string{
		"": "", "relay.example.com:443": "relay.example.com:443", "relay.example.com": "relay.example.com",
		"evil\nuser: root": "", "a@b": "",
	} {
		r := new(rogue)
		client := startRogue(t, r)
		r.finish = func(w http.ResponseWriter, _ *http.Request) {
			answer := r.sign(t, r.bodies[len(r.bodies)-1])
			answer["client_options"] = map[string]any{"default_relay_addr": suggested}
			_ = json.NewEncoder(w).Encode(answer)
		}
		result, err := Run(t.Context(), client, alice(), new(person).ui())
		if err != nil || result.DefaultRelayAddr != want || result.SingleLogout {
			t.Errorf("%q: %+v, %v", suggested, result, err)
		}
	}
}

func TestNobodyToAsk(t *testing.T) {
	client := startRogue(t, new(rogue))
	if _, err := Run(t.Context(), client, alice(), UI{}); !errors.Is(err, ErrCannotAsk) {
		t.Fatalf("error %v", err)
	}
}
