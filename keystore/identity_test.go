package keystore

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

// case L23: whatever prints an identity prints no key.
func TestIdentityPrintsAsRedacted(t *testing.T) {
	id := newCluster(t, "harbor").issue(t, "gate", "alice", SuiteBalanced)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{id, *id} {
			if got := fmt.Sprintf(verb, v); got != "REDACTED" {
				t.Errorf("%s of %T prints %q", verb, v, got)
			}
		}
	}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "id", id)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "id", *id)
	if strings.Count(b.String(), "REDACTED") != 2 || strings.Contains(b.String(), "alice") {
		t.Errorf("log is %s", b.String())
	}
	if data, err := json.Marshal(id); err != nil || string(data) != `"REDACTED"` {
		t.Errorf("JSON is %s, %v", data, err)
	}
}

func TestExpiryIsTheEarlierOne(t *testing.T) {
	id := newCluster(t, "harbor").issue(t, "gate", "alice", SuiteBalanced)
	end := testenv.FixtureTime().Add(time.Hour)
	id.SSHCert.ValidBefore = uint64(end.Unix())
	if got, ok := id.Expiry(); !ok || !got.Equal(end) {
		t.Errorf("SSH earlier: %v, %v", got, ok)
	}
	id.SSHCert.ValidBefore = ssh.CertTimeInfinity
	if got, ok := id.Expiry(); !ok || !got.Equal(id.TLSCert.NotAfter) {
		t.Errorf("SSH forever: %v, %v", got, ok)
	}
	if _, ok := (&Identity{}).Expiry(); ok {
		t.Error("no certificates have an expiry")
	}
}

// case L19: expired and "the clock is behind" are different things.
func TestTimeIsJudgedApart(t *testing.T) {
	id := newCluster(t, "harbor").issue(t, "gate", "alice", SuiteBalanced)
	end, _ := id.Expiry()
	for _, tc := range []struct {
		now    time.Time
		notYet bool
		says   string
	}{
		{end, false, "expired at 2027-01-01T12:00:00Z"},
		{time.Date(2106, 2, 7, 0, 0, 0, 0, time.UTC), false, "expired"},
		{testenv.FixtureTime().Add(-time.Hour), true, "59m0s behind"},
		{time.Unix(0, 0), true, "behind"},
	} {
		err := id.CheckTime(tc.now)
		var when *TimeError
		if !errors.As(err, &when) || when.NotYet != tc.notYet || !when.Now.Equal(tc.now) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v: %v", tc.now, err)
		}
	}
	for _, now := range []time.Time{testenv.FixtureTime(), end.Add(-time.Second)} {
		if err := id.CheckTime(now); err != nil {
			t.Errorf("%v: %v", now, err)
		}
	}
}

// A whole TLS handshake: the server sees exactly our certificate, and only a
// server of the cluster gets it.
func TestTLSHandshake(t *testing.T) {
	c, stranger := newCluster(t, "harbor"), newCluster(t, "harbor")
	for _, suite := range []Suite{SuiteLegacy, SuiteBalanced} {
		id := c.issue(t, "gate", "alice", suite)
		if err := tlsShake(t, id, c, c); err != nil {
			t.Errorf("%s: %v", suite, err)
		}
		var unknown x509.UnknownAuthorityError
		if err := tlsShake(t, id, stranger, c); !errors.As(err, &unknown) {
			t.Errorf("%s: a stranger: %v", suite, err)
		}
	}
	id := c.issue(t, "gate", "alice", SuiteBalanced)
	id.Authorities = nil
	if _, err := id.TLSConfig(); !errors.Is(err, ErrDamaged) {
		t.Errorf("without authorities: %v", err)
	}
	if _, err := (&Identity{}).TLSConfig(); err == nil {
		t.Error("without keys")
	}
	if _, err := (&Identity{}).SSHClientConfig(); err == nil {
		t.Error("without keys")
	}
}

func tlsShake(t *testing.T, id *Identity, host, users *cluster) error {
	t.Helper()
	_, key := keysFor(t, SuiteBalanced)
	tmpl := caTemplate("server." + host.name)
	tmpl.IsCA, tmpl.KeyUsage, tmpl.DNSNames = false, x509.KeyUsageDigitalSignature, []string{"teleport.cluster.local"}
	cert := testenv.Issuer{Cert: host.hostTLS, Key: host.hostKey}.Sign(t, tmpl, key.Public())
	pool := x509.NewCertPool()
	pool.AddCert(users.userTLS)
	server := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, NextProtos: []string{"h2"},
		Time: func() time.Time { return testenv.FixtureTime() },
	}
	client, err := id.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	if client.MinVersion != tls.VersionTLS12 || client.InsecureSkipVerify || len(client.Certificates) != 0 {
		t.Errorf("config %+v", client)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan tls.ConnectionState, 1)
	go func() {
		defer close(seen)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		conn := tls.Server(nc, server)
		if conn.Handshake() == nil {
			seen <- conn.ConnectionState()
		}
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return err
	}
	state := <-seen
	if len(state.PeerCertificates) != 1 || !state.PeerCertificates[0].Equal(id.TLSCert) || state.NegotiatedProtocol != "h2" {
		t.Errorf("server saw %d certificates, protocol %q", len(state.PeerCertificates), state.NegotiatedProtocol)
	}
	return nil
}
