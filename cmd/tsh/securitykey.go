package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/internal/fido2"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
)

// Questions about second factors.
const (
	askCode      = "One-time code: "
	askCodeOrKey = "Tap your security key or enter a one-time code: "
	sayTouch     = "Tap your security key"
	askPIN       = "PIN of the security key %s: "
)

// textKeyRefused is all that a proxy says of a password or a key that is wrong.
const textKeyRefused = "invalid credentials"

// checkMFAMode refuses modes that a login does not have.
func checkMFAMode(mode string) error {
	// What is not supported fails where a second factor is asked for: the variable may
	// be there for other clients.
	if slices.Contains([]string{"", "auto", "otp", "cross-platform", "platform", "sso"}, mode) {
		return nil
	}
	return fmt.Errorf("--mfa-mode=%s (or TELEPORT_MFA_MODE) is none of auto, otp, cross-platform and platform", mode)
}

// securityKeys are the person's security keys, nil where this machine has
// nothing to speak with them.
func (a *app) securityKeys() login.Authenticator {
	return fido2.Open(fido2.Options{PIN: func(ctx context.Context, device string) (string, error) {
		return a.askSecret(ctx, fmt.Sprintf(askPIN, text.Line(device)))
	}})
}

// explainMode says what else there is where the second factor of --mfa-mode cannot be had.
func explainMode(err error, mode string) error {
	if errors.Is(err, login.ErrUnsupported) && mode != "" && mode != "auto" {
		return withHint(err, "--mfa-mode=auto asks for what you have; tsh mfa add adds another device")
	}
	return err
}

// sayTouch tells the person to touch a key.
func (a *app) sayTouch() { a.ui.say(sayTouch) }

// askCode asks for a one-time code.
func (a *app) askCode(ctx context.Context) (string, error) { return a.askFactor(ctx, askCode) }

// askFactor asks for a code that is typed without echo; spaces around it do not count.
func (a *app) askFactor(ctx context.Context, question string) (string, error) {
	code, err := a.askSecret(ctx, question)
	return strings.TrimSpace(code), err
}

// securityKeyUI adds security keys to what a login may ask for.
func (a *app) securityKeyUI(ui login.UI, t *loginTarget) login.UI {
	ui.Key, ui.Touch = a.securityKeys(), a.sayTouch
	ui.CodeOrKey = func(ctx context.Context) (string, error) { return a.askFactor(ctx, askCodeOrKey) }
	if t.passwordStdin {
		ui.CodeOrKey = func(ctx context.Context) (string, error) {
			code, err := ui.Code(ctx)
			if errors.Is(err, errEndOfInput) { // there is no second line: the key it is
				err = fmt.Errorf("%w: %w", login.ErrCannotAsk, err)
			}
			return code, err
		}
	}
	return ui
}

// What else there is where no security key can answer.
const (
	insteadOfKey      = "--mfa-mode=otp takes a one-time code, if you have a device for them"
	insteadOfNewKey   = "--type=TOTP adds an app for one-time codes"
	insteadOfOnlyKeys = "--auth=local takes a password"
)

// insteadOfKey is what else there is where no security key can log in to t.
func (a *app) insteadOfKey(t *loginTarget) string {
	auth := a.globals.auth
	if auth == "" && t.known != nil {
		auth = t.known.AuthConnector
	}
	if auth == "passwordless" {
		return insteadOfOnlyKeys
	}
	return insteadOfKey
}

// explainNoKey says what to do, and what else there is, where no security key can answer.
func explainNoKey(err error, others string) error {
	if fido2.Open(fido2.Options{}) == nil {
		return withHint(err, "install the programs of libfido2 (Debian: apt install fido2-tools, macOS: brew install libfido2);\n%s", others)
	}
	return withHint(err, "plug in the key (fido2-token -L lists what is seen);\n%s", others)
}
