package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

// addressed are credentials that can be asked for the proxy's address.
type addressed interface {
	Credentials
	DefaultAddrs() ([]string, error)
}

const fixtureDir = "../testdata/fixtures/18.3/identity/"

// givenTLS is what a program may have as a TLS configuration: the fixture's key pair.
func givenTLS(t testing.TB) *tls.Config {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(fixtureDir+"tls.crt", fixtureDir+"tls.key")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(testenv.Read(t, fixtureDir+"tls.cas")))
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, Time: testenv.FixtureTime}
}

// everyLoader makes credentials of each loader for the login of the fixtures, by a clock.
func everyLoader(t testing.TB, now func() time.Time) map[string]addressed {
	t.Helper()
	profile := LoadProfile(testenv.CopyHome(t, "18.3"), "")
	profile.now = now
	file, text := LoadIdentityFile(fixtureIdentity), LoadIdentityString(testenv.Read(t, fixtureIdentity))
	file.now, text.now = now, now
	var loaded atomic.Bool // the reloading one has to be of use first
	dynamic, err := newDynamic(fixtureIdentity, dynamicSettings{func() time.Time {
		if loaded.Load() {
			return now()
		}
		return testenv.FixtureTime()
	}, settleTime, pollTime}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dynamic.Close() })
	loaded.Store(true)
	pair := LoadKeyPair(fixtureDir+"tls.crt", fixtureDir+"tls.key", fixtureDir+"tls.cas")
	pair.now = now
	config := givenTLS(t)
	config.Time = now
	return map[string]addressed{
		"LoadProfile": profile, "LoadIdentityFile": file, "LoadIdentityString": text, "NewDynamicIdentityFile": dynamic,
		"LoadKeyPair": pair, "LoadTLS": LoadTLS(config),
	}
}

// What each loader can do, and that it says which one can where it cannot.
func TestWhatLoadersCanDo(t *testing.T) {
	for name, creds := range everyLoader(t, testenv.FixtureTime) {
		t.Run(name, func(t *testing.T) {
			config, err := creds.TLSConfig()
			if err != nil || config.ServerName != "teleport.cluster.local" || config.RootCAs == nil || config.MinVersion != tls.VersionTLS12 ||
				len(config.Certificates) != 0 || strings.Join(config.NextProtos, " ") != "h2" {
				t.Fatalf("%+v, %v", config, err)
			}
			if cert, err := config.GetClientCertificate(new(tls.CertificateRequestInfo)); err != nil || cert.Leaf.Subject.CommonName != "fixture" {
				t.Errorf("client certificate: %v", err)
			}
			if end, ok := creds.Expiry(); !ok || end.Year() != 2034 {
				t.Errorf("until %v, %v", end, ok)
			}
			overSSH, err := creds.SSHClientConfig()
			if name == "LoadKeyPair" || name == "LoadTLS" {
				checkUnsupported(t, err, name, "LoadIdentityFile")
			} else if err != nil || overSSH.User == "" || overSSH.HostKeyCallback == nil || len(overSSH.Auth) != 1 || overSSH.Timeout != 30*time.Second {
				t.Errorf("SSH: %+v, %v", overSSH, err)
			}
			addrs, err := creds.DefaultAddrs()
			if name != "LoadProfile" {
				checkUnsupported(t, err, name, "LoadProfile")
			} else if err != nil || strings.Join(addrs, " ") != "localhost:4080" {
				t.Errorf("addresses %q, %v", addrs, err)
			}
		})
	}
}

func checkUnsupported(t *testing.T, err error, loader, use string) {
	t.Helper()
	var cannot *UnsupportedError
	if !errors.As(err, &cannot) || !errors.Is(err, errors.ErrUnsupported) || cannot.Loader != loader || !strings.Contains(cannot.Use, use) || !strings.Contains(err.Error(), loader) {
		t.Errorf("%v (%+v)", err, cannot)
	}
}

// What has ended is an error of every loader that says when, for both protocols; it stays
// known when that was.
func TestEveryLoaderSaysWhenItEnded(t *testing.T) {
	later := testenv.FixtureTime().AddDate(20, 0, 0)
	for name, creds := range everyLoader(t, func() time.Time { return later }) {
		var ended *keystore.TimeError
		_, err := creds.TLSConfig()
		if !errors.As(err, &ended) || ended.NotYet || !strings.Contains(err.Error(), "expired at 2034-11-15") {
			t.Errorf("%s: %v", name, err)
		}
		_, err = creds.SSHClientConfig()
		if !errors.As(err, &ended) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
		if end, ok := creds.Expiry(); !ok || end.Year() != 2034 {
			t.Errorf("%s: until %v, %v", name, end, ok)
		}
	}
}

// One that begins later is tried: our clock may be wrong, and the server knows.
func TestEveryLoaderTriesWhatIsToBegin(t *testing.T) {
	for name, creds := range everyLoader(t, func() time.Time { return testenv.FixtureTime().AddDate(-5, 0, 0) }) {
		if _, err := creds.TLSConfig(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Loaders are lazy: what is not there is an error of the first use, and the end is unknown.
// The reloading one reads at once.
func TestWhatIsNotThere(t *testing.T) {
	none := t.TempDir() + "/none"
	for name, creds := range map[string]Credentials{
		"LoadProfile": LoadProfile(none, ""), "LoadIdentityFile": LoadIdentityFile(none), "LoadIdentityString": LoadIdentityString(""),
		"LoadKeyPair": LoadKeyPair(none, none, none), "LoadTLS": LoadTLS(nil),
	} {
		if _, err := creds.TLSConfig(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := creds.SSHClientConfig(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if end, ok := creds.Expiry(); ok || !end.IsZero() {
			t.Errorf("%s: until %v", name, end)
		}
	}
	if d, err := NewDynamicIdentityFile(none); err == nil || d != nil || !strings.Contains(err.Error(), none) {
		t.Error(err)
	}
}

func TestEveryLoaderFromManyGoroutines(t *testing.T) {
	var wg sync.WaitGroup
	for name, creds := range everyLoader(t, testenv.FixtureTime) {
		for range 8 {
			wg.Go(func() {
				if _, err := creds.TLSConfig(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if _, err := creds.SSHClientConfig(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("%s: %v", name, err)
				}
				creds.Expiry()
				_, _ = creds.DefaultAddrs()
			})
		}
	}
	wg.Wait()
}

// No key shows, however credentials are printed, before and after they were read.
func TestLoadersPrintAsRedacted(t *testing.T) {
	for name, creds := range everyLoader(t, testenv.FixtureTime) {
		for range 2 {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				if got := fmt.Sprintf(verb, creds); got != "REDACTED" {
					t.Errorf("%s with %s: %.60q", name, verb, got)
				}
			}
			var log strings.Builder
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "creds", creds)
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "creds", creds)
			if strings.Count(log.String(), "REDACTED") != 2 || log.Len() > 300 {
				t.Errorf("%s: %.300s", name, &log)
			}
			if _, err := creds.TLSConfig(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
