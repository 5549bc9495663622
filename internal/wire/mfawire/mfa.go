// Package mfawire holds the messages about second factors that the client
// exchanges with an auth server: challenges, devices, and what registers and
// deletes them. They follow the rules of package wire. Extensions of WebAuthn are
// left out: no key here answers for the identifiers of U2F, and what the client
// says of cred_props is of no use where it is not asked for a resident key.
package mfawire

import "github.com/seed-087d674e/tsh/internal/wire"

// ChallengeRequest asks for a challenge to the devices of the caller
// (CreateAuthenticateChallenge). Who is challenged is a oneof that is left out,
// which means the caller; so do servers understand it that are older.
type ChallengeRequest struct {
	Extensions *ChallengeExtensions `wire:"6"`
}

// ChallengeExtensions says what the answer is for. Servers of 14.x do not know it.
type ChallengeExtensions struct {
	Scope int32 `wire:"1"`
}

// Challenge is what a person may answer with; several may be set.
type Challenge struct {
	TOTP     *wire.Empty          `wire:"2"`
	WebAuthn *CredentialAssertion `wire:"3"`
	Required int32                `wire:"4"` // 1 yes, 2 no
	SSO      *wire.Empty          `wire:"5"` // its fields are for those who can answer it
}

// Answer is the answer to a Challenge: one of its fields, or none where there
// is no device yet.
type Answer struct {
	TOTP     *TOTPAnswer        `wire:"2"`
	WebAuthn *AssertionResponse `wire:"3"`
}

// TOTPAnswer is a one-time code.
type TOTPAnswer struct {
	Code string `wire:"1"`
}

// CredentialAssertion asks for a signature by a key that is registered.
type CredentialAssertion struct {
	PublicKey *RequestOptions `wire:"1"`
}

// RequestOptions are the options of a CredentialAssertion.
type RequestOptions struct {
	Challenge        []byte        `wire:"1"`
	TimeoutMS        int64         `wire:"2"`
	RPID             string        `wire:"3"`
	AllowCredentials []*Descriptor `wire:"4"`
	UserVerification string        `wire:"6"`
}

// Descriptor names a credential.
type Descriptor struct {
	Type string `wire:"1"`
	ID   []byte `wire:"2"`
}

// AssertionResponse is the signature for a CredentialAssertion.
type AssertionResponse struct {
	Type     string `wire:"1"`
	RawID    []byte `wire:"2"`
	Response struct {
		ClientDataJSON    []byte `wire:"1"`
		AuthenticatorData []byte `wire:"2"`
		Signature         []byte `wire:"3"`
		UserHandle        []byte `wire:"4"`
	} `wire:"3"`
}

// GetDevicesResponse answers GetMFADevices, whose request is empty.
type GetDevicesResponse struct {
	Devices []*Device `wire:"1"`
}

// Device is a second factor of a user; one of the last four is set.
type Device struct {
	Kind     string          `wire:"1"`
	SubKind  string          `wire:"2"`
	Version  string          `wire:"3"`
	Metadata wire.Metadata   `wire:"4"`
	ID       string          `wire:"5"`
	AddedAt  *wire.Timestamp `wire:"6"`
	LastUsed *wire.Timestamp `wire:"7"`
	TOTP     *wire.Empty     `wire:"8"`
	U2F      *wire.Empty     `wire:"9"`
	WebAuthn *WebAuthnDevice `wire:"10"`
	SSO      *SSODevice      `wire:"11"`
}

// WebAuthnDevice is what a server tells of a security key.
type WebAuthnDevice struct {
	CredentialID      []byte `wire:"1"`
	PublicKeyCBOR     []byte `wire:"2"`
	AttestationType   string `wire:"3"`
	AAGUID            []byte `wire:"4"`
	SignatureCounter  uint64 `wire:"5"`
	AttestationObject []byte `wire:"6"`
	ResidentKey       bool   `wire:"7"`
	CredentialRPID    string `wire:"8"`
}

// SSODevice is a second factor that an SSO connector stands for.
type SSODevice struct {
	ConnectorID   string `wire:"1"`
	ConnectorType string `wire:"2"`
	DisplayName   string `wire:"3"`
}

// RegisterChallengeRequest begins to add a device (CreateRegisterChallenge).
// Either a token or an answer says that an old device agrees.
type RegisterChallengeRequest struct {
	TokenID     string  `wire:"1"`
	DeviceType  int32   `wire:"2"` // 1 TOTP, 3 WebAuthn
	DeviceUsage int32   `wire:"3"` // 1 second factor, 2 passwordless
	Existing    *Answer `wire:"4"`
}

// RegisterChallenge is what the new device has to answer: one of the two.
type RegisterChallenge struct {
	TOTP     *TOTPRegisterChallenge `wire:"2"`
	WebAuthn *CredentialCreation    `wire:"3"`
}

// TOTPRegisterChallenge is the secret of new one-time codes.
type TOTPRegisterChallenge struct {
	Secret        string `wire:"1"` // base32
	Issuer        string `wire:"2"`
	PeriodSeconds uint64 `wire:"3"`
	Algorithm     string `wire:"4"`
	Digits        uint64 `wire:"5"`
	Account       string `wire:"6"`
	ID            string `wire:"8"`
}

// CredentialCreation asks for a new key.
type CredentialCreation struct {
	PublicKey *CreationOptions `wire:"1"`
}

// CreationOptions are the options of a CredentialCreation.
type CreationOptions struct {
	Challenge []byte `wire:"1"`
	RP        struct {
		ID   string `wire:"1"`
		Name string `wire:"2"`
	} `wire:"2"`
	User struct {
		ID          []byte `wire:"1"`
		Name        string `wire:"2"`
		DisplayName string `wire:"3"`
	} `wire:"3"`
	Parameters         []*CredentialParameter `wire:"4"`
	TimeoutMS          int64                  `wire:"5"`
	ExcludeCredentials []*Descriptor          `wire:"6"`
	Attestation        string                 `wire:"7"`
	Selection          *struct {
		Attachment         string `wire:"1"`
		RequireResidentKey bool   `wire:"2"`
		UserVerification   string `wire:"3"`
	} `wire:"9"`
}

// CredentialParameter is a kind of key that the server accepts.
type CredentialParameter struct {
	Type      string `wire:"1"`
	Algorithm int32  `wire:"2"` // COSE's number: -7 is ES256
}

// CreationResponse is a new key.
type CreationResponse struct {
	Type     string `wire:"1"`
	RawID    []byte `wire:"2"`
	Response struct {
		ClientDataJSON    []byte `wire:"1"`
		AttestationObject []byte `wire:"2"`
	} `wire:"3"`
}

// RegisterAnswer is the answer to a RegisterChallenge: one of the two.
type RegisterAnswer struct {
	TOTP     *TOTPRegisterAnswer `wire:"2"`
	WebAuthn *CreationResponse   `wire:"3"`
}

// TOTPRegisterAnswer is a code made with the new secret, and the secret's ID.
type TOTPRegisterAnswer struct {
	Code string `wire:"1"`
	ID   string `wire:"2"`
}

// AddDeviceRequest adds the device that has answered (AddMFADeviceSync).
type AddDeviceRequest struct {
	TokenID     string          `wire:"1"`
	Name        string          `wire:"2"`
	Answer      *RegisterAnswer `wire:"3"`
	DeviceUsage int32           `wire:"4"`
}

// AddDeviceResponse is the device that was added.
type AddDeviceResponse struct {
	Device *Device `wire:"1"`
}

// DeleteDeviceRequest deletes a device by its name or ID (DeleteMFADeviceSync).
type DeleteDeviceRequest struct {
	TokenID  string  `wire:"1"`
	Device   string  `wire:"2"`
	Existing *Answer `wire:"3"`
}

// PrivilegeTokenRequest asks for a token that stands for an answer
// (CreatePrivilegeToken). Existing is nil where there is no device yet.
type PrivilegeTokenRequest struct {
	Existing *Answer `wire:"1"`
}

// UserToken is a token; its name is what is shown to the server.
type UserToken struct {
	Metadata wire.Metadata `wire:"4"`
}
