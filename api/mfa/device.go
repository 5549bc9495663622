package mfa

import "time"

// Device is a second factor of a user. Its JSON form is the one that the
// commands of Teleport clients print, which differs from that of everything
// else: it has the protobuf names, and Name and Namespace with capitals.
type Device struct {
	Kind     string          `json:"kind,omitempty"` // "mfa_device"
	SubKind  string          `json:"subKind,omitempty"`
	Version  string          `json:"version,omitempty"`
	Metadata Metadata        `json:"metadata"`
	ID       string          `json:"id,omitempty"`
	AddedAt  time.Time       `json:"addedAt,omitzero"`
	LastUsed time.Time       `json:"lastUsed,omitzero"`
	TOTP     *struct{}       `json:"totp,omitempty"`
	U2F      *struct{}       `json:"u2f,omitempty"`
	WebAuthn *WebAuthnDevice `json:"webauthn,omitempty"`
	SSO      *SSODevice      `json:"sso,omitempty"`
}

// Metadata identifies a device.
type Metadata struct {
	Name        string            `json:"Name,omitempty"` // what the person calls it
	Namespace   string            `json:"Namespace,omitempty"`
	Description string            `json:"Description,omitempty"`
	Labels      map[string]string `json:"Labels,omitempty"`
	Expires     *time.Time        `json:"Expires,omitempty"`
	Revision    string            `json:"Revision,omitempty"`
}

// WebAuthnDevice is what a server tells of a security key.
type WebAuthnDevice struct {
	CredentialID      []byte `json:"credentialId,omitempty"`
	PublicKeyCBOR     []byte `json:"publicKeyCbor,omitempty"`
	AttestationType   string `json:"attestationType,omitempty"`
	AAGUID            []byte `json:"aaguid,omitempty"`
	SignatureCounter  uint32 `json:"signatureCounter,omitempty"`
	AttestationObject []byte `json:"attestationObject,omitempty"`
	ResidentKey       bool   `json:"residentKey,omitempty"`
	CredentialRPID    string `json:"credentialRpId,omitempty"`
}

// SSODevice is a second factor that an SSO connector stands for.
type SSODevice struct {
	ConnectorID   string `json:"connectorId,omitempty"`
	ConnectorType string `json:"connectorType,omitempty"`
	DisplayName   string `json:"displayName,omitempty"`
}

// Name is what the person calls the device.
func (d *Device) Name() string { return d.Metadata.Name }

// Type is the kind of device as people read it; "unknown" for one that is newer
// than this program.
func (d *Device) Type() string {
	switch {
	case d.TOTP != nil:
		return "TOTP"
	case d.WebAuthn != nil:
		return "WebAuthn"
	case d.SSO != nil:
		return "SSO"
	case d.U2F != nil:
		return "U2F"
	}
	return "unknown"
}
