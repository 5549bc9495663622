package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// Authenticator is a person's security key, or several that are asked at once.
// Both methods return when the person has touched one, or with the context's
// error as soon as it ends. They show no prompt of their own but the one for a
// PIN. Errors: ErrNoKey where there is no device, or none that could answer.
type Authenticator interface {
	// Assert has a key prove that it is there.
	Assert(ctx context.Context, req AssertRequest) (*Assertion, error)
	// Register has a key make a new credential.
	Register(ctx context.Context, req RegisterRequest) (*Registration, error)
}

// ErrNoKey: no security key can answer: there is none, none is registered with
// the cluster, or this machine cannot speak with it.
var ErrNoKey = errors.New("no security key can answer")

// AssertRequest asks for a proof that a security key is there. Bytes are raw.
type AssertRequest struct {
	Challenge []byte
	RPID      string // what the cluster is called towards keys; see Check
	Origin    string // https://host:port, always with the port; see WebAuthnOrigin
	// Reached is the host that the person logged in at, where the proxy then called
	// itself something else: a name that nothing has proved. Empty otherwise.
	Reached string
	// Allow lists the credentials that may answer. An empty list asks a key
	// that says itself who the user is.
	Allow [][]byte
	// UserVerification: a PIN or a finger is needed as well as a touch.
	UserVerification bool
	// User picks among several users that one key can speak for; it may be empty.
	User string
	// Timeout is how long the server waits for the answer; zero if it did not say.
	Timeout time.Duration
}

// Assertion is the answer to an AssertRequest. Bytes are raw.
type Assertion struct {
	CredentialID      []byte
	ClientDataJSON    []byte
	AuthenticatorData []byte
	Signature         []byte
	UserHandle        []byte // empty unless the key says who the user is
}

// RegisterRequest asks for a new credential of type ES256. Bytes are raw.
type RegisterRequest struct {
	Challenge []byte
	RPID      string
	RPName    string
	Origin    string
	Reached   string // as in AssertRequest
	UserID    []byte // what a key will call the user
	User      string
	// Exclude lists credentials: a key that holds one must not make another.
	Exclude [][]byte
	// Resident asks for a credential that says itself who the user is.
	Resident         bool
	UserVerification bool
	Timeout          time.Duration
}

// Registration is the answer to a RegisterRequest. Bytes are raw.
type Registration struct {
	CredentialID      []byte
	ClientDataJSON    []byte
	AttestationObject []byte // CBOR
}

// ClientData is what is signed of the request: the JSON text that travels with
// the answer, and its SHA-256, which is what a key gets to see. The text is the
// three members that other clients write, in their order.
func (r *AssertRequest) ClientData() (text, hash []byte) {
	return clientData("webauthn.get", r.Challenge, r.Origin)
}

// ClientData is as that of AssertRequest.
func (r *RegisterRequest) ClientData() (text, hash []byte) {
	return clientData("webauthn.create", r.Challenge, r.Origin)
}

func clientData(ceremony string, challenge []byte, origin string) (text, hash []byte) {
	// No member holds what JSON would have to escape: the origin has been checked.
	text = []byte(`{"type":"` + ceremony + `","challenge":"` + base64.RawURLEncoding.EncodeToString(challenge) + `","origin":"` + origin + `"}`)
	sum := sha256.Sum256(text)
	return text, sum[:]
}

// assertionJSON is an answer as it travels (login protocol 4.2): bytes in the URL
// alphabet of base64, unpadded.
type assertionJSON struct {
	_        [0]func()    // never compared
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	RawID    string       `json:"rawId"`
	Response responseJSON `json:"response"`
}

type responseJSON struct {
	ClientDataJSON    string `json:"clientDataJSON"`
	AuthenticatorData string `json:"authenticatorData"`
	Signature         string `json:"signature"`
	UserHandle        string `json:"userHandle,omitempty"`
}

// MarshalJSON writes the answer as the web API takes it.
func (a *Assertion) MarshalJSON() ([]byte, error) {
	b64u := base64.RawURLEncoding.EncodeToString
	return json.Marshal(assertionJSON{
		ID: b64u(a.CredentialID), Type: "public-key", RawID: b64u(a.CredentialID),
		Response: responseJSON{b64u(a.ClientDataJSON), b64u(a.AuthenticatorData), b64u(a.Signature), b64u(a.UserHandle)},
	})
}
