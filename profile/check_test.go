package profile

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

// case F08, case F15: addresses that no dialer should ever see.
func TestAddressesAreChecked(t *testing.T) {
	for addr, good := range map[string]bool{
		`"gate:443"`: true, `"[::1]:3080"`: true, `"192.0.2.1:1"`: true, `"a_b-c.example.net:65535"`: true, `""`: true,
		`"gate:0"`: false, `"gate:65536"`: false, `"gate:"`: false, `"gate:+1"`: false, `":443"`: false, `"gate:http"`: false, `"a b:443"`: false,
		`"gate:443\n"`: false, `"ga\u202ete:443"`: false, `"gate\u0000:443"`: false, `"u@gate:443"`: false, `"gate/x:443"`: false, `"[fe80::1%25eth0]:443"`: false,
		`"https://gate:443"`: false, `"-oProxyCommand=x"`: false, `"gate"`: false,
	} {
		for _, key := range []string{"web", "ssh", "kube", "postgres", "mysql", "mongo", "relay", "default_relay"} {
			key = strings.Replace(key+"_proxy_addr", "relay_proxy", "relay", 1)
			home := t.TempDir()
			content := "web_proxy_addr: gate:443\n"
			if key == "web_proxy_addr" {
				content = ""
			}
			testenv.Write(t, filepath.Join(home, "gate.yaml"), content+key+": "+addr+"\n")
			_, err := Open(home).Load("gate")
			switch {
			case key == "web_proxy_addr" && (addr == `""` || addr == `"gate"` || addr == `":443"`):
				continue // without a host no profile at all; a host alone is one
			case good && err != nil:
				t.Errorf("%s: %s: %v", key, addr, err)
			case !good && (!isDamaged(err) || !strings.Contains(err.Error(), key) || strings.ContainsAny(err.Error(), "\n\x00\u202e")):
				t.Errorf("%s: %s: %v", key, addr, err)
			}
		}
	}
	home := t.TempDir()
	testenv.Write(t, filepath.Join(home, "gate.yaml"), "web_proxy_addr: gate\nrelay_addr: none\n")
	if _, err := Open(home).Load("gate"); err != nil {
		t.Errorf("what other clients write: %v", err)
	}
}

// case F10: a profile that Load would refuse or read as another one is not written.
func TestProfilesThatCannotBeReadBackAreNotWritten(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	loggedIn(t, s, "gate", "alice", "harbor")
	before := snapshot(t, s.Home())
	for name, change := range map[string]func(*Profile){
		"negative timeout":      func(p *Profile) { p.SSHDialTimeout = -time.Second },
		"timeout of two days":   func(p *Profile) { p.SSHDialTimeout = 48 * time.Hour },
		"negative cache time":   func(p *Profile) { p.PIVPINCacheTTL = -1 },
		"endless cache time":    func(p *Profile) { p.PIVPINCacheTTL = 1<<63 - 1 },
		"an address of nothing": func(p *Profile) { p.MySQLProxyAddr = "gate" },
		"not UTF-8":             func(p *Profile) { p.AuthConnector = "\xff" },
		"too long":              func(p *Profile) { p.MFAMode = strings.Repeat("x", maxFile) },
		"a list not UTF-8":      func(p *Profile) { p.DynamicForwardPorts = []string{"\xff"} },
	} {
		p, err := s.Load("gate")
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		if err := s.Commit(t.Context(), p, nil); err == nil {
			t.Errorf("%s: it was written", name)
		}
		if !maps.Equal(before, snapshot(t, s.Home())) {
			t.Fatalf("%s: files changed", name)
		}
	}
	p, err := s.Load("gate")
	if err != nil {
		t.Fatal(err)
	}
	p.AuthConnector, p.DynamicForwardPorts, p.SSHDialTimeout = "yes: #\n\x00\u202e", []string{}, 24*time.Hour
	if err := s.Commit(t.Context(), p, nil); err != nil {
		t.Errorf("strange and possible: %v", err)
	}
	if back, err := s.Load("gate"); err != nil || back.AuthConnector != p.AuthConnector || back.SSHDialTimeout != 24*time.Hour {
		t.Errorf("%+v, %v", back, err)
	}
}

// case F10: durations of a file, too.
func TestDurationsOfAFileAreChecked(t *testing.T) {
	for _, value := range []string{"ssh_dial_timeout: 25h", "piv_pin_cache_ttl: 86400000000001", "ssh_dial_timeout: -1s"} {
		home := t.TempDir()
		testenv.Write(t, filepath.Join(home, "gate.yaml"), "web_proxy_addr: gate:443\n"+value+"\n")
		if _, err := Open(home).Load("gate"); !isDamaged(err) || !strings.Contains(err.Error(), value[:8]) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// case L15, case N17, case N01: Commit and Save alike do not let a host that announces
// another proxy's name replace its login; logging out there makes way.
func TestAnotherHostDoesNotTakeALoginOver(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	loggedIn(t, s, "gate", "alice", "harbor")
	before := snapshot(t, s.Home())
	for _, proven := range []string{"", "evil"} {
		for name, save := range map[string]func(context.Context, *Profile, *keystore.Identity) error{"commit": s.Commit, "save": s.Save} {
			p, id := login(t, "gate", "alice", "harbor")
			p.Proven, p.Typed = proven, "evil"
			var conflict *keystore.ConflictError
			if err := save(t.Context(), p, id); !errors.As(err, &conflict) || conflict.Reached != proven {
				t.Errorf("%s, reached %q: %v", name, proven, err)
			}
			if !maps.Equal(before, snapshot(t, s.Home())) {
				t.Fatalf("%s, reached %q: files changed", name, proven)
			}
		}
	}
	p, id := login(t, "gate", "alice", "harbor")
	p.Proven = "gate"
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Errorf("the proxy itself: %v", err)
	}
	if data := testenv.Read(t, filepath.Join(s.Home(), "gate.yaml")); strings.Contains(strings.ToLower(data), "proven") {
		t.Errorf("it is stored:\n%s", data)
	}
	if _, err := s.Logout(t.Context(), "gate", ""); err != nil {
		t.Fatal(err)
	}
	loggedIn(t, s, "gate", "alice", "harbor")
}

// case F19, case F21: no private key of a login that was killed survives a logout; one
// that is being stored is reported.
func TestLogoutClearsWhatKilledLoginsLeft(t *testing.T) {
	s, _ := fleet(t)
	stage := filepath.Join(s.Home(), "config", "tsh", "tx-KILLED")
	testenv.Write(t, filepath.Join(stage, "001"), "-----BEGIN PRIVATE KEY-----")
	done, err := s.Logout(t.Context(), "quay", "") // whoever is meant
	if err != nil || len(done.Left) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := os.Lstat(stage); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}
