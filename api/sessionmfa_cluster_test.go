package api_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// careful is a user whose sessions take a second factor, and their security key.
type careful struct {
	*enrolled
	key   *softkey.Key
	asked int // how often the person was
}

func newCareful(t *testing.T, config devcluster.Config) *careful {
	t.Helper()
	c := &careful{enrolled: enrol(t, config, "session-mfa"), key: new(softkey.Key)}
	creation := c.register(mfa.Registration{Kind: mfa.WebAuthn, Existing: c.answer()})
	if _, err := c.client.AddMFADevice(c.ctx, "key", creation, c.create(c.key, creation.WebAuthn)); err != nil {
		t.Fatal(err)
	}
	return c
}

// session is a request for a session, which the key answers.
func (c *careful) session(change func(*api.SessionRequest)) (*ssh.Certificate, error) {
	c.t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		c.t.Fatal(err)
	}
	r := api.SessionRequest{
		User: "alice", Expires: c.now().Add(time.Hour), Cluster: "dev.example", Node: "node-1", Login: "root", SSHKey: ssh.MarshalAuthorizedKey(key),
		Ask: func(_ context.Context, challenge *mfa.Challenge) (mfa.Answer, error) {
			c.asked++
			return c.get(c.key, challenge.WebAuthn), nil
		},
	}
	if change != nil {
		change(&r)
	}
	cert, err := c.client.SessionCert(c.ctx, r)
	if err == nil && string(cert.Key.Marshal()) != string(key.Marshal()) {
		c.t.Error("the certificate is for another key")
	}
	return cert, err
}

// A touch makes a certificate for a minute, by which a node sees the touch.
func TestSessionCert(t *testing.T) {
	c := newCareful(t, devcluster.Config{SecondFactor: "on"})
	cert, err := c.session(nil)
	if err != nil || c.asked != 1 {
		t.Fatalf("%v, asked %d times", err, c.asked)
	}
	left := time.Unix(int64(cert.ValidBefore), 0).Sub(c.now())
	if cert.KeyId != "alice" || cert.Extensions["mfa-verified"] == "" || left > time.Minute || left < 50*time.Second || cert.Extensions["prev-identity-expires"] == "" {
		t.Errorf("a certificate of %s for %v with %v", cert.KeyId, left, cert.Extensions)
	}
	// It is never asked for where nothing is required: nodes that nobody knows, here.
	_, err = c.session(func(r *api.SessionRequest) { r.Node = "nowhere" })
	if !errors.Is(err, mfa.ErrNotRequired) || c.asked != 1 {
		t.Errorf("a node that is not there: %v, asked %d times", err, c.asked)
	}
	easy := &careful{enrolled: enrol(t, devcluster.Config{SecondFactor: "on"}), key: c.key}
	if _, err = easy.session(nil); !errors.Is(err, mfa.ErrNotRequired) || easy.asked != 0 {
		t.Errorf("a user whose roles require nothing: %v, asked %d times", err, easy.asked)
	}
}

// What the server refuses: codes, answers to other questions, answers that were used.
func TestSessionCertRefusals(t *testing.T) {
	c := newCareful(t, devcluster.Config{SecondFactor: "on"})
	answered := func(answer mfa.Answer) func(*api.SessionRequest) {
		return func(r *api.SessionRequest) { r.Answer = &answer }
	}
	manage, err := c.client.MFAChallenge(c.ctx, mfa.ScopeManageDevices)
	if err != nil {
		t.Fatal(err)
	}
	var used mfa.Answer
	keep := func(r *api.SessionRequest) {
		r.Ask = func(_ context.Context, challenge *mfa.Challenge) (mfa.Answer, error) {
			used = c.get(c.key, challenge.WebAuthn)
			return used, nil
		}
	}
	if _, err := c.session(keep); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*api.SessionRequest)
		says   string
	}{
		"a code":              {answered(c.answer()), "one-time codes are not accepted"},
		"no answer":           {answered(mfa.Answer{}), "requires MFA"},
		"an answer once more": {answered(used), "no challenge of this scope"},
		"of another scope":    {answered(c.get(c.key, manage.WebAuthn)), "scope"},
		"for somebody else":   {func(r *api.SessionRequest) { r.User = "bob"; answered(used)(r) }, "bob"},
		"another cluster":     {func(r *api.SessionRequest) { r.Cluster = "elsewhere.example" }, "elsewhere.example"},
		"without a node":      {func(r *api.SessionRequest) { r.Node = ""; answered(used)(r) }, "missing NodeName"},
	} {
		if _, err := c.session(tc.change); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
	// The person's no is the end of it.
	no := errors.New("no")
	_, err = c.session(func(r *api.SessionRequest) {
		r.Ask = func(context.Context, *mfa.Challenge) (mfa.Answer, error) { return mfa.Answer{}, no }
	})
	if !errors.Is(err, no) {
		t.Errorf("%v, want the person's own", err)
	}
}

// One answer does for several sessions where the cluster allows it, until the challenge
// is too old; where it does not, not even for the first.
func TestSessionAnswerTwice(t *testing.T) {
	c := newCareful(t, devcluster.Config{SecondFactor: "on"})
	var answer mfa.Answer
	reuse := func(r *api.SessionRequest) {
		r.Reuse = true
		r.Ask = func(_ context.Context, challenge *mfa.Challenge) (mfa.Answer, error) {
			if !challenge.Reusable {
				t.Error("the challenge is not reusable")
			}
			answer = c.get(c.key, challenge.WebAuthn)
			return answer, nil
		}
	}
	again := func(r *api.SessionRequest) { r.Answer = &answer }
	for i, change := range []func(*api.SessionRequest){reuse, again, again} {
		if _, err := c.session(change); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	// It is for sessions, not for devices.
	if err := c.client.DeleteMFADevice(c.ctx, "otp", answer); !errors.Is(err, api.ErrAccessDenied) {
		t.Errorf("a device deleted with it: %v", err)
	}
	c.advance(6 * time.Minute)
	if _, err := c.session(again); !errors.Is(err, api.ErrAccessDenied) {
		t.Errorf("an old answer: %v", err)
	}

	strict := newCareful(t, devcluster.Config{SecondFactor: "on", NoMFAReuse: true})
	c = strict
	if _, err := c.session(reuse); !errors.Is(err, api.ErrAccessDenied) || !strings.Contains(err.Error(), "reuse") {
		t.Errorf("reuse where it is not allowed: %v", err)
	}
}
