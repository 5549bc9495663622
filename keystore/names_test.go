package keystore

import (
	"strings"
	"testing"
)

func TestNamesThatClustersAndPeopleHave(t *testing.T) {
	for _, tc := range []struct{ kind, name string }{
		{"proxy", "gate.example.net"}, {"proxy", "localhost"}, {"proxy", "127.0.0.1"}, {"proxy", "GATE"}, {"proxy", "com"}, {"proxy", "con.example.net"},
		{"cluster", "harbor"}, {"cluster", "real.example.test"}, {"cluster", "Prod_1"}, {"cluster", "1e3"},
		{"user", "alice"}, {"user", "alice@example.net"}, {"user", "o'brien+dev@example.net"}, {"user", "ålice"}, {"user", "007"}, {"user", "on"},
		{"user", strings.Repeat("a", 255)}, {"proxy", strings.Repeat("a", 253)},
	} {
		if err := CheckName(tc.kind, tc.name); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// case L13, case L14, case F15, case F16: what must never become a path or a known_hosts line.
func TestNamesThatAreRefused(t *testing.T) {
	everywhere := []string{
		"", ".", "..", "a..b", "../../x", "/abs", "a/b", `a\b`, `C:\x`, "a\x00b", "a\nb", "a\rb", "a\tb", "a b", "a*", "*", "a,b",
		"-o", "-", ".hidden", "a.", "~", "CON", "nul", "Com1", "lpt9", "a\x7f", "a\x1b[2J", "a\u202eb", "\xff", "a?", "a;b", "a$b", "a`b", `a"b`,
		strings.Repeat("a", 256), strings.Repeat("x", 5000),
	}
	for kind, more := range map[string][]string{
		"proxy":   {"user@gate", "gate:3080", "[::1]", "fe80::1%eth0", "gäte", strings.Repeat("a", 254)},
		"cluster": {"a%41", "::1", "harbor:3080", "a@b", "clüster", strings.Repeat("a", 254)},
		"user": {
			"cas", "CAS", "certs.pem", "kube_credentials.lock", "alice.key", "alice.pub", "alice.crt", "alice.ppk", "alice-ssh", "alice-SSH",
			"alice-x509.pem", "alice.lock", "alice-s\u017fh", "ca\u017f", "cert\u017f.pem", "alice.\u212aey",
		},
	} {
		for _, name := range append(more, everywhere...) {
			err := CheckName(kind, name)
			if err == nil {
				t.Errorf("%s %q was accepted", kind, name)
				continue
			}
			if msg := err.Error(); len(msg) > 200 || strings.ContainsAny(msg, "\n\x1b\x00") || strings.Contains(msg, "\u202e") {
				t.Errorf("message is %q", msg)
			}
		}
	}
	if CheckName("node", "x") == nil {
		t.Error("an unknown kind was accepted")
	}
}

func TestNamesTooLongForAFileAreRefusedBeforeAnyChange(t *testing.T) {
	d := Dir{Home: t.TempDir()}
	for _, n := range [][3]string{
		{strings.Repeat("a", 252), "alice", "harbor"}, {"gate", strings.Repeat("a", 250), "harbor"}, {"gate", "alice", strings.Repeat("a", 250)},
	} {
		if _, err := d.Load(n[0], n[1], n[2]); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("err = %v", err)
		}
	}
}
