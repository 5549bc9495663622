//go:build !linux && !freebsd && !netbsd && !openbsd

package keyring

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	gokeyring "github.com/zalando/go-keyring"

	"github.com/seed-087d674e/tsh/internal/text"
)

// What go-keyring runs or loads here is named absolutely, so that nothing is
// found in PATH or the working directory: /usr/bin/security on macOS
// (execPathKeychain of its keyring_darwin.go), advapi32.dll of the system
// directory on Windows (NewLazySystemDLL of wincred). Elsewhere it has nothing.

func read(timeout time.Duration, slot string) (string, error) {
	return within(timeout, func() (string, error) { return gokeyring.Get(service, slot) })
}

func write(timeout time.Duration, slot, value string) error {
	_, err := within(timeout, func() (string, error) { return "", gokeyring.Set(service, slot, value) })
	return err
}

func remove(timeout time.Duration, slot string) error {
	_, err := within(timeout, func() (string, error) { return "", gokeyring.Delete(service, slot) })
	if errors.Is(err, ErrMissing) {
		return nil
	}
	return err
}

// within bounds a call that go-keyring cannot be asked to give up. One that
// hangs, as a prompt of the Keychain does, goes on behind our back until it is
// answered.
func within(timeout time.Duration, call func() (string, error)) (string, error) {
	type result struct {
		value string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, judge(r.err)
	case <-timer.C:
		return "", fmt.Errorf("%w within %v", ErrNoAnswer, timeout)
	}
}

// judge turns an error of go-keyring into one of the package's.
func judge(err error) error {
	var badHex hex.InvalidByteError
	var badBase64 base64.CorruptInputError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gokeyring.ErrNotFound):
		return ErrMissing
	case errors.As(err, &badHex), errors.Is(err, hex.ErrLength), errors.As(err, &badBase64):
		return ErrDamaged // go-keyring decodes what it finds; it names bytes of it
	}
	if err := judgeSystem(err); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, text.Line(err.Error()))
}
