package sshagent

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestIs(t *testing.T) {
	for _, tc := range []struct {
		comment, proxy, user string
		want                 bool
	}{
		{"teleport:gate.example.net:root:alice", "gate.example.net", "alice", true},
		{"teleport:gate.example.net:leaf:alice", "gate.example.net", "alice", true},
		{"teleport:2001:db8::1:root:alice", "2001:db8::1", "alice", true},
		{"teleport:::1:root:alice", "::1", "alice", true},
		{"teleport:gate:root:svc:ci:bot", "gate", "svc:ci:bot", true},
		{"teleport:::1:root:svc:ci", "::1", "svc:ci", true},

		// What begins and ends right but belongs to somebody else.
		{"teleport:a:b:x:c", "a", "c", false},
		{"teleport:a:root:x:c", "a", "c", false},
		{"teleport:a:root:c", "a", "root:c", false},
		{"teleport:a:root:c", "a:root", "c", false},
		{"teleport:2001:db8::1:root:alice", "2001", "alice", false},
		{"teleport:2001:db8::1:root:alice", "2001:db8:", "alice", false},
		{"teleport:gate.example.net:root:alice", "gate", "alice", false},
		{"teleport:gate:root:alice", "gate", "ice", false},
		{"teleport:gate:root:malice", "gate", "alice", false},
		{"teleport:Gate:root:alice", "gate", "alice", false},

		// What is of another kind.
		{"teleport:gate::alice", "gate", "alice", false},
		{"teleport:gate:alice", "gate", "alice", false},
		{"teleport:a:a", "a", "a", false},
		{"teleport::root:alice", "", "alice", false},
		{"teleport:gate:root:", "gate", "", false},
		{"alice@gate", "gate", "alice", false},
		{" teleport:gate:root:alice", "gate", "alice", false},
		{"teleport:gate:root:alice ", "gate", "alice", false},
		{"", "", "", false},
	} {
		if got := is(tc.comment, tc.proxy, tc.user); got != tc.want {
			t.Errorf("is(%q, %q, %q) = %v", tc.comment, tc.proxy, tc.user, got)
		}
	}
}

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		comment, keyID string
		want           owner
	}{
		{"teleport:gate:root:alice", "", owner{"gate", "root", "alice"}},
		{"teleport:gate:root:alice", "alice", owner{"gate", "root", "alice"}},
		{"teleport:gate:root:alice", "bob", owner{"gate", "root", "alice"}},
		{"teleport:gate:root:svc:ci", "", owner{"gate", "root", "svc:ci"}},
		{"teleport:gate:root:svc:ci", "ci", owner{"gate", "root", "svc:ci"}}, // gate:root is no proxy
		{"teleport:2001:db8::1:root:alice", "", owner{"2001:db8::1", "root", "alice"}},
		{"teleport:::1:root:alice", "", owner{"::1", "root", "alice"}},
		{"teleport:::ffff:192.0.2.1:root:alice", "", owner{"::ffff:192.0.2.1", "root", "alice"}},
		{"teleport:0000:0000:0000:0000:0000:ffff:255.255.255.255:c:u", "", owner{"0000:0000:0000:0000:0000:ffff:255.255.255.255", "c", "u"}},
		// The same text twice: only the certificate knows.
		{"teleport:1::2:beef:x:y", "", owner{"1::2:beef", "x", "y"}},
		{"teleport:1::2:beef:x:y", "y", owner{"1::2:beef", "x", "y"}},
		{"teleport:1::2:beef:x:y", "x:y", owner{"1::2", "beef", "x:y"}},
	} {
		if got, ok := read(tc.comment, tc.keyID); !ok || got != tc.want {
			t.Errorf("read(%q, %q) = %+v, %v", tc.comment, tc.keyID, got, ok)
		}
	}
	for _, comment := range []string{
		"", "teleport:", "teleport:::", "teleport:notes", "teleport:my laptop: spare key", "alice@gate", "TELEPORT:a:b:c",
		"teleport::root:alice", "teleport:gate::alice", "teleport:gate:root:", "teleport:a:b:c\n", "teleport:a\x00:b:c", "teleport:a:\x1bb:c",
	} {
		if got, ok := read(comment, "alice"); ok {
			t.Errorf("read(%q) = %+v", comment, got)
		}
	}
}

func TestEntryIsNotPrinted(t *testing.T) {
	e := Entry{Proxy: "gate", User: "alice", Key: newP256(t)}
	var b strings.Builder
	fmt.Fprintf(&b, "%v %+v %#v %s %d %x", e, e, e, e, e, &e)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "entry", e)
	data, err := json.Marshal(e)
	if err != nil {
		t.Error(err)
	}
	b.Write(data)
	if n := strings.Count(b.String(), redacted); n != 8 || strings.Contains(b.String(), "alice") {
		t.Errorf("printed as %s", b.String())
	}
}

func FuzzComment(f *testing.F) {
	f.Add("teleport:gate:root:alice", "gate", "root", "alice")
	f.Add("teleport:1::2:beef:x:y", "1::2", "beef", "x:y")
	f.Add("teleport:a:b:x:c", "a", "b", "c")
	f.Add("teleport:fe80::1%a:b:c:d", "fe80::1%a", "c", ":")
	f.Fuzz(func(t *testing.T, comment, proxy, cluster, user string) {
		// What is read or matched is the comment and nothing else.
		for _, id := range []string{"", user, cluster} {
			if o, ok := read(comment, id); ok && (o.comment() != comment || o.check() != nil || !is(comment, o.proxy, o.user)) {
				t.Fatalf("read(%q, %q) = %+v", comment, id, o)
			}
		}
		if is(comment, proxy, user) {
			o := owner{proxy, comment[len(scheme)+len(proxy)+1 : len(comment)-len(user)-1], user}
			if o.comment() != comment || !isCluster(o.cluster) {
				t.Fatalf("is(%q, %q, %q)", comment, proxy, user)
			}
		}
		// What we write is found again, whatever the names.
		o := owner{proxy, cluster, user}
		if o.check() != nil {
			return
		}
		if !is(o.comment(), proxy, user) {
			t.Fatalf("%+v is not found", o)
		}
		if got, ok := read(o.comment(), user); !ok || got != o {
			t.Fatalf("read(%q, %q) = %+v, %v", o.comment(), user, got, ok)
		}
		got, ok := read(o.comment(), "")
		if !ok || got != o && !strings.Contains(user, ":") {
			t.Fatalf("read(%q) = %+v, %v", o.comment(), got, ok)
		}
	})
}
