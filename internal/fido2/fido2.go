// Package fido2 speaks with the security keys that are plugged in. Built with the
// tag libfido2 (and cgo) it does so itself, through the library of that name;
// otherwise through the programs fido2-token, fido2-assert and fido2-cred that
// come with it, where they are installed.
package fido2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
)

// Options is what keys need of the person.
type Options struct {
	// PIN asks for the PIN of the named device, without echo.
	PIN func(ctx context.Context, device string) (string, error)
}

// minAuthData is the shortest authenticator data: hash, flags and counter.
const minAuthData = 37

// Words for what keys answer instead.
func errNoDevice() error {
	return fmt.Errorf("%w: none is plugged in, or this account may not open it", login.ErrNoKey)
}

func errNotRegistered(devices int) error {
	if devices == 1 {
		return fmt.Errorf("%w: the one that is plugged in is not registered with this cluster", login.ErrNoKey)
	}
	return fmt.Errorf("%w: none of the %d that are plugged in is registered with this cluster", login.ErrNoKey, devices)
}

func errNoPIN() error {
	return fmt.Errorf("%w: it has no PIN yet, and this takes one (fido2-token -S DEVICE sets it)", login.ErrNoKey)
}

func errWrongPIN() error { return errors.New("the PIN of the security key is wrong") }

func errPINBlocked() error {
	return errors.New("the security key takes no PIN any more: too many were wrong; unplug it and try again, or reset it")
}

func errExcluded() error {
	return fmt.Errorf("%w: what is plugged in is registered already", login.ErrNoKey)
}

// resident is a credential that names its user.
type resident struct {
	id, userID []byte
	user       string
}

// pick chooses among the users that a key speaks for.
func pick(list []resident, user string) (resident, error) {
	if len(list) == 0 {
		return resident{}, errNotRegistered(1)
	}
	var names []string
	for _, r := range list {
		if r.user == user || user == "" && len(list) == 1 {
			return r, nil
		}
		names = append(names, text.Line(r.user))
	}
	if user != "" {
		return resident{}, fmt.Errorf("%w: it speaks for %s, not for %s", login.ErrNoKey, strings.Join(names, ", "), text.Line(user))
	}
	return resident{}, fmt.Errorf("%w: it speaks for several users (%s), and --user does not say for which", login.ErrNoKey, strings.Join(names, ", "))
}

// checkAuthData refuses what is not signed for the cluster that asked.
func checkAuthData(data []byte, rpID string) error {
	hash := sha256.Sum256([]byte(rpID))
	if len(data) < minAuthData || !bytes.Equal(data[:len(hash)], hash[:]) {
		return errors.New("the security key's answer is for something else")
	}
	return nil
}

// first asks all candidates at once. Whoever answers first counts, and the
// others are let go. Where all fail the first failure does.
func first[C, T any](ctx context.Context, candidates []C, ask func(context.Context, C) (*T, error)) (*T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		got *T
		err error
	}
	answers := make(chan answer, len(candidates))
	for _, c := range candidates {
		go func() {
			got, err := ask(ctx, c)
			answers <- answer{got, err}
		}()
	}
	var won *T
	var failed error
	for range candidates { // all: nothing is left running behind
		switch a := <-answers; {
		case a.err == nil && won == nil:
			won = a.got
			cancel()
		case failed == nil:
			failed = a.err
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, failed
}
