package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
)

// testApp is a program whose messages are read from a file.
func testApp(t *testing.T) (a *app, said func() string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &app{ui: newTUI(streams{err: f})}, func() string {
		data, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

// A way to answer that is chosen without a word is named with the others.
func TestOtherWaysAreNoted(t *testing.T) {
	withKeys := login.UI{Key: stubKey{}}
	key := &mfa.Assertion{}
	for _, tt := range []struct {
		name      string
		challenge mfa.Challenge
		mode      string
		ui        login.UI
		want      string
	}{
		{"one way", mfa.Challenge{TOTP: true}, "auto", withKeys, ""},
		{"both are asked for", mfa.Challenge{TOTP: true, WebAuthn: key}, "auto", withKeys, ""},
		{"no keys here", mfa.Challenge{TOTP: true, WebAuthn: key}, "auto", login.UI{},
			"You could answer with a security key (cross-platform) or a one-time code (otp); --mfa-mode=MODE chooses.\n"},
		{"the mode has chosen", mfa.Challenge{TOTP: true, WebAuthn: key}, "otp", login.UI{}, ""},
		{"SSO as well", mfa.Challenge{TOTP: true, SSO: true}, "", withKeys,
			"You could answer with a one-time code (otp) or the identity provider (not supported here); --mfa-mode=MODE chooses.\n"},
	} {
		a, said := testApp(t)
		a.globals.mfaMode = tt.mode
		a.noteOtherWays(&tt.challenge, tt.ui)
		if got := said(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

type stubKey struct{ login.Authenticator }

// Nobody is asked where nothing that is asked for could be an answer.
func TestSSOAloneIsUnsupported(t *testing.T) {
	a, _ := testApp(t)
	_, err := a.answerChallenge(t.Context(), &session{profile: new(profile.Profile)}, &mfa.Challenge{SSO: true})
	if !errors.Is(err, login.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	err = explainAnswer(mfa.Answer{}, errors.New(textNeedsFactor))
	if body := describe(err); !strings.Contains(body.Hint, "web page") {
		t.Errorf("hint %q", body.Hint)
	}
}
