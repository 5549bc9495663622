package devcluster

import (
	_ "embed" // for the page
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

var (
	//go:embed headless.html
	headlessPage []byte
	//go:embed headless.js
	headlessScript []byte
)

// headlessRoutes are the calls and the page about headless logins.
func (c *Cluster) headlessRoutes(mux *http.ServeMux, limits *bucketSet) {
	both := func(method, path string, h http.Handler) {
		mux.Handle(method+" "+path, h)
		mux.Handle(method+" /v1"+path, h)
	}
	if c.is14() {
		both("POST", "/webapi/ssh/certs", c.patiently(c.apiHandler(limits, c.sshCerts14)))
	} else {
		both("POST", "/webapi/headless/login", c.patiently(c.apiHandler(limits, c.headlessLogin)))
	}
	both("POST", "/webapi/sessions/web", c.signIn(limits, c.signInPassword))
	both("POST", "/webapi/mfa/login/finishsession", c.signIn(limits, c.signInKey))
	both("GET", "/webapi/headless/{id}", c.apiHandler(nil, c.webGetHeadless))
	both("PUT", "/webapi/headless/{id}", c.apiHandler(nil, c.webDecideHeadless))
	// This one is the dev cluster's own.
	both("POST", "/webapi/headless/{id}/challenge", c.apiHandler(nil, c.webChallengeHeadless))
	mux.Handle("GET /web/headless/{id}", staticHandler("text/html; charset=utf-8", headlessPage))
	mux.Handle("GET /web/headless.js", staticHandler("text/javascript; charset=utf-8", headlessScript))
}

// staticHandler serves a part of a page that may talk to the cluster alone.
func staticHandler(kind string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		securityHeaders(w.Header())
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
		_, _ = w.Write(content)
	})
}

// headlessRecord is a request in the web API's form.
type headlessRecord struct {
	Header struct {
		Kind     string `json:"kind"`
		Version  string `json:"version"`
		Metadata struct {
			Name    string    `json:"name"`
			Expires time.Time `json:"expires"`
		} `json:"metadata"`
	} `json:"header"`
	User            string        `json:"user"`
	State           headlessState `json:"state"`
	ClientIPAddress string        `json:"client_ip_address"`
	SSHPublicKey    []byte        `json:"ssh_public_key"`
	TLSPublicKey    []byte        `json:"tls_public_key"`
}

func (c *Cluster) webGetHeadless(r *http.Request) (any, error) {
	s, err := c.browser(r)
	if err != nil {
		return nil, err
	}
	l, err := c.headless.get(r.Context(), s.user, r.PathValue("id"), c.now)
	if err != nil {
		return nil, badParameter("requested invalid headless session")
	}
	record := headlessRecord{User: l.user, State: l.state, ClientIPAddress: l.from, SSHPublicKey: l.sshKey, TLSPublicKey: l.tlsKey}
	record.Header.Kind, record.Header.Version = "headless_authentication", "v1"
	record.Header.Metadata.Name, record.Header.Metadata.Expires = l.id, l.expires.UTC()
	return record, nil
}

// webChallengeHeadless asks the user's security keys to approve.
func (c *Cluster) webChallengeHeadless(r *http.Request) (any, error) {
	s, err := c.browser(r)
	if err != nil {
		return nil, err
	}
	u, err := c.userByName(s.user)
	if err != nil {
		return nil, accessDenied(textInvalid)
	}
	key, err := c.beginAssertion(u, scopeHeadless)
	if err != nil {
		return nil, err
	}
	return map[string]any{"webauthn_challenge": key.json()}, nil
}

// webDecision is what a browser says about a request; either member may hold the
// security key's answer.
type webDecision struct {
	Action      string          `json:"action"`
	Assertion   json.RawMessage `json:"webauthnAssertionResponse"`
	MFAResponse struct {
		TOTPCode string          `json:"totp_code"`
		WebAuthn json.RawMessage `json:"webauthn_response"`
		Older    json.RawMessage `json:"webauthnAssertionResponse"`
	} `json:"mfaResponse"`
}

func (d *webDecision) answer() json.RawMessage {
	for _, raw := range []json.RawMessage{d.MFAResponse.WebAuthn, d.MFAResponse.Older, d.Assertion} {
		if len(raw) > 0 && string(raw) != "null" {
			return raw
		}
	}
	return nil
}

func (c *Cluster) webDecideHeadless(r *http.Request) (any, error) {
	s, err := c.browser(r)
	if err != nil {
		return nil, err
	}
	var d webDecision
	if err := readJSON(r, &d); err != nil {
		return nil, err
	}
	switch d.Action {
	case "denied":
		err = c.denyHeadless(s.user, r.PathValue("id"))
	case "accept":
		answer, bad := parseAssertionResponse(d.answer())
		if bad != nil {
			return nil, badParameter("expected WebAuthn or SSO MFA response")
		}
		err = c.approveHeadless(s.user, r.PathValue("id"), answer.answer())
	default:
		return nil, badParameter("unknown action %q", d.Action)
	}
	switch {
	case errors.Is(err, errBadAnswer):
		return nil, accessDenied("invalid MFA response")
	case errors.Is(err, errHeadlessDecided), errors.Is(err, errHeadlessUnknown):
		return nil, accessDenied(err.Error())
	case err != nil:
		return nil, err
	}
	return map[string]string{"message": "ok"}, nil
}

// hostOf is the host of host:port.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return host
}
