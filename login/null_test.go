package login

import (
	"errors"
	"io"
	"net/http"
	"testing"
)

// case N06: null in any place of the answer is as if nothing were there, and
// nothing is no identity.
func TestNullAnswers(t *testing.T) {
	for _, answer := range []string{
		`null`,
		`{}`,
		`{"username":null,"cert":null,"tls_cert":null,"host_signers":null,"client_options":null}`,
		`{"username":"alice","cert":null,"tls_cert":null,"host_signers":[null]}`,
		`{"username":"alice","host_signers":[{"domain_name":"example.com","checking_keys":null,"tls_certs":null}]}`,
		`{"username":"alice","host_signers":[{"domain_name":"example.com","checking_keys":[null],"tls_certs":[null]}]}`,
		`{"USERNAME":"alice","Cert":"AAAA"}`,
	} {
		r := &rogue{}
		client := startRogue(t, r)
		r.finish = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }
		var p person
		if result, err := Run(t.Context(), client, alice(), p.ui()); !errors.Is(err, ErrRejected) || result != nil {
			t.Errorf("%s: %v, %v", answer, result, err)
		}
	}
}
