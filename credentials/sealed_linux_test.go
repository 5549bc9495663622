package credentials

import (
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/profile"
)

// A program that loads a profile needs no setting for keys that are sealed with a key in
// the system's keyring, here a real one; when the keyring is locked it is told so.
func TestSealedProfile(t *testing.T) {
	service := testenv.NewSecretService(t)
	service.Use(t)
	home := testenv.CopyHome(t, "18.3")
	store := profile.Open(home)
	p, err := store.Load("")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.MigrateKeys(t.Context(), p, profile.KeysInKeyring); err != nil {
		t.Fatal(err)
	}
	creds := LoadProfile(home, "")
	creds.now = testenv.FixtureTime
	config, err := creds.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cert, err := config.GetClientCertificate(nil); err != nil || cert.PrivateKey == nil {
		t.Errorf("%v, %v", cert, err)
	}
	if _, err := creds.SSHClientConfig(); err != nil {
		t.Error(err)
	}
	service.Lock(t)
	if _, err := LoadProfile(home, "").TLSConfig(); err == nil || !strings.Contains(err.Error(), "the keyring is locked") {
		t.Errorf("locked: %v", err)
	}
	if _, err := creds.SSHClientConfig(); err != nil {
		t.Errorf("the keyring was asked twice: %v", err)
	}
}
