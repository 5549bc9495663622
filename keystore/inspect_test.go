package keystore

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// case F08, case L15: what is wrong in known_hosts is told apart; proxies that nobody is
// logged in to claim nothing.
func TestInspectHosts(t *testing.T) {
	d := Dir{Home: t.TempDir()}
	if unreadable, unrevoked, claims, err := d.InspectHosts(); err != nil || unreadable != nil || unrevoked != nil || claims != nil {
		t.Errorf("without a file: %v, %v, %v, %v", unreadable, unrevoked, claims, err)
	}
	one, two := newCluster(t, "harbor"), newCluster(t, "Harbor")
	testenv.Write(t, d.Home+"/keys/one.example/alice.key", "key")
	testenv.Write(t, d.Home+"/keys/two.example/alice.key", "key")
	testenv.Write(t, d.Home+"/keys/logged-out.example/cas/x.pem", "")
	file := strings.Join(slices.Concat(
		hostLines("one.example", one.authority()),                                    // 1
		[]string{"# a comment", "", "word"},                                          // 4 is bad
		hostLines("two.example", two.authority()),                                    // 5
		hostLines("logged-out.example", two.authority()),                             // 6
		[]string{"@revoked * ssh-ed25519 AAAA", "@Revoked", "host ssh-ed25519 AAAA"}, // 7, 8; 9 is bad
	), "\n")
	testenv.Write(t, d.Home+"/known_hosts", file)
	unreadable, unrevoked, claims, err := d.InspectHosts()
	if err != nil || !slices.Equal(unreadable, []int{4, 9}) || !slices.Equal(unrevoked, []int{7, 8}) {
		t.Errorf("%v, %v, %v", unreadable, unrevoked, err)
	}
	if len(claims) != 1 || claims[0].Proxy != "two.example" || claims[0].OtherProxy != "one.example" {
		t.Errorf("claims: %v", claims)
	}
	// One key in common is enough: an authority that is being rotated.
	testenv.Write(t, d.Home+"/known_hosts", file+"\n"+strings.Join(hostLines("two.example", one.authority()), "\n"))
	if _, _, claims, _ := d.InspectHosts(); claims != nil {
		t.Errorf("with a key in common: %v", claims)
	}
	testenv.Write(t, d.Home+"/known_hosts", strings.Repeat("x y\n", 2*maxReported))
	if unreadable, _, _, _ := d.InspectHosts(); len(unreadable) != maxReported {
		t.Errorf("%d lines", len(unreadable))
	}
	if _, err := d.Authorities("one.example", "../x"); err == nil {
		t.Error("a cluster that is a path")
	}
}
