package profile

import (
	"encoding/json"
	"fmt"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatWasTypedLeadsToTheProfile(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	typed := func(as, proxy, cluster string) {
		t.Helper()
		p, id := login(t, proxy, "alice", cluster)
		p.Typed, p.Proven = as, proxy
		if err := s.Commit(t.Context(), p, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Resolve("127.0.0.1:3080"); got != "127.0.0.1" {
		t.Errorf("before any login: %q", got)
	}
	typed("127.0.0.1:3080", "localhost", "dev")
	typed("https://Gate:443/", "gate.example.net", "harbor")
	typed("port.example.net", "port.example.net", "pier")
	for in, want := range map[string]string{
		"127.0.0.1:3080": "localhost", "127.0.0.1": "localhost", "127.0.0.1:4080": "127.0.0.1", "localhost": "localhost", "localhost:9": "localhost",
		"gate": "gate.example.net", "GATE:443": "gate.example.net", "https://gate:443": "gate.example.net", "gate:443,3023": "gate.example.net", "gate:444": "gate",
		"port.example.net:443": "port.example.net", "[::1]:3080": "::1", "unknown": "unknown", "": "",
	} {
		if got := s.Resolve(in); got != want {
			t.Errorf("%q leads to %q, want %q", in, got, want)
		}
	}
	typed("[::1]:3080", "six", "sechs")
	for _, in := range []string{"[::1]:3080", "::1", "[::1]"} {
		if got := s.Resolve(in); got != "six" {
			t.Errorf("%q leads to %q", in, got)
		}
	}
	// case L26: where the last login to a profile was made, if not at its name.
	reached := func(name, want string) {
		t.Helper()
		if got := s.ReachedAs(name); got != want {
			t.Errorf("%s was reached as %q, want %q", name, got, want)
		}
	}
	reached("gate.example.net", "gate")
	reached("six", "::1")
	reached("port.example.net", "")
	reached("unknown", "")
	typed("gate.example.net:443", "gate.example.net", "harbor")
	reached("gate.example.net", "")
	if got := s.Resolve("gate"); got != "gate.example.net" {
		t.Errorf("gate leads to %q", got)
	}
	typed("gate:443", "gate.example.net", "harbor")
	reached("gate.example.net", "gate")
	// The proxy goes by its own name now.
	typed("gate:443", "gate", "own")
	if got := s.Resolve("gate"); got != "gate" {
		t.Errorf("gate leads to %q", got)
	}
	// A profile that is gone is no answer.
	remove(t, filepath.Join(s.Home(), "localhost.yaml"))
	if got := s.Resolve("127.0.0.1"); got != "127.0.0.1" {
		t.Errorf("a missing profile: %q", got)
	}
}

func TestMemoryIsBoundedAndTolerant(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	p, _ := login(t, "gate", "alice", "harbor")
	var full []announced
	for i := range maxEntries {
		full = append(full, announced{fmt.Sprintf("alias%d", i), "gate"})
	}
	data, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Write(t, filepath.Join(s.Home(), typedFile), string(data))
	for _, typed := range []string{"alias7", "new"} {
		p.Typed = typed
		if err := s.Commit(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.readTyped()); n != maxEntries {
		t.Errorf("%d entries", n)
	}
	if s.Resolve("new") != "gate" || s.Resolve("alias7") != "gate" || s.Resolve("alias198") != "gate" || s.Resolve("alias199") != "alias199" {
		t.Error("not the latest ones are kept")
	}
	path := filepath.Join(s.Home(), typedFile)
	for _, junk := range []string{"", "{", "[{\"typed\":\"a\",\"name\":\"../x\"}]", "null", strings.Repeat("[", 1<<16), `[{"typed":1}]`, "\x00"} {
		testenv.Write(t, path, junk)
		before := snapshot(t, filepath.Dir(path))
		if got := s.Resolve("a"); got != "a" {
			t.Errorf("%.20q: leads to %q", junk, got)
		}
		if !maps.Equal(before, snapshot(t, filepath.Dir(path))) {
			t.Errorf("%.20q: changed by reading", junk)
		}
	}
	p.Typed = "again"
	if err := s.Commit(t.Context(), p, nil); err != nil || s.Resolve("again") != "gate" {
		t.Errorf("junk is in the way: %v", err)
	}
}

func TestAThousandProfiles(t *testing.T) {
	s := Open(t.TempDir())
	for i := range 1000 {
		testenv.Write(t, s.path(fmt.Sprintf("gate%d.example.net", i)), fmt.Sprintf("web_proxy_addr: gate%d.example.net:443\nuser: alice\n", i))
	}
	names, err := s.List()
	if err != nil || len(names) != 1000 {
		t.Fatalf("%d, %v", len(names), err)
	}
	for _, name := range names {
		if p, err := s.Load(name); err != nil || p.Host() != name || p.Cluster != name {
			t.Fatalf("%s: %+v, %v", name, p, err)
		}
	}
}
