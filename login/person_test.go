package login

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
)

// case L19: where a clock is wrong the person learns by how much, whatever the
// years; nothing is tried again.
func TestWrongClockIsNamed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		here  time.Time
		proxy time.Time
		want  string
	}{
		{"an hour behind", testNow.Add(-time.Hour), testNow, "the clock here is 1h0m0s behind the proxy's"},
		{"two hours ahead", testNow.Add(2 * time.Hour), testNow, "the clock here is 2h0m0s ahead of the proxy's"},
		{"a battery that ran out", time.Unix(0, 0), testNow, "behind the proxy's"},
		{"a century ahead", time.Date(2106, 2, 8, 0, 0, 0, 0, time.UTC), testNow, "ahead of the proxy's"},
		{"the proxy is as wrong", testNow.Add(2 * time.Hour), testNow.Add(2 * time.Hour), "expired"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &rogue{date: tc.proxy}
			client := startRogue(t, r)
			request := alice()
			request.Now = func() time.Time { return tc.here }
			var p person
			_, err := Run(t.Context(), client, request, p.ui())
			var wrong *keystore.TimeError
			if !errors.Is(err, ErrRejected) || !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
			if got := len(r.asked); got != 2 {
				t.Errorf("the proxy was asked %d times: %v", got, r.asked)
			}
		})
	}
}

// case L21: what was refused is not sent again, and the reason is fit to print.
func TestRefusedPasswordIsSentOnce(t *testing.T) {
	for _, message := range []string{
		"invalid username, password or second factor",
		"too many incorrect attempts, please try again later",
		"locked\x1b[2J\u202e by admin",
	} {
		r := &rogue{finish: refuse(http.StatusForbidden, message)}
		client := startRogue(t, r)
		var p person
		_, err := Run(t.Context(), client, alice(), p.ui())
		if err == nil || p.passwords != 1 || len(r.asked) != 2 {
			t.Errorf("%q: error %v, asked for %d passwords, calls %v", message, err, p.passwords, r.asked)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\u202e") {
			t.Errorf("the error is not fit to print: %q", err)
		}
	}
}

// case L27: a cluster that turns out to want hardware keys gets no software key.
func TestPolicyDuringTheLogin(t *testing.T) {
	for _, policy := range []string{"hardware_key_touch", "quantum_key"} {
		r := &rogue{finish: refuse(http.StatusBadRequest, "private key policy not met: "+policy)}
		client := startRogue(t, r)
		var p person
		result, err := Run(t.Context(), client, alice(), p.ui())
		if err == nil || result != nil || !strings.Contains(err.Error(), policy) || len(r.asked) != 2 {
			t.Errorf("%s: error %v, calls %v", policy, err, r.asked)
		}
	}
}

// case L22: the cluster gets the bytes that the person typed.
func TestPasswordsTravelExactly(t *testing.T) {
	for name, password := range map[string]string{
		"spaces around": "  two words  ",
		"not ASCII":     "pässwörd 密码 🔑",
		"composed":      "e\u0301 is not \u00e9",
		"controls":      "tab\tnul\x00esc\x1bdel\x7f",
		"HTML and JSON": `<a href="x">&\\"</a>` + "\u2028",
		"10 kB":         strings.Repeat("long ", 2048),
	} {
		r := new(rogue)
		client := startRogue(t, r)
		ui := UI{Password: func(context.Context, string, string) (string, error) { return password, nil }}
		if _, err := Run(t.Context(), client, alice(), ui); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var sent struct{ Password string }
		must(t, json.Unmarshal([]byte(r.bodies[len(r.bodies)-1]), &sent))
		if sent.Password != password {
			t.Errorf("%s: %q was sent for %q", name, sent.Password, password)
		}
	}
}

// case L22: what JSON cannot carry is not sent as something else.
func TestUnspeakablePassword(t *testing.T) {
	r := new(rogue)
	client := startRogue(t, r)
	ui := UI{Password: func(context.Context, string, string) (string, error) { return "latin1 \xe4", nil }}
	if _, err := Run(t.Context(), client, alice(), ui); err == nil || len(r.asked) != 1 {
		t.Errorf("error %v, calls %v", err, r.asked)
	}
}

func refuse(status int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		body, _ := json.Marshal(map[string]any{"error": map[string]string{"message": message}})
		_, _ = w.Write(body)
	}
}
