//go:build !race

// Without the race detector: crypto/tls of Go 1.26 has a harmless race of its own where a
// server that floods meets net/http, which reads and writes at once.

package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/internal/text"
)

func serverCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"server.test"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// secured is a Conn over TLS to what serve does with each connection.
func secured(t *testing.T, roots *x509.CertPool, serve func(net.Conn)) *Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			}()
		}
	}()
	c := NewConn(func(ctx context.Context) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: "server.test", MinVersion: tls.VersionTLS12})
		return conn, conn.HandshakeContext(ctx)
	})
	t.Cleanup(func() {
		_ = c.Close()
		_ = l.Close()
	})
	return c
}

// case N11: below a call, a server that sends nothing but messages of the handshake. The
// connection is dropped, and what has come is not kept.
func TestPostHandshakeFlood(t *testing.T) {
	unlogged(t)
	certificate, roots := serverCertificate(t)
	for _, what := range testenv.TLSFloods() {
		c := secured(t, roots, func(conn net.Conn) {
			_ = testenv.FloodTLS(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}, what)
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.Invoke(testContext(t), "/t.S/Do", nil)
		runtime.ReadMemStats(&after)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || text.Line(err.Error()) != err.Error() {
			t.Errorf("%s: %v", what, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
			t.Errorf("%s: allocated %d MiB", what, grown>>20)
		}
	}
}

// case N12: what ends a call is the alert, in our own words for it, or a number.
func TestAlertsBelowACall(t *testing.T) {
	unlogged(t)
	certificate, roots := serverCertificate(t)
	for code, want := range map[byte]string{
		45: "expired certificate", 80: "internal error", 255: "alert(255)", 0: "",
	} {
		c := secured(t, roots, func(conn net.Conn) {
			server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12})
			// A server of TLS 1.2 may talk in clear before the handshake has begun.
			if code == 0 {
				_, _ = server.Read(make([]byte, 4096))
				_, _ = conn.Write([]byte("\x1b]0;owned\a\n\n\n\n"))
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, code})
		})
		_, err := c.Invoke(testContext(t), "/t.S/Do", nil)
		if err == nil || !strings.Contains(err.Error(), want) || text.Line(err.Error()) != err.Error() || len(err.Error()) > 2<<10 {
			t.Errorf("alert %d: %v", code, err)
		}
	}
}
