package proxy

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
)

// A configuration that verifies by itself, as that of a reloading identity does, is verified
// against its authorities all the same, and has the last word. case N17
func TestConfigurationThatVerifiesByItself(t *testing.T) {
	ca, other := newAuthority(t, "example.com"), newAuthority(t, "example.com")
	server := startTransport(t, clusterServer(t, ca), func(*service) error { return nil })
	cfg := server.config(t, ca)
	asked := 0
	cfg.TLS.InsecureSkipVerify = true
	cfg.TLS.VerifyConnection = func(state tls.ConnectionState) error {
		if asked++; state.ServerName != encodeCluster("example.com") {
			t.Errorf("asked about %q", state.ServerName)
		}
		return nil
	}
	dialTransport(t, cfg)
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	refusal := errors.New("not with me")
	cfg.TLS.VerifyConnection = func(tls.ConnectionState) error { return refusal }
	if _, err := Dial(testContext(t), cfg); !errors.Is(err, refusal) {
		t.Errorf("it refused: %v", err)
	}
	cfg.TLS.VerifyConnection = nil
	cfg.TLS.RootCAs = other.pool()
	if _, err := Dial(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), "does not prove to belong to cluster example.com") {
		t.Errorf("another authority: %v", err)
	}
}
