//go:build libfido2

package fido2

// #cgo pkg-config: libfido2
// #include <stdlib.h>
// #include <string.h>
// #include <fido.h>
import "C"

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-087d674e/tsh/login"
)

// maxDevices bounds how many keys are looked at.
const maxDevices = 16

// Open returns what speaks with the keys of this machine.
func Open(o Options) login.Authenticator {
	C.fido_init(0)
	return &keys{o}
}

// keys are all keys that are plugged in, through the library.
type keys struct{ Options }

// device is a key that is open.
type device struct {
	path string
	dev  *C.fido_dev_t
}

// devices opens everything that is plugged in. What cannot be opened is left
// out: it may be somebody else's.
func (k *keys) devices() ([]*device, error) {
	list := C.fido_dev_info_new(maxDevices)
	if list == nil {
		return nil, errors.New("libfido2: out of memory")
	}
	defer C.fido_dev_info_free(&list, maxDevices)
	var n C.size_t
	if r := C.fido_dev_info_manifest(list, maxDevices, &n); r != C.FIDO_OK {
		return nil, explain(r)
	}
	var open []*device
	for i := range n {
		path := C.fido_dev_info_path(C.fido_dev_info_ptr(list, i))
		d := &device{path: C.GoString(path), dev: C.fido_dev_new()}
		if d.dev == nil || C.fido_dev_open(d.dev, path) != C.FIDO_OK {
			d.close()
			continue
		}
		open = append(open, d)
	}
	if len(open) == 0 {
		return nil, errNoDevice()
	}
	return open, nil
}

func (d *device) close() {
	if d.dev != nil {
		C.fido_dev_close(d.dev)
		C.fido_dev_free(&d.dev)
	}
}

// wait runs what blocks until the person has touched the key, and has the key
// give up when ctx ends.
func (d *device) wait(ctx context.Context, f func() C.int) error {
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			C.fido_dev_cancel(d.dev)
		case <-done:
		}
	}()
	r := f()
	close(done)
	<-stopped
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return explain(r)
}

// libraryError is a refusal of the library or the key.
type libraryError struct{ code C.int }

func (e *libraryError) Error() string { return "security key: " + C.GoString(C.fido_strerr(e.code)) }

// explain words the refusals that a person can do something about.
func explain(r C.int) error {
	switch r {
	case C.FIDO_OK:
		return nil
	case C.FIDO_ERR_PIN_INVALID:
		return errWrongPIN()
	case C.FIDO_ERR_PIN_AUTH_BLOCKED, C.FIDO_ERR_PIN_BLOCKED:
		return errPINBlocked()
	case C.FIDO_ERR_PIN_NOT_SET:
		return errNoPIN()
	case C.FIDO_ERR_NO_CREDENTIALS:
		return errNotRegistered(1)
	case C.FIDO_ERR_CREDENTIAL_EXCLUDED:
		return errExcluded()
	}
	return &libraryError{r}
}

// verifies says how a key makes sure of its user: with a PIN that has to be
// asked for, or by itself.
func (k *keys) verifies(ctx context.Context, d *device) (pin *C.char, err error) {
	if C.fido_dev_has_uv(d.dev) {
		return nil, nil
	}
	if !C.fido_dev_has_pin(d.dev) {
		return nil, errNoPIN()
	}
	return k.pin(ctx, d)
}

func (k *keys) pin(ctx context.Context, d *device) (*C.char, error) {
	if k.PIN == nil {
		return nil, fmt.Errorf("the PIN of the security key is needed: %w", login.ErrCannotAsk)
	}
	pin, err := k.PIN(ctx, d.path)
	if err != nil {
		return nil, err
	}
	if pin == "" {
		return nil, errWrongPIN()
	}
	return C.CString(pin), nil
}

// forget wipes a PIN.
func forget(pin *C.char) {
	if pin != nil {
		clear(unsafe.Slice((*byte)(unsafe.Pointer(pin)), C.strlen(pin)))
		C.free(unsafe.Pointer(pin))
	}
}

// pointer is where bytes begin, for the length of a call.
func pointer(b []byte) (*C.uchar, C.size_t) {
	if len(b) == 0 {
		return nil, 0
	}
	return (*C.uchar)(unsafe.Pointer(&b[0])), C.size_t(len(b))
}

// goBytes copies what the library holds.
func goBytes(p *C.uchar, n C.size_t) []byte {
	if p == nil || n > 1<<16 {
		return nil
	}
	return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(p)), n))
}

// firstFailure is the first of several results that is not OK.
func firstFailure(results ...C.int) error {
	for _, r := range results {
		if r != C.FIDO_OK {
			return explain(r)
		}
	}
	return nil
}
