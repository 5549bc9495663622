package api_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// enrolled is a user of a cluster with second factors, and a client of theirs.
type enrolled struct {
	t       *testing.T
	ctx     context.Context
	client  *api.Client
	cluster *devcluster.Cluster
	secret  string // of the device "otp"
	origin  string

	mu    sync.Mutex
	clock time.Time
}

func enrol(t *testing.T, config devcluster.Config, roles ...string) *enrolled {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	e := &enrolled{t: t, ctx: ctx, clock: time.Now()}
	config.Dir, config.Addr, config.Name, config.PasswordCost = t.TempDir(), "127.0.0.1:0", "dev.example", 4
	config.Clock = e.now
	var err error
	if e.cluster, err = devcluster.Start(ctx, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.cluster.Close() })
	e.origin = "https://" + e.cluster.PublicAddr()
	id := logInWith(t, ctx, e.cluster, func(en devcluster.Enrolment) string {
		e.secret = en.TOTPSecret
		if e.secret == "" {
			return ""
		}
		return e.code(e.secret)
	}, roles...)
	e.client, err = api.Dial(ctx, api.Config{Addrs: []string{e.cluster.PublicAddr()}, Credentials: []credentials.Credentials{id}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.client.Close() })
	return e
}

func (e *enrolled) now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.clock
}

func (e *enrolled) advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock = e.clock.Add(d)
}

// code is the code of the moment; each is taken from a period of its own.
func (e *enrolled) code(secret string) string {
	e.t.Helper()
	e.advance(61 * time.Second)
	code, err := totp.GenerateCode(secret, e.now())
	if err != nil {
		e.t.Fatal(err)
	}
	return code
}

// answer is a fresh answer by the device "otp".
func (e *enrolled) answer() mfa.Answer { return mfa.Answer{Code: e.code(e.secret)} }

func (e *enrolled) names() []string {
	e.t.Helper()
	devices, err := e.client.MFADevices(e.ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	var names []string
	for _, d := range devices {
		names = append(names, d.Name()+" "+d.Type())
	}
	slices.Sort(names)
	return names
}

func (e *enrolled) wantNames(want ...string) {
	e.t.Helper()
	if got := e.names(); !slices.Equal(got, want) {
		e.t.Errorf("devices %q, want %q", got, want)
	}
}

func (e *enrolled) register(r mfa.Registration) *mfa.RegisterChallenge {
	e.t.Helper()
	challenge, err := e.client.RegisterMFADevice(e.ctx, r)
	if err != nil {
		e.t.Fatal(err)
	}
	return challenge
}

// create has a key answer the request for a new credential.
func (e *enrolled) create(key *softkey.Key, c *mfa.Creation) mfa.RegisterAnswer {
	e.t.Helper()
	client, hash := softkey.ClientData("webauthn.create", e.origin, c.Challenge)
	made, err := key.MakeCredential(softkey.CreateRequest{
		ClientDataHash: hash, RPID: c.RPID, UserID: c.UserID, UserName: c.UserName,
		Exclude: c.Excluded, Resident: c.ResidentKey, UV: c.UserVerification == "required",
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return mfa.RegisterAnswer{WebAuthn: &mfa.CreationAnswer{CredentialID: made.ID, ClientDataJSON: client, AttestationObject: made.AttestationObject()}}
}

// get has a key answer a challenge.
func (e *enrolled) get(key *softkey.Key, c *mfa.Assertion) mfa.Answer {
	e.t.Helper()
	client, hash := softkey.ClientData("webauthn.get", e.origin, c.Challenge)
	got, err := key.GetAssertion(softkey.GetRequest{ClientDataHash: hash, RPID: c.RPID, Allow: c.Allowed})
	if err != nil || len(got) == 0 {
		e.t.Fatal(len(got), err)
	}
	return mfa.Answer{WebAuthn: &mfa.AssertionAnswer{
		CredentialID: got[0].CredentialID, ClientDataJSON: client, AuthenticatorData: got[0].AuthData, Signature: got[0].Signature, UserHandle: got[0].UserID,
	}}
}

// Devices of both kinds are added, each allowed by one that is there already,
// listed and deleted; the old way with tokens (14.x) ends the same.
func TestMFADevices(t *testing.T) {
	for name, config := range map[string]devcluster.Config{
		"answers (18.x)": {SecondFactor: "on"},
		"tokens (14.x)":  {SecondFactor: "on", TokensOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := enrol(t, config)
			e.wantNames("otp TOTP")

			challenge, err := e.client.MFAChallenge(e.ctx, mfa.ScopeManageDevices)
			if err != nil || !challenge.TOTP || challenge.WebAuthn != nil {
				t.Fatalf("%+v, %v; want a code alone", challenge, err)
			}
			codes := e.register(mfa.Registration{Kind: mfa.TOTP, Existing: e.answer()})
			if s := codes.TOTP; s.Issuer != "dev.example" || s.Account != "alice@localhost" || s.Algorithm != "SHA1" || s.Digits != 6 || s.Period != 30 || codes.Token != "" != config.TokensOnly {
				t.Errorf("%+v, token %q", *s, codes.Token)
			}
			code := e.code(codes.TOTP.Base32)
			device, err := e.client.AddMFADevice(e.ctx, "phone", codes, mfa.RegisterAnswer{Code: code})
			if err != nil || device.Name() != "phone" || device.Type() != "TOTP" || device.ID == "" || device.AddedAt.IsZero() {
				t.Fatalf("%+v, %v", device, err)
			}

			// The code that proved the new device has been used with it.
			_, err = e.client.RegisterMFADevice(e.ctx, mfa.Registration{Kind: mfa.WebAuthn, Existing: mfa.Answer{Code: code}})
			if !errors.Is(err, api.ErrAccessDenied) {
				t.Fatalf("a code was accepted twice: %v", err)
			}
			key := new(softkey.Key)
			creation := e.register(mfa.Registration{Kind: mfa.WebAuthn, Existing: e.answer()})
			if c := creation.WebAuthn; c.RPID != "localhost" || c.RPName != "Teleport" || c.UserName != "alice" || c.ResidentKey || c.UserVerification != "discouraged" || c.Timeout != 5*time.Minute {
				t.Errorf("%+v", c)
			}
			if _, err = e.client.AddMFADevice(e.ctx, "key", creation, e.create(key, creation.WebAuthn)); err != nil {
				t.Fatal(err)
			}
			e.wantNames("key WebAuthn", "otp TOTP", "phone TOTP")

			challenge, err = e.client.MFAChallenge(e.ctx, mfa.ScopeManageDevices)
			if err != nil || !challenge.TOTP || challenge.WebAuthn == nil || len(challenge.WebAuthn.Allowed) != 1 {
				t.Fatalf("%+v, %v; want a code or a key", challenge, err)
			}
			if err = e.client.DeleteMFADevice(e.ctx, "otp", e.get(key, challenge.WebAuthn)); err != nil {
				t.Fatal(err)
			}
			if err = e.client.DeleteMFADevice(e.ctx, device.ID, mfa.Answer{Code: e.code(codes.TOTP.Base32)}); err != nil {
				t.Fatal(err)
			}
			e.wantNames("key WebAuthn")
			challenge, err = e.client.MFAChallenge(e.ctx, mfa.ScopeManageDevices)
			if err != nil || challenge.TOTP {
				t.Fatalf("%+v, %v; want a key alone", challenge, err)
			}
			err = e.client.DeleteMFADevice(e.ctx, "key", e.get(key, challenge.WebAuthn))
			if !errors.Is(err, mfa.ErrLast) {
				t.Errorf("the last device: %v", err)
			}
			e.wantNames("key WebAuthn")
		})
	}
}

// A user whose devices are all gone adds a first one without an answer.
func TestFirstDevice(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		e := enrol(t, devcluster.Config{SecondFactor: "on", TokensOnly: tokens})
		if err := e.cluster.RemoveDevices("alice"); err != nil {
			t.Fatal(err)
		}
		challenge, err := e.client.MFAChallenge(e.ctx, mfa.ScopeManageDevices)
		if err != nil || !challenge.Empty() {
			t.Fatalf("%+v, %v; want nothing to answer", challenge, err)
		}
		codes := e.register(mfa.Registration{Kind: mfa.TOTP})
		if _, err = e.client.AddMFADevice(e.ctx, "first", codes, mfa.RegisterAnswer{Code: e.code(codes.TOTP.Base32)}); err != nil {
			t.Fatal(err)
		}
		e.wantNames("first TOTP")
		if err = e.client.DeleteMFADevice(e.ctx, "first", mfa.Answer{}); err == nil {
			t.Errorf("tokens %v: deleted without an answer", tokens)
		}
	}
}

// What the server refuses keeps its reason, and the errors that mean something
// to the caller match.
func TestMFARefusals(t *testing.T) {
	e := enrol(t, devcluster.Config{SecondFactor: "on"})
	key := new(softkey.Key)
	refused := func(what string, err, target error, words string) {
		t.Helper()
		if err == nil || target != nil && !errors.Is(err, target) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", what, err, words)
		}
	}
	_, err := e.client.RegisterMFADevice(e.ctx, mfa.Registration{Kind: mfa.TOTP})
	refused("no answer", err, nil, "second factor authentication required")
	_, err = e.client.RegisterMFADevice(e.ctx, mfa.Registration{Kind: mfa.TOTP, Existing: mfa.Answer{Code: "000000"}})
	refused("wrong answer", err, api.ErrAccessDenied, "")
	_, err = e.client.RegisterMFADevice(e.ctx, mfa.Registration{Kind: 9, Existing: e.answer()})
	refused("unknown kind", err, nil, "unsupported")
	refused("delete without an answer", e.client.DeleteMFADevice(e.ctx, "otp", mfa.Answer{}), nil, "second factor authentication required")
	refused("delete what is not there", e.client.DeleteMFADevice(e.ctx, "nothing", e.answer()), api.ErrNotFound, "nothing")
	refused("delete the last", e.client.DeleteMFADevice(e.ctx, "otp", e.answer()), mfa.ErrLast, "last MFA device")

	add := func(name string, c *mfa.RegisterChallenge, a mfa.RegisterAnswer) error {
		_, err := e.client.AddMFADevice(e.ctx, name, c, a)
		return err
	}
	codes := e.register(mfa.Registration{Kind: mfa.TOTP, Existing: e.answer()})
	good := func() mfa.RegisterAnswer { return mfa.RegisterAnswer{Code: e.code(codes.TOTP.Base32)} }
	refused("wrong code", add("phone", codes, mfa.RegisterAnswer{Code: "000000"}), mfa.ErrWrongCode, "")
	refused("no name", add("", codes, good()), nil, "name")
	refused("name of 31 bytes", add(strings.Repeat("n", 31), codes, good()), nil, "30 bytes")
	refused("name in use", add("otp", codes, good()), mfa.ErrExists, "")
	e.advance(5 * time.Minute)
	refused("secret older than five minutes", add("phone", codes, good()), api.ErrAccessDenied, "invalid token")
	first := e.register(mfa.Registration{Kind: mfa.TOTP, Existing: e.answer()})
	codes = e.register(mfa.Registration{Kind: mfa.TOTP, Existing: e.answer()})
	refused("a secret that was replaced", add("phone", first, mfa.RegisterAnswer{Code: e.code(first.TOTP.Base32)}), nil, "invalid token")
	if err := add(strings.Repeat("n", 30), codes, good()); err != nil {
		t.Errorf("name of 30 bytes: %v", err)
	}

	creation := e.register(mfa.Registration{Kind: mfa.WebAuthn, Existing: e.answer()})
	answer := e.create(key, creation.WebAuthn)
	creation.Passwordless = true
	refused("passwordless after a challenge for a second factor", add("key", creation, answer), nil, "MFA registration")
	creation.Passwordless = false
	if err := add("key", creation, answer); err != nil {
		t.Fatal(err)
	}
	refused("an answer twice", add("key2", creation, answer), nil, "no registration")
	creation = e.register(mfa.Registration{Kind: mfa.WebAuthn, Existing: e.answer()})
	if len(creation.WebAuthn.Excluded) != 1 {
		t.Errorf("%d credentials excluded, want the one there is", len(creation.WebAuthn.Excluded))
	}
	creation = e.register(mfa.Registration{Kind: mfa.WebAuthn, Passwordless: true, Existing: e.answer()})
	if c := creation.WebAuthn; !c.ResidentKey || c.UserVerification != "required" || len(c.Excluded) != 0 {
		t.Errorf("passwordless options %+v", c)
	}
	creation.WebAuthn.UserVerification = "discouraged"
	refused("passwordless without a PIN", add("pin", creation, e.create(new(softkey.Key), creation.WebAuthn)), nil, "PIN")

	// An answer is good for what it was asked for alone.
	challenge, err := e.client.MFAChallenge(e.ctx, mfa.ScopeSession)
	if err != nil {
		t.Fatal(err)
	}
	refused("an answer for a session", e.client.DeleteMFADevice(e.ctx, "key", e.get(key, challenge.WebAuthn)), api.ErrAccessDenied, "scope")
}

// case L23: nothing of this prints what it holds.
func TestMFASecretsAreNotPrinted(t *testing.T) {
	secret := &mfa.Secret{Base32: "CANARY234", Account: "a", Issuer: "i"}
	for _, v := range []any{
		*secret, secret, mfa.Answer{Code: "canary-1"}, mfa.RegisterAnswer{Code: "canary-1"},
		mfa.RegisterChallenge{TOTP: secret, Token: "canary-2"}, &mfa.RegisterChallenge{TOTP: secret, Token: "canary-2"},
		mfa.Registration{Existing: mfa.Answer{Code: "canary-1"}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(strings.ToLower(got), "canary") {
				t.Errorf("%T with %s: %s", v, verb, got)
			}
		}
	}
}
