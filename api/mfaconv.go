package api

import (
	"errors"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
)

const publicKeyType = "public-key"

func newDevice(d *mfawire.Device) *mfa.Device {
	device := &mfa.Device{
		Kind: d.Kind, SubKind: d.SubKind, Version: d.Version, ID: d.ID,
		Metadata: mfa.Metadata{
			Name: d.Metadata.Name, Namespace: d.Metadata.Namespace, Description: d.Metadata.Description,
			Labels: d.Metadata.Labels, Revision: d.Metadata.Revision,
		},
		AddedAt: d.AddedAt.Time(), LastUsed: d.LastUsed.Time(),
		TOTP: (*struct{})(d.TOTP), U2F: (*struct{})(d.U2F), SSO: (*mfa.SSODevice)(d.SSO),
	}
	if expires := d.Metadata.Expires.Time(); !expires.IsZero() {
		device.Metadata.Expires = &expires
	}
	if w := d.WebAuthn; w != nil {
		device.WebAuthn = &mfa.WebAuthnDevice{
			CredentialID: w.CredentialID, PublicKeyCBOR: w.PublicKeyCBOR, AttestationType: w.AttestationType,
			AAGUID: w.AAGUID, SignatureCounter: uint32(w.SignatureCounter), AttestationObject: w.AttestationObject,
			ResidentKey: w.ResidentKey, CredentialRPID: w.CredentialRPID,
		}
	}
	return device
}

func newChallenge(c *mfawire.Challenge) *mfa.Challenge {
	challenge := &mfa.Challenge{TOTP: c.TOTP != nil, SSO: c.SSO != nil}
	if c.WebAuthn == nil || c.WebAuthn.PublicKey == nil {
		return challenge
	}
	options := c.WebAuthn.PublicKey
	challenge.WebAuthn = &mfa.Assertion{
		Challenge: options.Challenge, RPID: options.RPID, Allowed: credentialIDs(options.AllowCredentials),
		UserVerification: options.UserVerification, Timeout: milliseconds(options.TimeoutMS),
	}
	return challenge
}

func credentialIDs(descriptors []*mfawire.Descriptor) [][]byte {
	var ids [][]byte
	for _, d := range descriptors {
		if d.Type == publicKeyType {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// milliseconds is a server's timeout; one that makes no sense is none.
func milliseconds(n int64) time.Duration {
	if n <= 0 || n > time.Hour.Milliseconds() {
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

func newAnswer(a *mfa.Answer) *mfawire.Answer {
	answer := new(mfawire.Answer)
	switch {
	case a.WebAuthn != nil:
		answer.WebAuthn = &mfawire.AssertionResponse{Type: publicKeyType, RawID: a.WebAuthn.CredentialID}
		response := &answer.WebAuthn.Response
		response.ClientDataJSON, response.AuthenticatorData = a.WebAuthn.ClientDataJSON, a.WebAuthn.AuthenticatorData
		response.Signature, response.UserHandle = a.WebAuthn.Signature, a.WebAuthn.UserHandle
	case a.Code != "":
		answer.TOTP = &mfawire.TOTPAnswer{Code: a.Code}
	}
	return answer
}

func newRegisterChallenge(c *mfawire.RegisterChallenge) (*mfa.RegisterChallenge, error) {
	switch {
	case c.TOTP != nil:
		secret := &mfa.Secret{
			Base32: strings.TrimRight(c.TOTP.Secret, "="), Issuer: c.TOTP.Issuer, Account: c.TOTP.Account, ID: c.TOTP.ID,
			Algorithm: strings.ToUpper(c.TOTP.Algorithm), Digits: int(c.TOTP.Digits), Period: int(c.TOTP.PeriodSeconds),
		}
		return &mfa.RegisterChallenge{TOTP: secret}, secret.Check()
	case c.WebAuthn != nil && c.WebAuthn.PublicKey != nil:
		creation := newCreation(c.WebAuthn.PublicKey)
		return &mfa.RegisterChallenge{WebAuthn: creation}, creation.Check()
	}
	return nil, errors.New("the cluster has sent no challenge that a device could answer")
}

func newCreation(o *mfawire.CreationOptions) *mfa.Creation {
	creation := &mfa.Creation{
		Challenge: o.Challenge, RPID: o.RP.ID, RPName: o.RP.Name,
		UserID: o.User.ID, UserName: o.User.Name, DisplayName: o.User.DisplayName,
		Excluded: credentialIDs(o.ExcludeCredentials), Attestation: o.Attestation, Timeout: milliseconds(o.TimeoutMS),
	}
	for _, p := range o.Parameters {
		if p.Type == publicKeyType {
			creation.Algorithms = append(creation.Algorithms, p.Algorithm)
		}
	}
	if o.Selection != nil {
		creation.ResidentKey, creation.UserVerification = o.Selection.RequireResidentKey, o.Selection.UserVerification
	}
	return creation
}

func newRegisterAnswer(challenge *mfa.RegisterChallenge, a *mfa.RegisterAnswer) *mfawire.RegisterAnswer {
	answer := new(mfawire.RegisterAnswer)
	switch {
	case a.WebAuthn != nil:
		answer.WebAuthn = &mfawire.CreationResponse{Type: publicKeyType, RawID: a.WebAuthn.CredentialID}
		answer.WebAuthn.Response.ClientDataJSON = a.WebAuthn.ClientDataJSON
		answer.WebAuthn.Response.AttestationObject = a.WebAuthn.AttestationObject
	case challenge.TOTP != nil:
		answer.TOTP = &mfawire.TOTPRegisterAnswer{Code: a.Code, ID: challenge.TOTP.ID}
	}
	return answer
}
