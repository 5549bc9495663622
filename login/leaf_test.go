package login

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/proxy"
)

// A leaf that was asked for goes into the login itself, the proxy's own cluster does
// not; certificates that lead elsewhere are refused.
func TestLoginToLeaf(t *testing.T) {
	for _, tc := range []struct {
		cluster, street string
		sent, selected  string
		err             error
	}{
		{"", "", "", "example.com", nil},
		{"example.com", "example.com", "", "example.com", nil},
		{"leaf.example", "leaf.example", "leaf.example", "leaf.example", nil},
		{"leaf.example", "example.com", "leaf.example", "", ErrRejected},
	} {
		r := new(rogue)
		client := startRogue(t, r)
		r.bend = func(a *answer) { a.tls.Subject.StreetAddress = []string{tc.street} }
		req := alice()
		req.Cluster = tc.cluster
		var p person
		result, err := Run(t.Context(), client, req, p.ui())
		if !errors.Is(err, tc.err) {
			t.Errorf("%+v: %v", tc, err)
		}
		var sent proxy.FinishRequest
		if err := json.Unmarshal([]byte(r.bodies[len(r.bodies)-1]), &sent); err != nil || sent.Cluster != tc.sent {
			t.Errorf("%+v: sent %q, %v", tc, sent.Cluster, err)
		}
		if err == nil && (result.Identity.Cluster != tc.selected || result.Identity.RootCluster() != "example.com") {
			t.Errorf("%+v: selected %s", tc, result.Identity.Cluster)
		}
		if err != nil && !strings.Contains(err.Error(), "leads to cluster") {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
