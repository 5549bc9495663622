package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
)

const (
	methodMFADevices        = "/proto.AuthService/GetMFADevices"
	methodChallenge         = "/proto.AuthService/CreateAuthenticateChallenge"
	methodPrivilegeToken    = "/proto.AuthService/CreatePrivilegeToken"
	methodRegisterChallenge = "/proto.AuthService/CreateRegisterChallenge"
	methodAddDevice         = "/proto.AuthService/AddMFADeviceSync"
	methodDeleteDevice      = "/proto.AuthService/DeleteMFADeviceSync"
)

// maxDevices limits how many second factors a user may be said to have.
const maxDevices = 1000

// MFADevices lists the caller's second factors, in no particular order.
func (c *Client) MFADevices(ctx context.Context) ([]*mfa.Device, error) {
	var reply mfawire.GetDevicesResponse
	if err := c.call(ctx, methodMFADevices, &wire.Empty{}, &reply); err != nil {
		return nil, err
	}
	if len(reply.Devices) > maxDevices {
		return nil, fmt.Errorf("%s lists more than %d devices", c.addr, maxDevices)
	}
	devices := make([]*mfa.Device, 0, len(reply.Devices))
	for _, d := range reply.Devices {
		devices = append(devices, newDevice(d))
	}
	return devices, nil
}

// MFAChallenge asks what the caller may prove their presence with. The answer
// is good for scope alone.
func (c *Client) MFAChallenge(ctx context.Context, scope mfa.Scope) (*mfa.Challenge, error) {
	request := mfawire.ChallengeRequest{Extensions: &mfawire.ChallengeExtensions{Scope: int32(scope)}}
	var reply mfawire.Challenge
	if err := c.call(ctx, methodChallenge, &request, &reply); err != nil {
		return nil, err
	}
	return newChallenge(&reply), nil
}

// RegisterMFADevice begins to add a device: it returns what that has to answer.
// A registration that was begun earlier is void then.
//
// Errors: *Error, which matches mfa.ErrWrongCode where it applies; an error for a
// challenge that no device could answer.
func (c *Client) RegisterMFADevice(ctx context.Context, r mfa.Registration) (*mfa.RegisterChallenge, error) {
	request := mfawire.RegisterChallengeRequest{
		DeviceType: int32(r.Kind), DeviceUsage: usage(r.Passwordless), Existing: newAnswer(&r.Existing),
	}
	var reply mfawire.RegisterChallenge
	err := c.call(ctx, methodRegisterChallenge, &request, &reply)
	if wantsToken(err) {
		if request.TokenID, err = c.privilegeToken(ctx, &r.Existing); err != nil {
			return nil, err
		}
		request.Existing = nil
		err = c.call(ctx, methodRegisterChallenge, &request, &reply)
	}
	if err != nil {
		return nil, err
	}
	challenge, err := newRegisterChallenge(&reply)
	if err != nil {
		return nil, err
	}
	if r.Kind == mfa.TOTP && challenge.TOTP == nil || r.Kind == mfa.WebAuthn && challenge.WebAuthn == nil {
		return nil, errors.New("the cluster has sent a challenge for another kind of device")
	}
	challenge.Passwordless, challenge.Token = r.Passwordless, request.TokenID
	return challenge, nil
}

// AddMFADevice adds the device that has answered the challenge of
// RegisterMFADevice, under a name of at most mfa.MaxName bytes.
//
// Errors: *Error, which matches mfa.ErrExists and mfa.ErrWrongCode where they
// apply. After a wrong code another may be tried.
func (c *Client) AddMFADevice(ctx context.Context, name string, challenge *mfa.RegisterChallenge, answer mfa.RegisterAnswer) (*mfa.Device, error) {
	request := mfawire.AddDeviceRequest{
		TokenID: challenge.Token, Name: name, DeviceUsage: usage(challenge.Passwordless),
		Answer: newRegisterAnswer(challenge, &answer),
	}
	var reply mfawire.AddDeviceResponse
	if err := c.call(ctx, methodAddDevice, &request, &reply); err != nil {
		return nil, err
	}
	if reply.Device == nil {
		return nil, fmt.Errorf("%s has not said which device was added; tsh mfa ls shows it", c.addr)
	}
	return newDevice(reply.Device), nil
}

// DeleteMFADevice deletes the device of that name or ID. The answer is one to a
// challenge of mfa.ScopeManageDevices.
//
// Errors: *Error, which matches ErrNotFound, mfa.ErrLast and mfa.ErrWrongCode
// where they apply.
func (c *Client) DeleteMFADevice(ctx context.Context, device string, existing mfa.Answer) error {
	request := mfawire.DeleteDeviceRequest{Device: device, Existing: newAnswer(&existing)}
	err := c.call(ctx, methodDeleteDevice, &request, &wire.Empty{})
	if !wantsToken(err) {
		return err
	}
	if request.TokenID, err = c.privilegeToken(ctx, &existing); err != nil {
		return err
	}
	request.Existing = nil
	return c.call(ctx, methodDeleteDevice, &request, &wire.Empty{})
}

// wantsToken reports whether a server has refused a call because it does not
// know the field with the answer, and takes a token alone (14.x). It has not
// looked at the answer then, so that this can still be spent on a token.
func wantsToken(err error) bool {
	var status *rpc.Status
	return errors.As(err, &status) && status.Code == rpc.PermissionDenied && strings.Contains(status.Message, "invalid token")
}

// privilegeToken turns the answer to a challenge into a token.
func (c *Client) privilegeToken(ctx context.Context, existing *mfa.Answer) (string, error) {
	request := mfawire.PrivilegeTokenRequest{Existing: newAnswer(existing)}
	if existing.Code == "" && existing.WebAuthn == nil {
		request.Existing = nil // there is no device yet
	}
	var reply mfawire.UserToken
	if err := c.call(ctx, methodPrivilegeToken, &request, &reply); err != nil {
		return "", err
	}
	if reply.Metadata.Name == "" {
		return "", fmt.Errorf("%s has sent an empty token", c.addr)
	}
	return reply.Metadata.Name, nil
}

// usage is the server's number for what a device is for.
func usage(passwordless bool) int32 {
	if passwordless {
		return 2
	}
	return 1
}
