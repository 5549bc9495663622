package proxy

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Ping is what a proxy says about itself and its cluster (GET /webapi/ping).
// Its text comes from the server as it is.
type Ping struct {
	Auth             AuthSettings  `json:"auth"`
	Proxy            proxySettings `json:"proxy"`
	ServerVersion    string        `json:"server_version"`
	MinClientVersion string        `json:"min_client_version"`
	ClusterName      string        `json:"cluster_name"`
}

// AuthSettings says how the cluster logs people in.
type AuthSettings struct {
	Type              string        `json:"type"`                // local, oidc, saml, github
	SecondFactor      string        `json:"second_factor"`       // off, otp, on, webauthn, optional, u2f or empty
	PreferredMFA      string        `json:"preferred_local_mfa"` // webauthn, otp or empty
	AllowPasswordless bool          `json:"allow_passwordless"`
	AllowHeadless     bool          `json:"allow_headless"`
	Local             *connector    `json:"local"`
	OIDC              *connector    `json:"oidc"`
	SAML              *connector    `json:"saml"`
	GitHub            *connector    `json:"github"`
	PrivateKeyPolicy  string        `json:"private_key_policy"` // none, hardware_key, …
	PIVSlot           string        `json:"piv_slot"`
	PIVPINCacheTTL    time.Duration `json:"piv_pin_cache_ttl"`
	HasMOTD           bool          `json:"has_motd"`
	LoadAllCAs        bool          `json:"load_all_cas"`
	// SessionTTL and Suite have several spellings; DefaultSessionTTL and
	// SignatureSuite read them.
	SessionTTL duration `json:"default_session_ttl"`
	Suite      suite    `json:"signature_algorithm_suite"`
}

// connector is a way to log in that the cluster has a name for.
type connector struct {
	_       [0]func() // never compared
	Name    string    `json:"name"`
	Display string    `json:"display"`
	// One of these is the address of an identity provider, if it is told.
	IssuerURL   string `json:"IssuerURL"`   // oidc
	SSO         string `json:"SSO"`         // saml
	EndpointURL string `json:"EndpointURL"` // github

	SingleLogout bool `json:"singleLogoutEnabled"` // saml
}

// SingleLogout reports that the identity provider can be told of a logout.
func (a *AuthSettings) SingleLogout() bool {
	return a.Type == "saml" && a.SAML != nil && a.SAML.SingleLogout
}

// LocalName is the name of the local way to log in that was asked about
// ("local", "passwordless", "headless"); empty for the cluster's default.
func (a *AuthSettings) LocalName() string {
	if a.Local == nil {
		return ""
	}
	return a.Local.Name
}

// DefaultSessionTTL is the lifetime that the cluster gives sessions unless
// asked for another; zero if it does not say.
func (a *AuthSettings) DefaultSessionTTL() time.Duration { return time.Duration(a.SessionTTL) }

// SignatureSuite names the algorithms that the cluster wants keys of: "legacy"
// (also if it does not say), "balanced-v1", "fips-v1", "hsm-v1" or one that we
// do not know.
func (a *AuthSettings) SignatureSuite() string {
	if a.Suite == "" {
		return "legacy"
	}
	return string(a.Suite)
}

// duration travels as Go duration text ("12h0m0s"), "never" for none.
type duration time.Duration

// UnmarshalJSON reads duration text, or a number of nanoseconds.
func (d *duration) UnmarshalJSON(data []byte) error {
	s, err := stringOrNumber(data)
	if err != nil {
		return err
	}
	if ns, err := strconv.ParseInt(s, 10, 64); err == nil {
		*d = duration(ns)
		return nil
	}
	if s == "" || s == "never" {
		return nil
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%s is no duration", shortQuote(s))
	}
	*d = duration(parsed)
	return nil
}

// suite is a signature algorithm suite's name.
type suite string

// UnmarshalJSON reads the name, the number or the spelling of the enumeration
// (SIGNATURE_ALGORITHM_SUITE_BALANCED_V1).
func (s *suite) UnmarshalJSON(data []byte) error {
	spelling, err := stringOrNumber(data)
	if err != nil {
		return err
	}
	name, ok := strings.CutPrefix(spelling, "SIGNATURE_ALGORITHM_SUITE_")
	if ok {
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	}
	switch name {
	case "0", "unspecified":
		name = ""
	case "1":
		name = "legacy"
	case "2":
		name = "balanced-v1"
	case "3":
		name = "fips-v1"
	case "4":
		name = "hsm-v1"
	}
	*s = suite(name)
	return nil
}

func stringOrNumber(data []byte) (string, error) {
	if len(data) == 0 || data[0] != '"' {
		return string(data), nil
	}
	var s string
	err := json.Unmarshal(data, &s)
	return s, err
}

// firstWithSuites is the oldest major version that takes other keys than RSA.
const firstWithSuites = 15

// major is the server's major version; one that cannot be read is of today.
func (p *Ping) major() int {
	first, _, _ := strings.Cut(strings.TrimPrefix(p.ServerVersion, "v"), ".")
	n, err := strconv.Atoi(first)
	if err != nil || n <= 0 {
		return firstWithSuites
	}
	return n
}

// decodePing reads an answer to ping and refuses one that is not a proxy's, or
// that announces an address which cannot be one.
func decodePing(data []byte) (*Ping, error) {
	p := new(Ping)
	if err := decodeJSON(data, p); err != nil {
		return nil, err
	}
	if p.ServerVersion == "" && p.ClusterName == "" {
		return nil, ErrNotTeleport
	}
	if p.major() < firstWithSuites {
		p.Auth.Suite = "" // RSA for both certificates is all it knows
	}
	for _, announced := range p.Proxy.addresses() {
		if announced.value == "" {
			continue
		}
		if _, _, err := splitAddr(announced.value); err != nil {
			return nil, fmt.Errorf("it announces a bad %s: %w", announced.name, err)
		}
	}
	return p, nil
}
