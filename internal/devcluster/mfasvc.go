package devcluster

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// Texts that clients look for.
const (
	textNeedsFactor  = "second factor authentication required"
	textBadToken     = "invalid token"
	textBadNewCode   = "invalid one time token, please check if the token has expired and try again"
	textLastDevice   = "cannot delete the last MFA device for this user; add a replacement device first to avoid getting locked out"
	textLastResident = "cannot delete last passwordless credential for user"
)

// publicKey is the one type of credential there is.
const publicKey = "public-key"

// rpcChallenge says what the caller could answer with, and to a question whether a
// session needs that, first whether it does.
func (c *Cluster) rpcChallenge(ctx context.Context, req *pb.CreateAuthenticateChallengeRequest) (*pb.MFAAuthenticateChallenge, error) {
	req = c.challenge14(req)
	challenge := new(pb.MFAAuthenticateChallenge)
	if req.MfaRequiredCheck != nil {
		required, err := c.mfaRequired(ctx, req.MfaRequiredCheck)
		if err != nil {
			return nil, err
		}
		if !required {
			return &pb.MFAAuthenticateChallenge{MfaRequired: mfaNotRequired}, nil
		}
		challenge.MfaRequired = mfaIsRequired
	}
	scope := challengeScope(req.GetChallengeExtensions().GetScope())
	if scope == 0 {
		return nil, invalid("scope not present in request")
	}
	switch req.Request.(type) {
	case nil, *pb.CreateAuthenticateChallengeRequest_ContextUser:
	default:
		return nil, status.Error(codes.Unimplemented, "only the calling user can be challenged")
	}
	if scope == scopeLogin || scope == scopePasswordless {
		return nil, invalid("a user who has logged in is not challenged for a login")
	}
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	if len(c.usable(u, kindTOTP)) > 0 {
		challenge.Totp = &pb.Empty{}
	}
	opts, err := c.beginAssertion(u, scope)
	if err != nil {
		return nil, err
	}
	if req.GetChallengeExtensions().GetAllowReuse() == reuseAllowed {
		c.ceremonies.allowReuse(userCeremony(scope, u.Name))
	}
	challenge.WebauthnChallenge = opts.message()
	return challenge, nil
}

// message is the auth API's form of the options; nil of none.
func (o *requestOptions) message() *pb.CredentialAssertion {
	if o == nil {
		return nil
	}
	m := &pb.PublicKeyCredentialRequestOptions{
		Challenge: o.Challenge, TimeoutMs: o.Timeout.Milliseconds(), RpId: o.RPID, UserVerification: o.UserVerification,
	}
	for _, id := range o.AllowCredentials {
		m.AllowCredentials = append(m.AllowCredentials, &pb.CredentialDescriptor{Type: publicKey, Id: id})
	}
	return &pb.CredentialAssertion{PublicKey: m}
}

// assertionOf is a security key's answer as the auth API has it.
func assertionOf(m *pb.CredentialAssertionResponse) assertionAnswer {
	r := m.GetResponse()
	return assertionAnswer{
		CredentialID: m.GetRawId(), ClientDataJSON: r.GetClientDataJson(), AuthenticatorData: r.GetAuthenticatorData(),
		Signature: r.GetSignature(), UserHandle: r.GetUserHandle(),
	}
}

// checkAnswer judges the answer to a challenge of a scope. None at all is right
// for a user without a device that the cluster takes.
func (c *Cluster) checkAnswer(u *user, scope challengeScope, answer *pb.MFAAuthenticateResponse) error {
	switch a := answer.GetResponse().(type) {
	case nil:
		if c.usableDevices(u) > 0 {
			return invalid("%s", textNeedsFactor)
		}
		return nil
	case *pb.MFAAuthenticateResponse_Totp:
		return c.checkCode(u, a.Totp.GetCode())
	case *pb.MFAAuthenticateResponse_Webauthn:
		_, _, err := c.finishAssertion(u.Name, scope, assertionOf(a.Webauthn))
		if errors.Is(err, errBadAnswer) {
			return refused("%s", err)
		}
		return err
	}
	return refused("this cluster has no SSO devices")
}

// checkCode judges a one-time code under the counter of failures.
func (c *Cluster) checkCode(u *user, code string) error {
	if !c.allows(kindTOTP) {
		return refused("one-time codes are not taken by this cluster")
	}
	var denied error
	err := c.changeUser(u.Name, func(stored *user) error {
		denied = stored.settle(c.now(), true, &code)
		return nil
	})
	switch {
	case err != nil:
		return err
	case errors.Is(denied, errLocked):
		return refused("%s", textLocked)
	case denied != nil:
		return refused("invalid totp token")
	}
	return nil
}

// usableDevices is how many devices the user could prove their presence with.
func (c *Cluster) usableDevices(u *user) int {
	return len(c.usable(u, kindTOTP)) + len(c.usable(u, kindWebAuthn))
}

func (c *Cluster) rpcMFADevices(ctx context.Context, _ *pb.GetMFADevicesRequest) (*pb.GetMFADevicesResponse, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	resp := new(pb.GetMFADevicesResponse)
	for _, d := range u.Devices {
		resp.Devices = append(resp.Devices, d.message())
	}
	return resp, nil
}

// message writes a device as 18.3 does: without its secrets.
func (d *device) message() *pb.MFADevice {
	m := &pb.MFADevice{
		Kind: "mfa_device", Version: "v1", Metadata: &pb.Metadata{Name: d.Name, Namespace: "default"},
		Id: d.ID, AddedAt: timestamppb.New(d.Added), LastUsed: timestamppb.New(d.lastUsed()),
	}
	switch {
	case d.Kind == kindTOTP:
		m.Device = &pb.MFADevice_Totp{Totp: &pb.TOTPDevice{}}
	case d.Credential != nil:
		m.Device = &pb.MFADevice_Webauthn{Webauthn: &pb.WebauthnDevice{
			CredentialId: d.Credential.ID, PublicKeyCbor: d.Credential.PublicKey,
			AttestationType: d.Credential.AttestationFormat, Aaguid: d.Credential.Authenticator.AAGUID,
			SignatureCounter: d.Credential.Authenticator.SignCount, AttestationObject: d.Credential.Attestation.Object,
			ResidentKey: d.Resident, CredentialRpId: d.RPID,
		}}
	}
	return m
}

// rpcDeleteDevice deletes a device by name or ID, unless the user could not log
// in any more.
func (c *Cluster) rpcDeleteDevice(ctx context.Context, req *pb.DeleteMFADeviceSyncRequest) (*pb.Empty, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case req.TokenId != "":
		err = c.enrolments.checkToken(u.Name, req.TokenId, true, c.now())
	case req.ExistingMfaResponse == nil || c.tokensOnly:
		err = c.noAnswer()
	default:
		err = c.checkAnswer(u, scopeManageDevices, req.ExistingMfaResponse)
	}
	if err != nil {
		return nil, err
	}
	if err := c.changeUser(u.Name, func(stored *user) error { return c.deleteDevice(stored, req.DeviceName) }); err != nil {
		return nil, err
	}
	c.log.Info("device deleted", "user", u.Name)
	return &pb.Empty{}, nil
}

// noAnswer is what a call without an answer or a token gets.
func (c *Cluster) noAnswer() error {
	if c.tokensOnly {
		return refused("%s", textBadToken)
	}
	return invalid("second factor authentication required: missing MFA answer")
}

// deleteDevice takes a device from a user, or says why it must stay.
func (c *Cluster) deleteDevice(u *user, nameOrID string) error {
	i := slices.IndexFunc(u.Devices, func(d *device) bool { return d.Name == nameOrID })
	if i < 0 {
		i = slices.IndexFunc(u.Devices, func(d *device) bool { return d.ID == nameOrID })
	}
	if i < 0 {
		return status.Errorf(codes.NotFound, "MFA device %q does not exist", nameOrID)
	}
	gone, before := u.Devices[i], c.usableDevices(u)
	u.Devices = slices.Delete(u.Devices, i, i+1)
	isResident := func(d *device) bool { return d.Resident }
	switch {
	case before > 0 && c.usableDevices(u) == 0:
		return invalid("%s", textLastDevice)
	case gone.Resident && len(u.PasswordHash) == 0 && !slices.ContainsFunc(u.Devices, isResident):
		return invalid("%s", textLastResident)
	}
	return nil
}
