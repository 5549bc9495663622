package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// Kinds of devices, as --type names them.
const (
	typeTOTP     = "TOTP"
	typeWebAuthn = "WEBAUTHN"
)

// maxAttempts is how often a question is put before the answers given count as
// an error.
const maxAttempts = 3

// mfaAddOptions are the flags of mfa add.
type mfaAddOptions struct {
	_                 [0]func() // never compared
	name              string
	kind              string
	passwordless      bool
	passwordlessGiven bool
}

func (a *app) mfaAddCommand() *cobra.Command {
	var o mfaAddOptions
	cmd := &cobra.Command{
		Use:   "add [flags]",
		Short: "Add a second factor",
		Long: "add registers a device: an app for one-time codes (TOTP), whose secret is shown as a QR code\n" +
			"and as text, on the terminal only, or a security key (WEBAUTHN). What is not given is asked for.",
		Example: "  tsh mfa add\n  tsh mfa add --type=TOTP --name=phone\n" +
			"  tsh mfa add --type=WEBAUTHN --name=blue-key --no-allow-passwordless\n" +
			"  tsh mfa add --type=WEBAUTHN --name=blue-key --allow-passwordless",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fs := cmd.Flags()
			o.passwordlessGiven = fs.Changed("allow-passwordless") || fs.Changed("no-allow-passwordless")
			if err := o.check(fs.Changed("name")); err != nil {
				return err
			}
			return a.runMFAAdd(cmd.Context(), o)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.name, "name", "", "what you call the device, a `NAME` of at most 30 bytes")
	fs.StringVar(&o.kind, "type", "", "the `KIND` of device, TOTP or WEBAUTHN")
	fs.BoolVar(&o.passwordless, "allow-passwordless", false, "the security key shall do without the password, too")
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

// check refuses what cannot be carried out before anything is asked or sent.
func (o *mfaAddOptions) check(nameGiven bool) error {
	o.kind = strings.ToUpper(o.kind)
	switch {
	case o.kind == "TOUCHID":
		return usagef("--type=TOUCHID: the authenticator built into this machine is not supported; use TOTP or WEBAUTHN")
	case !slices.Contains([]string{"", typeTOTP, typeWebAuthn}, o.kind):
		return usagef("--type=%s: choose one of TOTP, WEBAUTHN", o.kind)
	case o.kind == typeTOTP && o.passwordless:
		return usagef("--allow-passwordless is for --type=WEBAUTHN: one-time codes need the password beside them")
	case nameGiven:
		if err := checkDeviceName(o.name); err != nil {
			return usagef("--name: %w", err)
		}
	}
	if o.passwordless {
		o.kind = typeWebAuthn
	}
	return nil
}

// checkDeviceName refuses names that the cluster does not take, or that a
// person could not type again.
func checkDeviceName(name string) error {
	switch {
	case name == "":
		return errors.New("a device needs a name")
	case len(name) > mfa.MaxName:
		return fmt.Errorf("the name has %d bytes, more than %d", len(name), mfa.MaxName)
	case text.Line(name) != name:
		return fmt.Errorf("the name %s has characters that cannot be seen", text.Line(name))
	}
	return nil
}

func (a *app) runMFAAdd(ctx context.Context, o mfaAddOptions) error {
	var device *mfa.Device
	err := a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) (err error) {
		// An expired login, and a name that is taken, show before anything is asked.
		devices, err := client.MFADevices(ctx)
		if err != nil {
			return err
		}
		o := o // asked for again after a new login
		if err := a.completeAdd(ctx, s, &o, devices); err != nil {
			return err
		}
		device, err = a.addDevice(ctx, s, client, o)
		return err
	})
	if err != nil {
		return err
	}
	if a.globals.json {
		return writeJSON(a.out, device)
	}
	a.ui.say("Added %s (%s).", text.Line(device.Name()), device.Type())
	return nil
}

// completeAdd asks for what the command line does not say.
func (a *app) completeAdd(ctx context.Context, s *session, o *mfaAddOptions, devices []*mfa.Device) (err error) {
	taken := func(name string) error {
		for _, d := range devices {
			if d.Name() == name {
				return fmt.Errorf("%w: %s", mfa.ErrExists, text.Line(name))
			}
		}
		return nil
	}
	if err := taken(o.name); o.name != "" && err != nil {
		return err
	}
	if o.kind == "" {
		kinds := a.deviceKinds(ctx, s.profile)
		if o.kind = kinds[0]; len(kinds) > 1 {
			o.kind, err = a.askChoice(ctx, "Kind of device", kinds)
		}
	}
	if o.name == "" && err == nil {
		o.name, err = a.askValid(ctx, "Name of the device: ", func(name string) error { return errors.Join(checkDeviceName(name), taken(name)) })
	}
	if o.kind == typeWebAuthn && !o.passwordlessGiven && err == nil {
		var choice string
		choice, err = a.askChoice(ctx, "Allow passwordless logins", []string{"YES", "NO"})
		o.passwordless = choice == "YES"
	}
	if errors.Is(err, login.ErrCannotAsk) {
		return withHint(err, "give --type, --name and, for a security key, --allow-passwordless or --no-allow-passwordless")
	}
	return err
}

// deviceKinds are the kinds of devices that the cluster takes: all, if it does
// not say.
func (a *app) deviceKinds(ctx context.Context, p *profile.Profile) []string {
	all := []string{typeTOTP, typeWebAuthn}
	addr, err := proxy.ParseAddr(p.WebProxyAddr)
	if err != nil {
		return all
	}
	client, err := a.webClient(addr, webPort(p))
	if err != nil {
		return all
	}
	defer client.Close()
	ping, err := client.Ping(ctx, "")
	if err != nil {
		return all
	}
	switch ping.Auth.SecondFactor {
	case "otp":
		return all[:1]
	case "webauthn":
		return all[1:]
	}
	return all
}

// askChoice asks for one of choices, in upper or lower case, or their beginning.
func (a *app) askChoice(ctx context.Context, question string, choices []string) (string, error) {
	list := strings.Join(choices, ", ")
	choice, err := a.askValid(ctx, question+" ["+list+"]: ", func(answer string) error {
		if chosen(choices, answer) < 0 {
			return fmt.Errorf("choose one of %s", list)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return choices[chosen(choices, choice)], nil
}

// chosen is the index of the choice that answer begins, -1 if there is none. No two
// choices begin alike.
func chosen(choices []string, answer string) int {
	return slices.IndexFunc(choices, func(choice string) bool {
		return answer != "" && strings.HasPrefix(choice, strings.ToUpper(answer))
	})
}

// askValid asks until the answer passes valid, a few times.
func (a *app) askValid(ctx context.Context, question string, valid func(string) error) (string, error) {
	for attempt := 1; ; attempt++ {
		answer, err := a.askLine(ctx, question)
		if err != nil {
			return "", err
		}
		if err = valid(answer); err == nil {
			return answer, nil
		}
		if attempt == maxAttempts {
			return "", err
		}
		a.ui.say("%s", err)
	}
}

// addDevice has a device that is there agree, the new one answer, and the
// cluster store it.
func (a *app) addDevice(ctx context.Context, s *session, client *api.Client, o mfaAddOptions) (*mfa.Device, error) {
	keys := a.securityKeys()
	if o.kind == typeWebAuthn && keys == nil {
		return nil, explainNoKey(fmt.Errorf("%w: this machine has nothing that speaks with one", login.ErrNoKey), insteadOfNewKey)
	}
	existing, err := a.confirmDevices(ctx, s, client)
	if err != nil {
		return nil, err
	}
	registration := mfa.Registration{Kind: mfa.TOTP, Existing: existing}
	if o.kind == typeWebAuthn {
		registration.Kind, registration.Passwordless = mfa.WebAuthn, o.passwordless
	}
	challenge, err := client.RegisterMFADevice(ctx, registration)
	if err != nil {
		return nil, explainAnswer(existing, err)
	}
	if challenge.TOTP != nil {
		return a.addCodes(ctx, client, o.name, challenge)
	}
	created, err := a.createKey(ctx, s, challenge, keys)
	if err != nil {
		return nil, err
	}
	return client.AddMFADevice(ctx, o.name, challenge, mfa.RegisterAnswer{WebAuthn: created})
}

// addCodes shows the secret, on the terminal alone, and asks for codes until
// one proves that it has arrived.
func (a *app) addCodes(ctx context.Context, client *api.Client, name string, challenge *mfa.RegisterChallenge) (*mfa.Device, error) {
	secret := challenge.TOTP
	if err := a.showOnTTY(func(columns int) string { return drawSecret(secret, columns, a.ui.colour) }); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		code, err := a.askNewCode(ctx, secret.Digits)
		if err != nil {
			return nil, err
		}
		device, err := client.AddMFADevice(ctx, name, challenge, mfa.RegisterAnswer{Code: code})
		if !errors.Is(err, mfa.ErrWrongCode) || attempt == maxAttempts {
			return device, err
		}
		a.ui.say("That code is not right. Wait for the next one, and see that the clock of the device is right.")
	}
}

// askNewCode asks for a code of the new device until it has the right length.
func (a *app) askNewCode(ctx context.Context, digits int) (string, error) {
	for {
		code, err := a.askSecret(ctx, "Code that the new device shows: ")
		if err != nil {
			return "", err
		}
		code = strings.ReplaceAll(strings.TrimSpace(code), " ", "") // apps show 123 456
		if len(code) == digits && strings.Trim(code, "0123456789") == "" {
			return code, nil
		}
		a.ui.say("The code has %d digits.", digits)
	}
}

// createKey has a security key make a new credential.
func (a *app) createKey(ctx context.Context, s *session, challenge *mfa.RegisterChallenge, keys login.Authenticator) (*mfa.CreationAnswer, error) {
	c := challenge.WebAuthn
	request := login.RegisterRequest{
		Challenge: c.Challenge, RPID: c.RPID, RPName: c.RPName, Origin: login.WebAuthnOrigin(s.profile.WebProxyAddr), Reached: a.reachedAs(s.profile),
		UserID: c.UserID, User: c.UserName, Exclude: c.Excluded, Resident: c.ResidentKey,
		UserVerification: c.UserVerification == "required", Timeout: c.Timeout,
	}
	if challenge.Passwordless && !request.Resident {
		return nil, fmt.Errorf("%w: new security key: a passwordless one was asked for, and the cluster asks for another kind", login.ErrRejected)
	}
	a.ui.say("Touch the new security key.")
	made, err := login.RegisterKey(ctx, keys, request)
	if errors.Is(err, login.ErrNoKey) {
		return nil, explainNoKey(err, insteadOfNewKey)
	}
	if err != nil {
		return nil, err
	}
	return &mfa.CreationAnswer{CredentialID: made.CredentialID, ClientDataJSON: made.ClientDataJSON, AttestationObject: made.AttestationObject}, nil
}
