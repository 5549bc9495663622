package proxy

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
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

// The requests as login.md 5.3, 6.3 and 3.7 have them, byte for byte.
func TestRequestsAsTheyTravel(t *testing.T) {
	const nobody = "" // members that the reference client always sends
	for want, req := range map[string]any{
		`{"redirect_url":"http://127.0.0.1:41235/callback?secret_key=00","ssh_pub_key":"c3NoLWVkMjU1MTkgQQo=","tls_pub_key":"UEVNCg==","cert_ttl":43200000000000,"connector_id":"a/b ü","RouteToCluster":"","KubernetesCluster":"","PKCEVerifier":"dBjf","client_version":"18.3.0"}`: SSORequest{
			RedirectURL: "http://127.0.0.1:41235/callback?secret_key=00", SSHPubKey: []byte("ssh-ed25519 A\n"), TLSPubKey: []byte("PEM\n"),
			TTL: 12 * time.Hour, Connector: "a/b ü", Cluster: nobody, PKCEVerifier: "dBjf", ClientVersion: protocolVersion,
		},
		`{"redirect_url":"","public_key":"QQo=","cert_ttl":0,"connector_id":"gh","RouteToCluster":"leaf","KubernetesCluster":"","PKCEVerifier":"","client_version":""}`: SSORequest{
			PublicKey: []byte("A\n"), Connector: "gh", Cluster: "leaf",
		},
		`{"user":"alice","headless_id":"54519721-945e-5d87-bd76-494ca02368b8","ssh_pub_key":"QQo=","tls_pub_key":"Qgo=","ttl":43200000000000,"RouteToCluster":"","KubernetesCluster":""}`: HeadlessRequest{
			User: "alice", ID: "54519721-945e-5d87-bd76-494ca02368b8", SSHPubKey: []byte("A\n"), TLSPubKey: []byte("B\n"), TTL: 12 * time.Hour, Patience: time.Minute,
		},
		`{"user":"alice","headless_id":"id","pub_key":"QQo=","ttl":0,"RouteToCluster":"","KubernetesCluster":""}`: HeadlessRequest{User: "alice", ID: "id", PubKey: []byte("A\n")},
		`{"user":"","pass":"","passwordless":true}`:                                                               BeginRequest{Passwordless: true},
		`{"user":"","password":"","webauthn_challenge_response":{"id":"x"},"totp_code":"","ssh_pub_key":"QQo=","ttl":1,"RouteToCluster":"","KubernetesCluster":""}`: FinishRequest{
			WebAuthn: json.RawMessage(`{"id":"x"}`), SSHPubKey: []byte("A\n"), TTL: 1,
		},
	} {
		want = strings.ReplaceAll(want, `\u00fc`, "ü")
		if got, err := json.Marshal(req); err != nil || string(got) != want {
			t.Errorf("sent\n%s, %v\nwant\n%s", got, err, want)
		}
	}
}
