package credentials

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// A string is a whole identity: there is no file beside it, and errors show nothing of it.
func TestIdentityString(t *testing.T) {
	c := newTestCluster(t)
	whole := c.file(t, 7)
	creds := LoadIdentityString(strings.ReplaceAll(whole, "\n", "\r\n"))
	config, err := creds.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.dialTLS(config); n != 7 || err != nil {
		t.Error(n, err)
	}
	overSSH, err := creds.SSHClientConfig()
	if err != nil || overSSH.User != "deploy" {
		t.Fatal(overSSH, err)
	}
	if n, err := c.dialSSH(overSSH); n != 7 || err != nil {
		t.Error(n, err)
	}
	lines := strings.SplitAfter(whole, "\n")
	for name, tt := range map[string]struct{ s, want string }{
		"empty":              {"", "has no private key"},
		"without SSH":        {strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "ecdsa-") }), ""), "has no SSH certificate"},
		"a path":             {fixtureIdentity, "has no private key"},
		"half":               {whole[:200], "ends in the middle of a PEM block"},
		"a long line":        {whole + strings.Repeat("x", 64<<10+1), "more than 65536 bytes"},
		"endless":            {strings.Repeat("#\n", 2<<20+1), "more than 4194304 bytes"},
		"an encrypted key":   {strings.ReplaceAll(whole, "PRIVATE", "ENCRYPTED PRIVATE"), "with a passphrase"},
		"a key that differs": {c.pair(t, 8).key + whole[strings.Index(whole, "ecdsa-"):], "is not for its private key"},
	} {
		_, err := LoadIdentityString(tt.s).TLSConfig()
		if err == nil || !errors.Is(err, keystore.ErrDamaged) || !strings.HasPrefix(err.Error(), "identity in a string ") || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 200 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is missing is an error of what needs it, of that alone.
func TestIdentityWithoutParts(t *testing.T) {
	id := newTestCluster(t).identity(t, 7)
	sshOnly, tlsOnly := *id, *id
	sshOnly.Authorities = []keystore.Authority{{Cluster: "harbor", SSHKeys: id.Authorities[0].SSHKeys}}
	tlsOnly.Authorities = []keystore.Authority{{Cluster: "harbor", TLSCerts: id.Authorities[0].TLSCerts}}
	for name, tt := range map[string]struct {
		id               *keystore.Identity
		overTLS, overSSH string
	}{
		"no TLS authority": {&sshOnly, "has no TLS authority", ""}, "no SSH authority": {&tlsOnly, "", "has no SSH authority"},
	} {
		data, err := tt.id.IdentityFile()
		if err != nil {
			t.Fatal(err)
		}
		creds := LoadIdentityString(string(data))
		_, tlsErr := creds.TLSConfig()
		_, sshErr := creds.SSHClientConfig()
		for err, want := range map[error]string{tlsErr: tt.overTLS, sshErr: tt.overSSH} {
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		path := filepath.Join(t.TempDir(), "id")
		testenv.Write(t, path, string(data))
		if _, err := NewDynamicIdentityFile(path); err == nil || !strings.Contains(err.Error(), tt.overTLS+tt.overSSH) {
			t.Errorf("%s, reloading: %v", name, err)
		}
	}
}
