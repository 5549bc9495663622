package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Limits of a challenge. Servers send 32 bytes and a handful of credentials;
// each of them may cost a question to the key.
const (
	minChallenge    = 16
	maxChallenge    = 1024
	maxCredentials  = 64
	maxCredentialID = 1023 // what the standard allows
	maxUserHandle   = 64
	maxUserName     = 1024 // keys keep 64
	maxRPID         = 253
	maxWaitForTouch = 5 * time.Minute
)

// anyBase64 are bytes in either alphabet of base64, padded or not.
type anyBase64 []byte

// UnmarshalJSON implements json.Unmarshaler.
func (b *anyBase64) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	raw, err := base64.RawURLEncoding.DecodeString(s)
	*b = raw
	return err
}

// challengeJSON is a challenge as it travels (login protocol 4.1).
type challengeJSON struct {
	PublicKey struct {
		Challenge        anyBase64 `json:"challenge"`
		Timeout          int64     `json:"timeout"` // milliseconds
		RPID             string    `json:"rpId"`
		AllowCredentials []struct {
			Type string    `json:"type"`
			ID   anyBase64 `json:"id"`
		} `json:"allowCredentials"`
		UserVerification string `json:"userVerification"`
	} `json:"publicKey"`
}

// parseAssertRequest reads a challenge for security keys that the proxy at
// webAddr (host:port) has sent as JSON, and refuses one that no honest proxy
// sends: see AssertRequest.Check. passwordless says what it was asked for.
func parseAssertRequest(data []byte, webAddr string, passwordless bool) (*AssertRequest, error) {
	var c challengeJSON
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%w: security key challenge: %w", ErrRejected, err)
	}
	pk := &c.PublicKey
	if passwordless && (pk.UserVerification == "discouraged" || pk.UserVerification == "") {
		return nil, fmt.Errorf("%w: a passwordless challenge has to require a PIN or a finger, and it does not", ErrRejected)
	}
	req := &AssertRequest{
		Challenge: pk.Challenge, RPID: pk.RPID, Origin: WebAuthnOrigin(webAddr),
		UserVerification: passwordless || pk.UserVerification == "required",
		Timeout:          boundedTimeout(pk.Timeout),
	}
	for _, allowed := range pk.AllowCredentials {
		if allowed.Type == "public-key" { // whatever other types there will be
			req.Allow = append(req.Allow, allowed.ID)
		}
	}
	return req, req.Check(passwordless)
}

// boundedTimeout is how long to wait for a touch: as long as the server does,
// but not for ever.
func boundedTimeout(ms int64) time.Duration {
	if ms <= 0 || ms > maxWaitForTouch.Milliseconds() {
		return maxWaitForTouch
	}
	return time.Duration(ms) * time.Millisecond
}

// WebAuthnOrigin is the origin that a security key's answer is for: that of the
// proxy's web address (host:port), always with the port.
func WebAuthnOrigin(webAddr string) string { return "https://" + webAddr }

// Check judges a challenge before any device is asked; its error wraps
// ErrRejected. The name that keys know the cluster by has to be the proxy's own
// or a domain above it, the challenge and the credentials of a plausible size.
// Passwordless challenges name no credentials, since nobody has said who the
// user is, and all others do.
func (r *AssertRequest) Check(passwordless bool) error {
	err := checkChallenge(r.Challenge, r.RPID, r.Origin, r.Reached)
	if err == nil {
		err = checkCredentials(r.Allow)
	}
	switch {
	case err != nil:
	case passwordless && len(r.Allow) > 0:
		err = errors.New("a passwordless challenge names credentials, before anybody has said who the user is")
	case passwordless && !r.UserVerification:
		err = errors.New("a passwordless challenge does not require a PIN or a finger")
	case !passwordless && len(r.Allow) == 0:
		err = errors.New("it names no credential")
	}
	if err != nil {
		return fmt.Errorf("%w: security key challenge: %w", ErrRejected, err)
	}
	return nil
}

// Check judges the options of a new key as AssertRequest.Check does a challenge.
func (r *RegisterRequest) Check() error {
	err := checkChallenge(r.Challenge, r.RPID, r.Origin, r.Reached)
	if err == nil {
		err = checkCredentials(r.Exclude)
	}
	switch {
	case err != nil:
	case len(r.UserID) == 0 || len(r.UserID) > maxUserHandle:
		err = fmt.Errorf("a user handle of %d bytes", len(r.UserID))
	case r.User == "" || r.RPName == "" || strings.ContainsAny(r.User, "\n\x00"):
		err = errors.New("it does not name the user and the cluster")
	case len(r.User) > maxUserName:
		err = fmt.Errorf("a user name of %d bytes", len(r.User))
	case r.Resident && !r.UserVerification:
		err = errors.New("a passwordless key is asked for that needs no PIN or finger")
	}
	if err != nil {
		return fmt.Errorf("%w: new security key: %w", ErrRejected, err)
	}
	return nil
}

func checkChallenge(challenge []byte, rpID, origin, reached string) error {
	if n := len(challenge); n < minChallenge || n > maxChallenge {
		return fmt.Errorf("it has %d bytes", n)
	}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(origin, "https://"))
	if err != nil || strings.ContainsAny(host, "\"\\/ ") {
		return fmt.Errorf("%s is no origin", text.Line(origin))
	}
	if err := checkRPID(rpID, host); err != nil || reached == "" {
		return err
	}
	// The proxy that was logged in to may be anyone's, and relay what the real one asks.
	if err := checkRPID(rpID, reached); err != nil {
		return fmt.Errorf("%w; the login was made there, so log in at %s itself", err, text.Line(host))
	}
	return nil
}

func checkCredentials(ids [][]byte) error {
	if len(ids) > maxCredentials {
		return fmt.Errorf("it names %d credentials, more than %d", len(ids), maxCredentials)
	}
	for _, id := range ids {
		if len(id) == 0 || len(id) > maxCredentialID {
			return fmt.Errorf("it names a credential of %d bytes", len(id))
		}
	}
	return nil
}

// checkRPID refuses a relying party that is not the proxy: it has to be the
// proxy's host or a domain above it. One label alone, and what looks like the
// registry of others' domains (co.uk), would be everybody's name.
func checkRPID(rpID, host string) error {
	rpID, host = strings.ToLower(rpID), strings.ToLower(strings.TrimSuffix(host, "."))
	if rpID == host && rpID != "" {
		return nil
	}
	mismatch := fmt.Errorf("it is for %q, and the proxy is %s", text.Line(rpID), text.Line(host))
	switch {
	case rpID == "" || len(rpID) > maxRPID || net.ParseIP(host) != nil:
		return mismatch
	case !strings.HasSuffix(host, "."+rpID) || strings.HasPrefix(rpID, "."):
		return mismatch
	case !strings.Contains(rpID, ".") || registry(rpID):
		return fmt.Errorf("%w: no single owner stands behind that name", mismatch)
	}
	return nil
}

// registry reports names like co.uk and com.au: two labels, the last a country's
// and the first what registries there put names of the world's kinds under. The
// list of all such names is half a megabyte; these are the usual ones, and the
// key's own registration with one exact name is what protects the rest.
func registry(name string) bool {
	first, country, _ := strings.Cut(name, ".")
	if len(country) != 2 {
		return false
	}
	switch first {
	case "ac", "co", "com", "edu", "go", "gob", "gov", "gv", "ltd", "mil", "ne", "net", "nom", "or", "org", "plc", "sch":
		return true
	}
	return false
}
