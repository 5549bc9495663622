//go:build libfido2

package fido2

// #include <stdlib.h>
// #include <fido.h>
import "C"

import (
	"context"
	"errors"
	"unsafe"

	"github.com/seed-087d674e/tsh/login"
)

// Register implements login.Authenticator.
func (k *keys) Register(ctx context.Context, req login.RegisterRequest) (*login.Registration, error) {
	devices, err := k.devices()
	if err != nil {
		return nil, err
	}
	defer closeAll(devices)
	text, hash := req.ClientData()
	free := devices
	if req.Resident || req.UserVerification {
		free = devices[:1] // a PIN is one key's
	}
	r, err := first(ctx, free, func(ctx context.Context, d *device) (*login.Registration, error) { return k.make(ctx, d, req, hash) })
	if err != nil {
		return nil, err
	}
	r.ClientDataJSON = text
	return r, nil
}

// make has one key make a credential, which takes a touch. Some keys that have a
// PIN want it for this in any case.
func (k *keys) make(ctx context.Context, d *device, req login.RegisterRequest, hash []byte) (*login.Registration, error) {
	c, err := newCred(req, hash)
	if err != nil {
		return nil, err
	}
	defer C.fido_cred_free(&c)
	var pin *C.char
	if req.UserVerification {
		if pin, err = k.verifies(ctx, d); err != nil {
			return nil, err
		}
		C.fido_cred_set_uv(c, C.FIDO_OPT_TRUE)
	}
	defer func() { forget(pin) }()
	attempt := func() error {
		return d.wait(ctx, func() C.int { return C.fido_dev_make_cred(d.dev, c, pin) })
	}
	err = attempt()
	var refused *libraryError
	if pin == nil && errors.As(err, &refused) && refused.code == C.FIDO_ERR_PIN_REQUIRED {
		if pin, err = k.pin(ctx, d); err == nil {
			err = attempt()
		}
	}
	if err != nil {
		return nil, err
	}
	a := &attestation{
		format:   C.GoString(C.fido_cred_fmt(c)),
		authData: goBytes(C.fido_cred_authdata_raw_ptr(c), C.fido_cred_authdata_raw_len(c)),
		sig:      goBytes(C.fido_cred_sig_ptr(c), C.fido_cred_sig_len(c)),
		cert:     goBytes(C.fido_cred_x5c_ptr(c), C.fido_cred_x5c_len(c)),
	}
	if err := checkAuthData(a.authData, req.RPID); err != nil {
		return nil, err
	}
	return &login.Registration{CredentialID: goBytes(C.fido_cred_id_ptr(c), C.fido_cred_id_len(c)), AttestationObject: a.object()}, nil
}

func newCred(req login.RegisterRequest, hash []byte) (*C.fido_cred_t, error) {
	c := C.fido_cred_new()
	if c == nil {
		return nil, errors.New("libfido2: out of memory")
	}
	rpID, rpName, user := C.CString(req.RPID), C.CString(req.RPName), C.CString(req.User)
	defer C.free(unsafe.Pointer(rpID))
	defer C.free(unsafe.Pointer(rpName))
	defer C.free(unsafe.Pointer(user))
	p, n := pointer(hash)
	id, idLen := pointer(req.UserID)
	results := []C.int{
		C.fido_cred_set_type(c, C.COSE_ES256), C.fido_cred_set_clientdata_hash(c, p, n), C.fido_cred_set_rp(c, rpID, rpName),
		C.fido_cred_set_user(c, id, idLen, user, user, nil),
	}
	if req.Resident {
		results = append(results, C.fido_cred_set_rk(c, C.FIDO_OPT_TRUE))
	}
	for _, known := range req.Exclude {
		p, n := pointer(known)
		results = append(results, C.fido_cred_exclude(c, p, n))
	}
	if err := firstFailure(results...); err != nil {
		C.fido_cred_free(&c)
		return nil, err
	}
	return c, nil
}
