package doctor

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// TestMain keeps the person's own ssh-agent out.
func TestMain(m *testing.M) {
	_ = os.Unsetenv("SSH_AUTH_SOCK")
	os.Exit(m.Run())
}

// world is a profile directory with logins, a proxy that answers, a keyring and a clock.
type world struct {
	home  string
	now   time.Time
	ring  *memoryRing
	proxy *httptest.Server
	dial  error // not nil: no proxy can be reached
	skew  time.Duration
	// untrusted makes the proxy's certificate one of nobody.
	untrusted bool
}

// The proxy's certificate is for this name.
const gate = "example.com"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{home: filepath.Join(t.TempDir(), "home"), now: testenv.FixtureTime().Add(time.Hour), ring: &memoryRing{keys: map[string][]byte{}}}
	w.proxy = httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Date", w.now.Add(w.skew).UTC().Format(http.TimeFormat))
		_, _ = out.Write([]byte(`{"server_version":"18.3.0","cluster_name":"harbor"}`))
	}))
	w.proxy.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.proxy.StartTLS()
	t.Cleanup(w.proxy.Close)
	return w
}

func (w *world) store() *profile.Store { return profile.OpenWith(w.home, w.ring) }

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.home}, elem...)...)
}

func (w *world) options() Options {
	o := Options{Home: w.home, Now: func() time.Time { return w.now }, Keyring: w.ring}
	if !w.untrusted {
		o.Proxy.RootCAs = x509.NewCertPool()
		o.Proxy.RootCAs.AddCert(w.proxy.Certificate())
	}
	o.Proxy.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		if w.dial != nil {
			return nil, w.dial
		}
		return new(net.Dialer).DialContext(ctx, network, w.proxy.Listener.Addr().String())
	}
	return o
}

// look is what the doctor finds that is not in order.
func (w *world) look(t testing.TB, fix bool) (bad []Finding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o := w.options()
	o.Fix = fix
	for _, f := range Run(ctx, o) {
		if f.Status != OK {
			bad = append(bad, f)
		}
	}
	return bad
}

// logIn stores what a cluster of this name would issue.
func (w *world) logIn(t testing.TB, host, user, cluster string, keep profile.Keystore) {
	t.Helper()
	p, id := issue(t, host, user, cluster)
	p.Keystore, p.Proven = keep, host
	if err := w.store().Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
}

// loads makes sure that the login of a profile is whole.
func (w *world) loads(t testing.TB, name string) {
	t.Helper()
	p, err := w.store().Load(name)
	if err != nil {
		t.Error(err)
		return
	}
	id, err := w.store().Identity(p)
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := id.SSHClientConfig(); err != nil {
		t.Error(err)
	}
	if _, err := id.TLSConfig(); err != nil {
		t.Error(err)
	}
}

func issue(t testing.TB, host, user, cluster string) (*profile.Profile, *keystore.Identity) {
	t.Helper()
	hostSSH, hostTLS := keys(t)
	userSSH, userTLS := keys(t)
	sshKey, tlsKey := keys(t)
	return certify(t, names{host, user, cluster}, authority{hostSSH, hostTLS, userSSH, userTLS}, sshKey, tlsKey)
}

type names struct{ host, user, cluster string }

type authority struct{ hostSSH, hostTLS, userSSH, userTLS crypto.Signer }

func certify(t testing.TB, n names, by authority, sshKey, tlsKey crypto.Signer) (*profile.Profile, *keystore.Identity) {
	t.Helper()
	start := testenv.FixtureTime()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: n.cluster},
		NotBefore: start, NotAfter: start.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: n.user},
		NotBefore: start, NotAfter: start.Add(12 * time.Hour),
	}
	cert := &ssh.Certificate{
		Key: testenv.SSHSigner(t, sshKey).PublicKey(), CertType: ssh.UserCert, KeyId: n.user, ValidPrincipals: []string{"root"},
		ValidAfter: uint64(start.Unix()), ValidBefore: uint64(start.Add(12 * time.Hour).Unix()),
	}
	if err := cert.SignCert(rand.Reader, testenv.SSHSigner(t, by.userSSH)); err != nil {
		t.Fatal(err)
	}
	id := &keystore.Identity{
		Proxy: n.host, User: n.user, Cluster: n.cluster, SSHKey: sshKey, TLSKey: tlsKey, SSHCert: cert,
		TLSCert: testenv.Issuer{Cert: ca, Key: by.userTLS}.Sign(t, leaf, tlsKey.Public()),
		Authorities: []keystore.Authority{{
			Cluster: n.cluster, SSHKeys: []ssh.PublicKey{testenv.SSHSigner(t, by.hostSSH).PublicKey()},
			TLSCerts: []*x509.Certificate{testenv.Issuer{Cert: ca, Key: by.hostTLS}.Sign(t, ca, by.hostTLS.Public())},
		}},
	}
	return &profile.Profile{WebProxyAddr: n.host + ":443", User: n.user, Cluster: n.cluster, TLSRouting: true, MFAMode: "auto"}, id
}

func keys(t testing.TB) (crypto.Signer, crypto.Signer) {
	t.Helper()
	a, b, err := keystore.GenerateKeys(keystore.SuiteBalanced)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// memoryRing is a keyring in memory.
type memoryRing struct {
	mu   sync.Mutex
	keys map[string][]byte
	err  error // what it says instead of working
	gets int
}

func (r *memoryRing) Get(slot string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gets++
	switch key, ok := r.keys[slot]; {
	case keyring.CheckSlot(slot) != nil:
		return nil, keyring.CheckSlot(slot)
	case r.err != nil:
		return nil, r.err
	case !ok:
		return nil, keyring.ErrMissing
	default:
		return append([]byte(nil), key...), nil
	}
}

func (r *memoryRing) Set(slot string, key []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[slot] = append([]byte(nil), key...)
	return r.err
}

func (r *memoryRing) Delete(slot string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		delete(r.keys, slot)
	}
	return r.err
}

var errNobody = errors.New("connection refused")

// old makes a file one that nobody has just made.
func old(t testing.TB, path string) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

// typed is a proxy as a person gives it.
func typed(t testing.TB, s string) proxy.Addr {
	t.Helper()
	addr, err := proxy.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
