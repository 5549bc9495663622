package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/keystore"
)

// What was to be dropped must be in neither certificate, what was asked for has to be there.
func TestReissuedRights(t *testing.T) {
	const one, two = "6d1f2c3a-0000-4000-8000-000000000001", "6d1f2c3a-0000-4000-8000-000000000002"
	for name, tt := range map[string]struct {
		rights   rights
		ssh, tls string
		ok       bool
	}{
		"dropped":                       {rights{drop: []string{one}}, two, two, true},
		"still in the SSH certificate":  {rights{drop: []string{one}}, one, two, false},
		"still in the TLS certificate":  {rights{drop: []string{two, one}}, "", one, false},
		"assumed":                       {rights{assume: one}, one, one, true},
		"another one":                   {rights{assume: one}, two, one, false},
		"nothing was asked, one stayed": {rights{}, one, one, true},
	} {
		id := &keystore.Identity{
			SSHCert: &ssh.Certificate{Permissions: ssh.Permissions{Extensions: map[string]string{extActiveRequests: `{"access_requests":["` + tt.ssh + `"]}`}}},
			TLSCert: &x509.Certificate{Subject: pkix.Name{Names: []pkix.AttributeTypeAndValue{
				{Type: []int{2, 5, 4, 3}, Value: "alice"}, {Type: []int{1, 3, 9999, 2, 8}, Value: tt.tls},
			}}},
		}
		if err := tt.rights.check(id); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
