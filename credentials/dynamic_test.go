package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// quick are settings for tests that wait for what happens, and never poll.
func quick() dynamicSettings { return dynamicSettings{time.Now, time.Millisecond, time.Hour} }

func dynamic(t testing.TB, path string, set dynamicSettings, opts ...Option) *DynamicIdentityFile {
	t.Helper()
	d, err := newDynamic(path, set, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// inForce is the generation in force, with nobody having used the credentials.
func (d *DynamicIdentityFile) inForce() int64 {
	return d.current.Load().id.TLSCert.SerialNumber.Int64()
}

// replace puts a file in the place of another as a whole.
func replace(t testing.TB, path, content string) {
	t.Helper()
	testenv.Write(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Configurations that were handed out connect with what is in force at each handshake, and
// trust what is trusted then.
func TestHandedOutConfigurationsFollow(t *testing.T) {
	c, after := newTestCluster(t), newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, c.file(t, 1))
	d := dynamic(t, path, quick())
	config, err := d.TLSConfig()
	if err != nil || config.ServerName != keystore.ServerName || config.MinVersion != tls.VersionTLS12 || config.RootCAs == nil {
		t.Fatalf("%+v, %v", config, err)
	}
	overSSH, err := d.SSHClientConfig()
	if err != nil || overSSH.User != joinPrincipal || overSSH.Timeout != 30*time.Second {
		t.Fatalf("%+v, %v", overSSH, err)
	}
	named := config.Clone() // as proxy does
	named.ServerName = "686172626f72.teleport.cluster.local"
	for n := int64(1); n <= 4; n++ {
		if n > 1 {
			replace(t, path, c.file(t, n))
			until(t, "the next generation", func() bool { return d.inForce() == n })
		}
		for _, config := range []*tls.Config{config, named} {
			if got, err := c.dialTLS(config); got != n || err != nil {
				t.Errorf("TLS: %d, not %d, %v", got, n, err)
			}
		}
		if got, err := c.dialSSH(overSSH); got != n || err != nil {
			t.Errorf("SSH: %d, not %d, %v", got, n, err)
		}
	}
	replace(t, path, after.file(t, 5)) // with other authorities
	until(t, "the next generation", func() bool { return d.inForce() == 5 })
	if got, err := after.dialTLS(config); got != 5 || err != nil {
		t.Errorf("TLS: %d, %v", got, err)
	}
	if got, err := after.dialSSH(overSSH); got != 5 || err != nil {
		t.Errorf("SSH: %d, %v", got, err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := c.dialTLS(config); !errors.As(err, &unknown) {
		t.Errorf("the authority of before: %v", err)
	}
	var stranger *keystore.HostKeyError
	if _, err := c.dialSSH(overSSH); !errors.As(err, &stranger) {
		t.Errorf("the authority of before: %v", err)
	}
	if end, ok := d.Expiry(); !ok || time.Until(end) > time.Hour {
		t.Error(end, ok)
	}
}

// The verification that replaces the library's refuses what the library's does.
func TestServersAreVerified(t *testing.T) {
	c := newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, c.file(t, 1))
	config, err := dynamic(t, path, quick()).TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	odd := config.Clone()
	odd.ServerName = "192.0.2.1" // names nobody in TLS
	serve := func(change func(*x509.Certificate)) tls.Certificate {
		key := newKey(t)
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{"teleport.cluster.local"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		change(tmpl)
		return tls.Certificate{Certificate: [][]byte{c.issue(t, tmpl, key).Raw}, PrivateKey: key}
	}
	for name, tt := range map[string]struct {
		change func(*x509.Certificate)
		config *tls.Config
		want   string
	}{
		"in order":         {func(*x509.Certificate) {}, config, ""},
		"asked by address": {func(*x509.Certificate) {}, odd, ""},
		"another name":     {func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} }, config, "not teleport.cluster.local"},
		"another name, asked by address": {func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} }, odd,
			"not teleport.cluster.local"},
		"a user": {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, config, "incompatible key usage"},
	} {
		_, err := dialTLS(tt.config, &tls.Config{Certificates: []tls.Certificate{serve(tt.change)}, ClientAuth: tls.RequireAnyClientCert})
		var untrusted *tls.CertificateVerificationError
		if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &untrusted) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.lives = -time.Second
	if _, err := dialTLS(config, &tls.Config{Certificates: []tls.Certificate{serve(func(*x509.Certificate) {})}}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a server that has expired: %v", err)
	}
}

// What is in the place of the identity and cannot be used is reported once, the last good
// one stays, and all being well again is reported too. Hooks may use the loader.
func TestBrokenIdentityIsReported(t *testing.T) {
	c := newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	good := c.file(t, 1)
	testenv.Write(t, path, good)
	var d *DynamicIdentityFile
	var mu sync.Mutex
	var reports []string
	told := func() int { mu.Lock(); defer mu.Unlock(); return len(reports) }
	made := make(chan struct{})
	d = dynamic(t, path, quick(), WithReport(func(err error) {
		<-made
		if n, err := serial(d); n == 0 || err != nil {
			t.Errorf("in the hook: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			reports = append(reports, "well")
		} else {
			reports = append(reports, err.Error())
		}
	}))
	close(made)
	c.lives = -time.Minute
	expired := c.file(t, 9)
	c.lives = time.Hour
	id := c.identity(t, 9)
	id.Authorities[0].TLSCerts = nil
	noTLS, err := id.IdentityFile()
	if err != nil {
		t.Fatal(err)
	}
	other := c.identity(t, 9).SSHCert
	for n, step := range []struct{ content, want string }{
		{good[:len(good)/2], "PEM block"},
		{"junk\n", "has no SSH certificate"},
		{expired, "expired at"},
		{string(noTLS), "has no TLS authority"},
		{string(ssh.MarshalAuthorizedKey(other)) + strings.Replace(good, "ecdsa-sha2-nistp256-cert-v01@openssh.com", "#", 1), "not for its private key"},
		{c.file(t, 2), "well"},
		{"junk\n", "has no SSH certificate"},
		{c.file(t, 3), "well"},
	} {
		replace(t, path, step.content)
		until(t, "report of "+step.want, func() bool { return told() == n+1 })
		if !strings.Contains(reports[n], step.want) {
			t.Errorf("report %d is %q, not %q", n, reports[n], step.want)
		}
		if step.want == "well" {
			continue
		}
		if err := d.Reload(); err == nil || !strings.Contains(err.Error(), step.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Reload: %v", err)
		}
		if n, err := serial(d); n == 0 || n == 9 || err != nil {
			t.Errorf("certificate %d in force, %v", n, err)
		}
	}
	if err := d.Reload(); err != nil || told() != 8 {
		t.Errorf("%v, %d reports", err, told())
	}
}

// The file may be away for a while.
func TestIdentityThatIsRemovedAndComesBack(t *testing.T) {
	c := newTestCluster(t)
	dir := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(dir, "id")
	testenv.Write(t, path, c.file(t, 1))
	var gone atomic.Bool
	d := dynamic(t, path, quick(), WithReport(func(err error) { gone.Store(errors.Is(err, fs.ErrNotExist)) }))
	for n, remove := range []string{path, dir, filepath.Dir(dir)} {
		if err := os.RemoveAll(remove); err != nil {
			t.Fatal(err)
		}
		until(t, "report that it is gone", gone.Load)
		if got := d.inForce(); got != int64(n+1) {
			t.Errorf("generation %d is in force", got)
		}
		testenv.Write(t, path, c.file(t, int64(n+2)))
		until(t, "the next generation", func() bool { return d.inForce() == int64(n+2) })
	}
}

// Where nobody tells of changes, the next use finds them.
func TestUseNoticesWhatWasMissed(t *testing.T) {
	c := newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, c.file(t, 1))
	d := dynamic(t, path, quick())
	config, err := d.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil { // nobody watches any more
		t.Fatal(err)
	}
	replace(t, path, c.file(t, 2))
	until(t, "use of the next generation", func() bool { n, err := serial(d); return n == 2 && err == nil })
	testenv.Write(t, path, c.file(t, 3))
	until(t, "handshake with the next generation", func() bool { n, err := c.dialTLS(config); return n == 3 && err == nil })
	replace(t, path, c.file(t, 4))
	if err := d.Reload(); err != nil || d.inForce() != 4 {
		t.Error(d.inForce(), err)
	}
}

// Times of a file that are as coarse as those of old file systems hide a change: what was
// read soon after a change is read once more.
func TestChangeThatTimesDoNotShow(t *testing.T) {
	c := newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, c.file(t, 1))
	d := dynamic(t, path, quick())
	_ = d.Close()
	d.mu.Lock()
	if d.again.IsZero() {
		t.Error("it will not be read again")
	}
	replace(t, path, c.file(t, 2))
	d.examined = d.state() // as if it looked the same
	d.mu.Unlock()
	if n, err := serial(d); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	d.mu.Lock()
	d.again = time.Now()
	d.mu.Unlock()
	until(t, "the second look", func() bool { n, _ := serial(d); return n == 2 })
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.again.IsZero() {
		t.Error("it will be read a third time")
	}
}

// Half a file may look like a whole one: with one authority of two. Until it has been left
// alone for a while it is not taken.
func TestFileThatIsBeingWritten(t *testing.T) {
	c := newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, c.file(t, 1))
	set := quick()
	set.settle = time.Hour
	d := dynamic(t, path, set)
	half := c.file(t, 2)
	testenv.Write(t, path, half)
	for range 3 {
		if n, err := serial(d); n != 1 || err != nil {
			t.Fatalf("certificate %d, %v", n, err)
		}
	}
	testenv.Write(t, path, half+c.pair(t, 3).cas)
	d.mu.Lock()
	d.set.settle = time.Millisecond
	d.mu.Unlock()
	until(t, "the whole file", func() bool { n, _ := serial(d); return n == 2 })
	if got := len(d.current.Load().id.Authorities[0].TLSCerts); got != 2 {
		t.Errorf("%d authorities", got)
	}
}

// An identity that ends without a successor is an error that says when, at handshakes too,
// and what is wrong with the successor.
func TestIdentityThatEnds(t *testing.T) {
	c := newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, c.file(t, 1))
	var later atomic.Int64
	set := quick()
	set.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	d := dynamic(t, path, set)
	config, err := d.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	overSSH, err := d.SSHClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, "junk\n")
	until(t, "failure", func() bool { d.Expiry(); return d.notices.lastFailure() != "" })
	later.Store(int64(2 * time.Hour))
	for what, use := range map[string]func() error{
		"TLSConfig":       func() error { _, err := d.TLSConfig(); return err },
		"SSHClientConfig": func() error { _, err := d.SSHClientConfig(); return err },
		"TLS":             func() error { _, err := c.dialTLS(config); return err },
		"SSH":             func() error { _, err := c.dialSSH(overSSH); return err },
	} {
		err := use()
		if err == nil || !strings.Contains(err.Error(), "expired at ") || !strings.Contains(err.Error(), "has no SSH certificate") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := NewDynamicIdentityFile(path); !errors.Is(err, keystore.ErrDamaged) {
		t.Error(err)
	}
}

// The SSH certificate may be beside the file, and is renewed with it.
func TestRenewedCertificateBesideTheFile(t *testing.T) {
	c := newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	write := func(n int64) {
		id := c.identity(t, n)
		line := string(ssh.MarshalAuthorizedKey(id.SSHCert))
		data, err := id.IdentityFile()
		if err != nil {
			t.Fatal(err)
		}
		replace(t, path, strings.Replace(string(data), line, "", 1))
		replace(t, path+"-cert.pub", line)
	}
	write(1)
	d := dynamic(t, path, quick())
	write(2)
	until(t, "the next generation", func() bool { return d.inForce() == 2 && d.current.Load().id.SSHCert.Serial == 2 })
}

// A certificate without the principal that all have is used as its first one.
func TestUserOfSSHConfig(t *testing.T) {
	c := newTestCluster(t)
	id := c.identity(t, 1)
	id.SSHCert.ValidPrincipals = []string{"deploy"}
	c.signSSH(t, id.SSHCert)
	data, err := id.IdentityFile()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, string(data))
	if config, err := dynamic(t, path, quick()).SSHClientConfig(); err != nil || config.User != "deploy" {
		t.Errorf("%+v, %v", config, err)
	}
}

// Close leaves nothing behind, and may be called from a hook.
func TestCloseLeavesNothing(t *testing.T) {
	c := newTestCluster(t)
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, c.file(t, 1))
	before := runtime.NumGoroutine()
	for range 10 {
		d, err := NewDynamicIdentityFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-d.done:
		default:
			t.Fatal("it still watches")
		}
	}
	var d *DynamicIdentityFile
	made := make(chan struct{})
	d = dynamic(t, path, quick(), WithReport(func(error) { <-made; _ = d.Close() }))
	close(made)
	replace(t, path, "junk\n")
	<-d.done
	until(t, "end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
}
