package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// case N01, case N03: a certificate that cannot be trusted stops everything
// before a byte of a request is sent, and is told apart by kind.
func TestUntrustedCertificates(t *testing.T) {
	ca, stranger := newAuthority(t, "web"), newAuthority(t, "stranger\x1b[31m")
	self := &authority{key: newKey(t)}
	selfSigned := self.issueSelf(t)
	for name, tt := range map[string]struct {
		cert tls.Certificate
		kind TrustKind
		text string
	}{
		"unknown authority": {stranger.issue(t, nil), TrustUnknownAuthority, "unknown authority"},
		"self-signed":       {selfSigned, TrustSelfSigned, "signed by itself"},
		"expired":           {ca.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), TrustExpired, "not valid now"},
		"not yet valid":     {ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), TrustExpired, "not valid now"},
		"wrong name": {ca.issue(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"evil.example"}, nil }),
			TrustWrongName, "another name"},
		"wrong usage": {ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
			TrustWrongUsage, "not for servers"},
		// case N13
		"a critical extension nobody knows": {ca.issue(t, func(c *x509.Certificate) { c.ExtraExtensions = oddExtension() }), TrustOther, "cannot be trusted"},
		"ten thousand names": {ca.issue(t, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = nil, nil
			for i := range 5000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("host-%d.example", i))
			}
		}), TrustWrongName, "another name"},
	} {
		got := make(chan int, 1)
		p := startPeer(t, countPlain(tt.cert, got))
		c := clientFor(t, p.addr, ca.pool())
		_, err := c.LoginFinish(testContext(t), FinishRequest{User: "u", Password: canary})
		var trust *TrustError
		if !errors.As(err, &trust) || trust.Kind != tt.kind || !strings.Contains(err.Error(), tt.text) || trust.Host != p.addr {
			t.Errorf("%s: %v (%+v)", name, err, trust)
			continue
		}
		if len(err.Error()) > 2<<10 || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %q", name, err)
		}
		if n := <-got; n != 0 {
			t.Errorf("%s: %d bytes of a request were sent", name, n)
		}
		if p.conns.Load() != 1 {
			t.Errorf("%s: %d connections", name, p.conns.Load())
		}
	}
}

func TestInsecure(t *testing.T) {
	ca := newAuthority(t, "nobody knows")
	p := pingServer(t, serverConfig(t, ca), "x")
	c := NewClient(Options{Addr: mustParse(t, p.addr), Insecure: true})
	defer c.Close()
	if _, err := c.Ping(testContext(t), ""); err != nil {
		t.Error(err)
	}
	if c.UpgradeRequired(testContext(t)) != true { // the peer negotiates nothing
		t.Error("the probe verified the certificate")
	}
}
