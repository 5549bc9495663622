package proxy

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// The request holds the key that seals the answer: it shows under no verb.
func TestSSORequestIsNotShown(t *testing.T) {
	req := SSORequest{RedirectURL: "http://127.0.0.1/callback?secret_key=canary-key", PKCEVerifier: "canary-verifier"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("request", "request", req)
	for _, shown := range []string{fmt.Sprint(req), fmt.Sprintf("%v %+v %#v %s %q %x", req, req, req, req, req, req), log.String()} {
		if strings.Contains(shown, "canary") || strings.Contains(shown, fmt.Sprintf("%x", "canary")) || !strings.Contains(shown, redacted) {
			t.Errorf("it shows as %s", shown)
		}
	}
}

func TestConnectorOfPing(t *testing.T) {
	for answer, want := range map[string][2]string{
		`{"type":"local","local":{"name":"passwordless"}}`: {"passwordless", ""},
		`{"type":"local"}`: {"", ""},
		`{"type":"oidc","oidc":{"name":"corp","display":"Corp","IssuerURL":"https://idp.example.com:8443/x"}}`: {"corp", "idp.example.com"},
		`{"type":"saml","saml":{"name":"adfs","SSO":"https://adfs.example.com/sso"}}`:                          {"adfs", "adfs.example.com"},
		`{"type":"github","github":{"name":"gh","EndpointURL":"https://github.com"}}`:                          {"gh", "github.com"},
		`{"type":"github","github":{"name":"gh","display":"14.x tells no address"}}`:                           {"gh", ""},
		`{"type":"github","oidc":{"name":"corp"}}`:                                                             {"", ""},
		`{"type":"oidc","oidc":{"name":"corp","IssuerURL":"::"}}`:                                              {"corp", ""},
		`{"type":"ldap"}`: {"", ""},
	} {
		var a AuthSettings
		if err := json.Unmarshal([]byte(answer), &a); err != nil {
			t.Fatal(err)
		}
		if name, host := a.Connector(); name != want[0] || host != want[1] {
			t.Errorf("%s: %q, %q", answer, name, host)
		}
	}
}
