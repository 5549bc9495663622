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

// Assert implements login.Authenticator.
func (k *keys) Assert(ctx context.Context, req login.AssertRequest) (*login.Assertion, error) {
	devices, err := k.devices()
	if err != nil {
		return nil, err
	}
	defer closeAll(devices)
	text, hash := req.ClientData()
	var candidates []*device
	for _, d := range devices {
		if d.couldAnswer(req, hash) {
			candidates = append(candidates, d)
		}
	}
	switch {
	case len(candidates) == 0:
		return nil, errNotRegistered(len(devices))
	case len(req.Allow) == 0 || req.UserVerification:
		candidates = candidates[:1] // a PIN is one key's
	}
	a, err := first(ctx, candidates, func(ctx context.Context, d *device) (*login.Assertion, error) {
		return k.ask(ctx, d, req, hash)
	})
	if err != nil {
		return nil, err
	}
	a.ClientDataJSON = text
	return a, nil
}

func closeAll(devices []*device) {
	for _, d := range devices {
		d.close()
	}
}

// couldAnswer asks a key whether it has a credential, which takes no touch. A
// key that does not say counts as one that could.
func (d *device) couldAnswer(req login.AssertRequest, hash []byte) bool {
	if len(req.Allow) == 0 && !bool(C.fido_dev_is_fido2(d.dev)) {
		return false
	}
	a, err := newAssert(req, hash)
	if err != nil {
		return false
	}
	defer C.fido_assert_free(&a)
	C.fido_assert_set_up(a, C.FIDO_OPT_FALSE)
	return C.fido_dev_get_assert(d.dev, a, nil) != C.FIDO_ERR_NO_CREDENTIALS
}

func newAssert(req login.AssertRequest, hash []byte) (*C.fido_assert_t, error) {
	a := C.fido_assert_new()
	if a == nil {
		return nil, errors.New("libfido2: out of memory")
	}
	rpID := C.CString(req.RPID)
	defer C.free(unsafe.Pointer(rpID))
	p, n := pointer(hash)
	results := []C.int{C.fido_assert_set_clientdata_hash(a, p, n), C.fido_assert_set_rp(a, rpID)}
	for _, id := range req.Allow {
		p, n := pointer(id)
		results = append(results, C.fido_assert_allow_cred(a, p, n))
	}
	if err := firstFailure(results...); err != nil {
		C.fido_assert_free(&a)
		return nil, err
	}
	return a, nil
}

// ask has one key answer, which takes a touch.
func (k *keys) ask(ctx context.Context, d *device, req login.AssertRequest, hash []byte) (*login.Assertion, error) {
	a, err := newAssert(req, hash)
	if err != nil {
		return nil, err
	}
	defer C.fido_assert_free(&a)
	C.fido_assert_set_up(a, C.FIDO_OPT_TRUE)
	var pin *C.char
	if req.UserVerification {
		if pin, err = k.verifies(ctx, d); err != nil {
			return nil, err
		}
		defer forget(pin)
		C.fido_assert_set_uv(a, C.FIDO_OPT_TRUE)
	}
	if err := d.wait(ctx, func() C.int { return C.fido_dev_get_assert(d.dev, a, pin) }); err != nil {
		return nil, err
	}
	return choose(a, req)
}

// choose takes the one answer or, of a key that speaks for several users, the
// one that is wanted.
func choose(a *C.fido_assert_t, req login.AssertRequest) (*login.Assertion, error) {
	var list []resident
	answers := make(map[string]C.size_t)
	for i := range C.fido_assert_count(a) {
		r := resident{id: goBytes(C.fido_assert_id_ptr(a, i), C.fido_assert_id_len(a, i))}
		r.userID = goBytes(C.fido_assert_user_id_ptr(a, i), C.fido_assert_user_id_len(a, i))
		if name := C.fido_assert_user_name(a, i); name != nil {
			r.user = C.GoString(name)
		}
		list = append(list, r)
		answers[string(r.id)] = i
	}
	chosen := resident{}
	switch {
	case len(list) == 0:
		return nil, errNotRegistered(1)
	case len(req.Allow) > 0:
		chosen = list[0]
	case len(list) == 1 && list[0].user == "": // keys need not say the name of an only user
		chosen = list[0]
	default:
		var err error
		if chosen, err = pick(list, req.User); err != nil {
			return nil, err
		}
	}
	i := answers[string(chosen.id)]
	data, err := unwrap(goBytes(C.fido_assert_authdata_ptr(a, i), C.fido_assert_authdata_len(a, i)))
	if err != nil {
		return nil, err
	}
	got := &login.Assertion{
		CredentialID:      chosen.id,
		AuthenticatorData: data,
		Signature:         goBytes(C.fido_assert_sig_ptr(a, i), C.fido_assert_sig_len(a, i)),
		UserHandle:        chosen.userID,
	}
	if len(got.CredentialID) == 0 && len(req.Allow) == 1 {
		got.CredentialID = req.Allow[0] // keys may leave out the only one
	}
	return got, checkAuthData(got.AuthenticatorData, req.RPID)
}
