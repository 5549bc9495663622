package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
	"unicode/utf8"
)

// redacted stands for a value that must not be shown.
const redacted = "REDACTED"

// BeginRequest asks for the challenge that a user has to answer besides the
// password.
type BeginRequest struct {
	User         string `json:"user"`
	Password     string `json:"pass"`
	Passwordless bool   `json:"passwordless"` // then there is no user and no password
}

// Challenge is what the user may answer with.
type Challenge struct {
	// WebAuthn holds the options of a security key's ceremony as JSON; nil if
	// the user has none.
	WebAuthn json.RawMessage `json:"webauthn_challenge"`
	TOTP     bool            `json:"totp_challenge"` // a one-time code will do
}

// FinishRequest asks for certificates.
type FinishRequest struct {
	User     string          `json:"user"`
	Password string          `json:"password"`
	WebAuthn json.RawMessage `json:"webauthn_challenge_response"` // nil if there is none
	TOTPCode string          `json:"totp_code"`
	// SSHPubKey is an authorized_keys line, TLSPubKey a PEM block.
	SSHPubKey []byte `json:"ssh_pub_key,omitempty"`
	TLSPubKey []byte `json:"tls_pub_key,omitempty"`
	// PubKey is the one key, an authorized_keys line, that clusters of version
	// 14 put into both certificates; others ignore it.
	PubKey []byte        `json:"pub_key,omitempty"`
	TTL    time.Duration `json:"ttl"` // zero takes the cluster's default
	// Cluster is the leaf cluster that the certificates are for, if any.
	Cluster           string `json:"RouteToCluster"`
	KubernetesCluster string `json:"KubernetesCluster"`
}

// LoginResponse holds what the cluster has issued.
type LoginResponse struct {
	Username    string       `json:"username"`
	Cert        []byte       `json:"cert"`     // SSH certificate, an authorized_keys line
	TLSCert     []byte       `json:"tls_cert"` // PEM block
	HostSigners []hostSigner `json:"host_signers"`
	// SingleLogout: the identity provider can be told of a logout.
	SingleLogout bool `json:"samlSingleLogoutEnabled"`
	// ClientOptions are settings that the cluster suggests.
	ClientOptions struct {
		DefaultRelayAddr string `json:"default_relay_addr"`
	} `json:"client_options"`
}

// DefaultRelay is the relay that the cluster suggests, HOST[:PORT]; empty if there is
// none, or it is no address.
func (r *LoginResponse) DefaultRelay() string {
	addr := r.ClientOptions.DefaultRelayAddr
	if _, _, err := splitAddr(addr); err != nil {
		return ""
	}
	return addr
}

// hostSigner is the authority that certifies the hosts of a cluster.
type hostSigner struct {
	DomainName   string   `json:"domain_name"`   // the cluster
	CheckingKeys [][]byte `json:"checking_keys"` // authorized_keys lines
	TLSCerts     [][]byte `json:"tls_certs"`     // PEM blocks
}

// LoginBegin asks the proxy to check the password and to say what else is
// needed. Errors are those of Ping.
func (c *Client) LoginBegin(ctx context.Context, req BeginRequest) (*Challenge, error) {
	if err := checkText(req.Password); err != nil {
		return nil, err
	}
	answer := new(Challenge)
	err := c.post(ctx, "login", "/webapi/mfa/login/begin", req, answer)
	if err != nil {
		return nil, err
	}
	if string(answer.WebAuthn) == "null" {
		answer.WebAuthn = nil
	}
	return answer, nil
}

// LoginFinish has the proxy issue certificates. It may be called without
// LoginBegin where the answer to the challenge is known. Errors are those of
// Ping. Nothing in the response has been verified.
func (c *Client) LoginFinish(ctx context.Context, req FinishRequest) (*LoginResponse, error) {
	if err := checkText(req.Password, req.TOTPCode); err != nil {
		return nil, err
	}
	answer := new(LoginResponse)
	if err := c.post(ctx, "login", "/webapi/mfa/login/finish", req, answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// checkText refuses what JSON would carry as something else.
func checkText(secrets ...string) error {
	for _, s := range secrets {
		if !utf8.ValidString(s) {
			return errors.New("the password is not valid UTF-8; the proxy could not be told what was typed")
		}
	}
	return nil
}

// The requests hold passwords and codes: no verb and no log shows them.

func (BeginRequest) Format(s fmt.State, _ rune)  { _, _ = io.WriteString(s, redacted) }
func (BeginRequest) LogValue() slog.Value        { return slog.StringValue(redacted) }
func (FinishRequest) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }
func (FinishRequest) LogValue() slog.Value       { return slog.StringValue(redacted) }
