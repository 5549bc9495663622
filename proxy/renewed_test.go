package proxy

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
)

// A transport that lives longer than its identity connects anew with what that is by then,
// and not before it has to.
func TestTransportFollowsItsIdentity(t *testing.T) {
	old, later := newAuthority(t, "example.com"), newAuthority(t, "example.com")
	var server atomic.Pointer[tls.Config]
	server.Store(clusterServer(t, old))
	following := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server.Load(), nil }}
	s := startTransport(t, following, func(s *service) error { return s.details() })
	cfg := s.config(t, old)
	errGone := errors.New("the identity is gone")
	var current *tls.Config
	asked := 0
	cfg.CurrentTLS = func() (*tls.Config, error) {
		if asked++; current == nil {
			return nil, errGone
		}
		return current, nil
	}
	tr := dialTransport(t, cfg)
	dial := func() error {
		conn, err := tr.DialNode(testContext(t), "node:0", "example.com")
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	if err := dial(); err != nil || asked != 0 {
		t.Fatalf("%v, asked %d times", err, asked)
	}
	server.Store(clusterServer(t, later))
	tr.Renew(0)
	if err := dial(); !errors.Is(err, errGone) {
		t.Errorf("without an identity: %v", err)
	}
	current = cfg.TLS
	if err := dial(); err == nil || strings.Count(err.Error(), s.addr) != 1 {
		t.Errorf("with the old authority: %v", err)
	}
	current = clientIdentity(t, later, nil)
	if err := dial(); err != nil || asked != 3 {
		t.Errorf("with the new authority: %v, asked %d times", err, asked)
	}
}
