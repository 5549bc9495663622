// Package mfa holds what is said about second factors (MFA devices) to and by
// an auth server. The calls are methods of api.Client:
//
//	devices, err := client.MFADevices(ctx)
//
// Text in it comes from the server as it is.
package mfa

import (
	"errors"
	"log/slog"
	"slices"
	"time"
)

// MaxName is how long a device's name may be, in bytes.
const MaxName = 30

// Errors of the calls that a caller may want to tell apart, with errors.Is.
var (
	// ErrExists: the user has a device of that name, or with that key, already.
	ErrExists = errors.New("there is such a device already")
	// ErrLast: the device is the last that the cluster lets the user log in with.
	ErrLast = errors.New("the last device cannot be deleted")
	// ErrNotRequired: the session takes no second factor.
	ErrNotRequired = errors.New("no second factor is required")
	// ErrWrongCode: a one-time code does not match, or has been used already.
	ErrWrongCode = errors.New("wrong one-time code")
)

// Scope is what the answer to a challenge may be used for.
type Scope int32

// The scopes that commands ask for.
const (
	ScopeHeadless      Scope = 3 // approving the login of another machine
	ScopeManageDevices Scope = 4 // adding and deleting devices
	ScopeSession       Scope = 6 // a session on a server
)

// Challenge is what the person may answer with. Several may be possible; none
// is for a person without a device that can answer.
type Challenge struct {
	TOTP     bool
	WebAuthn *Assertion // nil if no security key can answer
	SSO      bool       // the login at an identity provider, which has no answer here
	// Reusable: one answer may serve several sessions, if the cluster lets it.
	Reusable bool
}

// Empty reports whether there is nothing to answer with.
func (c *Challenge) Empty() bool { return !c.TOTP && c.WebAuthn == nil && !c.SSO }

// Assertion asks for a signature by one of a person's security keys.
type Assertion struct {
	Challenge        []byte
	RPID             string
	Allowed          [][]byte
	UserVerification string // "discouraged", "preferred", "required"
	Timeout          time.Duration
}

// AssertionAnswer is a security key's signature.
type AssertionAnswer struct {
	CredentialID      []byte
	ClientDataJSON    []byte
	AuthenticatorData []byte
	Signature         []byte
	UserHandle        []byte
}

// Answer is the answer to a Challenge: one of its fields, or neither for a
// challenge that is empty.
type Answer struct {
	Code     string
	WebAuthn *AssertionAnswer
}

const redacted = "REDACTED"

func (Answer) String() string       { return redacted }
func (Answer) GoString() string     { return redacted }
func (Answer) LogValue() slog.Value { return slog.StringValue(redacted) }

// Kind is a kind of device that can be added.
type Kind int32

// The kinds of devices that can be added.
const (
	TOTP     Kind = 1 // one-time codes
	WebAuthn Kind = 3 // a security key
)

// Registration asks to add a device.
type Registration struct {
	Kind Kind
	// Passwordless: the device shall replace the password, too. WebAuthn only.
	Passwordless bool
	// Existing is the answer to a challenge of ScopeManageDevices.
	Existing Answer
}

// RegisterChallenge is what the new device has to answer: one of the two is set.
type RegisterChallenge struct {
	TOTP     *Secret
	WebAuthn *Creation
	// Passwordless is what was asked for.
	Passwordless bool
	// Token is what servers of 14.x take instead of an answer.
	Token string
}

func (RegisterChallenge) String() string       { return redacted }
func (RegisterChallenge) GoString() string     { return redacted }
func (RegisterChallenge) LogValue() slog.Value { return slog.StringValue(redacted) }

// Creation asks a security key for a new key.
type Creation struct {
	Challenge        []byte
	RPID, RPName     string
	UserID           []byte
	UserName         string
	DisplayName      string
	Algorithms       []int32  // COSE's numbers: -7 is ES256
	Excluded         [][]byte // credentials whose authenticator must not make another
	ResidentKey      bool     // the key has to be found without its ID
	UserVerification string
	Attestation      string
	Timeout          time.Duration
}

// ES256 is COSE's number for ECDSA with P-256 and SHA-256, the one kind of key
// that tsh makes.
const ES256 = -7

// Check refuses a request for a key that must not be made, or that no key could
// be made for.
func (c *Creation) Check() error {
	for _, part := range []struct {
		name  string
		empty bool
	}{
		{"challenge", len(c.Challenge) == 0}, {"RP ID", c.RPID == ""}, {"RP name", c.RPName == ""},
		{"user ID", len(c.UserID) == 0}, {"user name", c.UserName == ""}, {"display name", c.DisplayName == ""},
	} {
		if part.empty {
			return errors.New("the cluster asks for a security key with an empty " + part.name)
		}
	}
	if !slices.Contains(c.Algorithms, ES256) {
		return errors.New("the cluster does not accept keys of the kind ES256, which is the one that tsh makes")
	}
	return nil
}

// CreationAnswer is a security key's new key.
type CreationAnswer struct {
	CredentialID      []byte
	ClientDataJSON    []byte
	AttestationObject []byte
}

// RegisterAnswer is the answer to a RegisterChallenge: one of its fields is set.
type RegisterAnswer struct {
	Code     string
	WebAuthn *CreationAnswer
}

func (RegisterAnswer) String() string       { return redacted }
func (RegisterAnswer) GoString() string     { return redacted }
func (RegisterAnswer) LogValue() slog.Value { return slog.StringValue(redacted) }
