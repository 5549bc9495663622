//go:build !libfido2

package fido2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-087d674e/tsh/login"
)

// Register implements login.Authenticator.
func (k *keys) Register(ctx context.Context, req login.RegisterRequest) (*login.Registration, error) {
	devices, err := k.devices(ctx)
	if err != nil {
		return nil, err
	}
	text, hash := req.ClientData()
	if devices = k.without(ctx, devices, &req, hash); len(devices) == 0 {
		return nil, errExcluded()
	}
	if req.Resident || req.UserVerification {
		devices = devices[:1] // a PIN is one key's
	}
	r, err := first(ctx, devices, func(ctx context.Context, device string) (*login.Registration, error) {
		return k.make(ctx, device, &req, hash)
	})
	if err != nil {
		return nil, explain(err)
	}
	r.ClientDataJSON = text
	return r, nil
}

// without leaves out the keys that are registered already.
func (k *keys) without(ctx context.Context, devices []string, req *login.RegisterRequest, hash []byte) (free []string) {
	if len(req.Exclude) == 0 {
		return devices
	}
	ctx, cancel := context.WithTimeout(ctx, quickAnswer)
	defer cancel()
	q := &question{keys: k, req: login.AssertRequest{RPID: req.RPID, Allow: req.Exclude}, hash: hash}
	for _, device := range devices {
		if !q.probe(ctx, device).sure {
			free = append(free, device)
		}
	}
	return free
}

// make has one key make a credential, which takes a touch. Some keys that have a
// PIN want it for this in any case.
func (k *keys) make(ctx context.Context, device string, req *login.RegisterRequest, hash []byte) (*login.Registration, error) {
	args := []string{"-M"}
	if req.Resident {
		args = append(args, "-r")
	}
	if req.UserVerification {
		args = append(args, "-v")
	}
	c := &call{path: k.cred, args: append(args, device, "es256"), input: []string{b64(hash), req.RPID, req.User, b64(req.UserID)}}
	var err error
	if req.UserVerification {
		if c.pin, err = k.pin(ctx, device); err != nil {
			return nil, err
		}
	}
	lines, err := c.run(ctx)
	if c.pin == "" && (says(err, "Enter PIN") || says(err, "FIDO_ERR_PIN_REQUIRED")) {
		if c.pin, err = k.pin(ctx, device); err != nil {
			return nil, err
		}
		lines, err = c.run(ctx)
	}
	if err != nil {
		return nil, err
	}
	return readCredential(lines, req.RPID, hash)
}

// readCredential reads what fido2-cred prints: client data hash, relying party,
// format, authenticator data wrapped in CBOR, credential, signature and perhaps
// a certificate.
func readCredential(lines []string, rpID string, hash []byte) (*login.Registration, error) {
	if len(lines) < 6 || lines[0] != b64(hash) || lines[1] != rpID {
		return nil, errors.New("fido2-cred answers something else than was asked")
	}
	var blobs [4][]byte
	for i, line := range lines[3:min(len(lines), 7)] {
		var err error
		if blobs[i], err = base64.StdEncoding.DecodeString(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("fido2-cred: %w", err)
		}
	}
	data, err := unwrap(blobs[0])
	if err == nil {
		err = checkAuthData(data, rpID)
	}
	if err != nil {
		return nil, fmt.Errorf("fido2-cred: %w", err)
	}
	a := &attestation{format: lines[2], authData: data, sig: blobs[2], cert: blobs[3]}
	return &login.Registration{CredentialID: blobs[1], AttestationObject: a.object()}, nil
}
