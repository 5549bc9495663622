package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Limits of where a browser login may begin.
const (
	maxRedirectURL = 32 << 10
	maxPostForm    = 256 << 10
)

// protocolVersion is the release whose protocol this client speaks.
const protocolVersion = "18.3.0"

// SSORequest asks for a login through a browser.
type SSORequest struct {
	// RedirectURL is where the browser brings the answer; its one parameter,
	// secret_key, seals the answer.
	RedirectURL string `json:"redirect_url"`
	// SSHPubKey is an authorized_keys line, TLSPubKey a PEM block.
	SSHPubKey []byte `json:"ssh_pub_key,omitempty"`
	TLSPubKey []byte `json:"tls_pub_key,omitempty"`
	// PublicKey is the one key, an authorized_keys line, that clusters of
	// version 14 put into both certificates; others ignore it.
	PublicKey         []byte        `json:"public_key,omitempty"`
	TTL               time.Duration `json:"cert_ttl"`
	Connector         string        `json:"connector_id"`
	Cluster           string        `json:"RouteToCluster"`
	KubernetesCluster string        `json:"KubernetesCluster"`
	// PKCEVerifier is 32 random bytes, base64url, for connectors that use PKCE.
	PKCEVerifier  string `json:"PKCEVerifier"`
	ClientVersion string `json:"client_version"` // LoginSSO fills it
}

// LoginSSO has the proxy begin a login through a connector of the given kind
// (github, oidc, saml). The browser is to open target or, where that is empty,
// to be given form, an HTML form with the script that sends it. Errors are those
// of Ping, and one for an answer that no browser should be sent to. The form has
// not been judged.
func (c *Client) LoginSSO(ctx context.Context, kind string, req SSORequest) (target string, form []byte, err error) {
	req.ClientVersion = protocolVersion
	var answer struct {
		RedirectURL string `json:"redirect_url"`
		PostForm    []byte `json:"post_form"`
	}
	err = c.post(ctx, "browser login", "/webapi/"+url.PathEscape(kind)+"/login/console", req, &answer)
	if err != nil {
		return "", nil, err
	}
	switch {
	case answer.RedirectURL != "":
		err = checkRedirectURL(answer.RedirectURL)
	case len(answer.PostForm) == 0:
		err = errors.New("it names no page to open")
	case len(answer.PostForm) > maxPostForm:
		err = fmt.Errorf("its form has more than %d bytes", maxPostForm)
	}
	if err != nil {
		return "", nil, fmt.Errorf("browser login on %s: the answer cannot be used: %w", c.WebAddr(), err)
	}
	return answer.RedirectURL, answer.PostForm, nil
}

// checkRedirectURL refuses what a browser must not be sent to: anything but
// https, or http to this machine itself. Its text is not part of the error: it
// carries the state of the login.
func checkRedirectURL(raw string) error {
	if len(raw) > maxRedirectURL {
		return fmt.Errorf("the page to open has an address of more than %d bytes", maxRedirectURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`\"<>`, r) }):
		return errors.New("the page to open has a malformed address")
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "" || u.User != nil:
		return errors.New("the page to open has an address without a host, or with a user")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("the page to open has an address of the scheme %s; https is needed", shortQuote(u.Scheme))
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Decode reads what a finished login has delivered, from JSON that did not come
// over the connection to the proxy.
func (r *LoginResponse) Decode(data []byte) error {
	if len(data) > maxLoginAnswer {
		return fmt.Errorf("the answer has more than %d bytes", maxLoginAnswer)
	}
	return decodeJSON(data, r)
}

// Connector is the cluster's name for the way to log in, and the host of its
// identity provider; either may be empty.
func (a *AuthSettings) Connector() (name, host string) {
	var c *connector
	switch a.Type {
	case "local":
		c = a.Local
	case "oidc":
		c = a.OIDC
	case "saml":
		c = a.SAML
	case "github":
		c = a.GitHub
	}
	if c == nil {
		return "", ""
	}
	if u, err := url.Parse(firstOf(c.IssuerURL, c.SSO, c.EndpointURL)); err == nil {
		host = u.Hostname()
	}
	return c.Name, host
}

// The request holds the key that seals the answer: no verb and no log shows it.

func (SSORequest) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }
func (SSORequest) LogValue() slog.Value       { return slog.StringValue(redacted) }
