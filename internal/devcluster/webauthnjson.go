package devcluster

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// The web API's forms of challenge and answer. A challenge has standard base64,
// which is what JSON makes of bytes; an answer the URL alphabet without padding.
type assertionChallenge struct {
	PublicKey challengeOptions `json:"publicKey"`
}

type challengeOptions struct {
	Challenge        []byte              `json:"challenge"`
	Timeout          int64               `json:"timeout,omitempty"`
	RPID             string              `json:"rpId"`
	AllowCredentials []allowedCredential `json:"allowCredentials,omitempty"`
	UserVerification string              `json:"userVerification,omitempty"`
}

type allowedCredential struct {
	Type string `json:"type"`
	ID   []byte `json:"id"`
}

// json is the web API's form of the options; nil of none.
func (o *requestOptions) json() *assertionChallenge {
	if o == nil {
		return nil
	}
	c := &assertionChallenge{challengeOptions{
		Challenge: o.Challenge, Timeout: o.Timeout.Milliseconds(), RPID: o.RPID, UserVerification: o.UserVerification,
	}}
	for _, id := range o.AllowCredentials {
		c.PublicKey.AllowCredentials = append(c.PublicKey.AllowCredentials, allowedCredential{publicKey, id})
	}
	return c
}

// urlBytes are bytes in the URL alphabet of base64, with or without padding.
type urlBytes []byte

// UnmarshalJSON implements json.Unmarshaler.
func (b *urlBytes) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	*b = raw
	return err
}

// assertionResponse is the web API's form of a security key's answer.
type assertionResponse struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"`
	RawID    urlBytes `json:"rawId"`
	Response struct {
		ClientDataJSON    urlBytes `json:"clientDataJSON"`
		AuthenticatorData urlBytes `json:"authenticatorData"`
		Signature         urlBytes `json:"signature"`
		UserHandle        urlBytes `json:"userHandle"`
		AttestationObject urlBytes `json:"attestationObject"` // of a registration
	} `json:"response"`
	Extensions struct {
		CredProps struct {
			RK bool `json:"rk"`
		} `json:"credProps"`
	} `json:"clientExtensionResults"`
}

// parseAssertionResponse reads an answer in the web API's form.
func parseAssertionResponse(raw []byte) (*assertionResponse, error) {
	r := new(assertionResponse)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, errBadAnswer
	}
	if r.Type != publicKey || len(r.RawID) == 0 || r.ID != base64.RawURLEncoding.EncodeToString(r.RawID) {
		return nil, errBadAnswer
	}
	return r, nil
}

func (r *assertionResponse) answer() assertionAnswer {
	return assertionAnswer{
		CredentialID: r.RawID, ClientDataJSON: r.Response.ClientDataJSON, AuthenticatorData: r.Response.AuthenticatorData,
		Signature: r.Response.Signature, UserHandle: r.Response.UserHandle,
	}
}

// BeginRegistration asks for a new security key of a user, in the JSON form
// that browsers take; passwordless asks for one that logs the user in on its
// own. It stands in for an invitation's page.
func (c *Cluster) BeginRegistration(userName string, passwordless bool) ([]byte, error) {
	opts, err := c.beginRegistration(userName, passwordless)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"publicKey": opts})
}

// FinishRegistration stores the key that has answered BeginRegistration, under a
// name. The answer is in the JSON form that browsers give.
func (c *Cluster) FinishRegistration(userName, deviceName string, answer []byte) error {
	r, err := parseAssertionResponse(answer)
	if err != nil {
		return err
	}
	_, err = c.finishRegistration(userName, deviceName, registrationAnswer{
		CredentialID: r.RawID, ClientDataJSON: r.Response.ClientDataJSON,
		AttestationObject: r.Response.AttestationObject, Resident: r.Extensions.CredProps.RK,
	})
	return err
}
