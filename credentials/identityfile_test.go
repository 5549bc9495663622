package credentials

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

var _ Credentials = (*IdentityFile)(nil)

const fixtureIdentity = "../testdata/fixtures/18.3/identity/file"

func identityAt(now time.Time, path string) *IdentityFile {
	f := LoadIdentityFile(path)
	f.now = func() time.Time { return now }
	return f
}

// What a real cluster's tools wrote gives configurations, and is read once.
func TestIdentityFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "id")
	f := identityAt(fixtureTime, path)
	if _, err := f.TLSConfig(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	testenv.Write(t, path, testenv.Read(t, fixtureIdentity)) // what failed is tried again
	tlsConfig, err := f.TLSConfig()
	if err != nil || tlsConfig.ServerName != "teleport.cluster.local" || len(tlsConfig.NextProtos) != 1 || tlsConfig.NextProtos[0] != "h2" {
		t.Fatal(tlsConfig, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	sshConfig, err := f.SSHClientConfig()
	if err != nil || sshConfig.User != "root" || sshConfig.HostKeyCallback == nil {
		t.Fatal(sshConfig, err)
	}
	if end, ok := f.Expiry(); !ok || end.Year() != 2034 {
		t.Error(end, ok)
	}
}

func TestIdentityFileThatEnded(t *testing.T) {
	f := identityAt(fixtureTime.AddDate(20, 0, 0), fixtureIdentity)
	var ended *keystore.TimeError
	for _, ask := range []func() error{
		func() error { _, err := f.TLSConfig(); return err },
		func() error { _, err := f.SSHClientConfig(); return err },
	} {
		if err := ask(); !errors.As(err, &ended) || ended.NotYet || !strings.Contains(err.Error(), fixtureIdentity) {
			t.Error(err)
		}
	}
	if _, ok := f.Expiry(); !ok {
		t.Error("the end is not known")
	}
	if _, ok := LoadIdentityFile(t.TempDir()).Expiry(); ok {
		t.Error("the end of a directory is known")
	}
}
