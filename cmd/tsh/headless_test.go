package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/login"
)

// case L25: what is decided on is what the person has named, and theirs.
func TestSwappedHeadlessLogin(t *testing.T) {
	const id = "54519721-945e-5d87-bd76-494ca02368b8"
	for name, tc := range map[string]struct {
		wanted api.HeadlessLogin
		want   error
	}{
		"as asked":           {api.HeadlessLogin{ID: id, User: "alice", From: "203.0.113.7:1", Pending: true}, nil},
		"another id":         {api.HeadlessLogin{ID: "64519721-945e-5d87-bd76-494ca02368b8", User: "alice", Pending: true}, errHeadlessSwapped},
		"no id":              {api.HeadlessLogin{User: "alice", Pending: true}, errHeadlessSwapped},
		"for somebody else":  {api.HeadlessLogin{ID: id, User: "al\x1b[2Jice", Pending: true}, errHeadlessSwapped},
		"decided already":    {api.HeadlessLogin{ID: id, User: "alice"}, errHeadlessDecided},
		"in another writing": {api.HeadlessLogin{ID: strings.ToUpper(id), User: "alice", Pending: true}, errHeadlessSwapped},
	} {
		err := checkHeadlessLogin(&tc.wanted, "alice", id)
		if !errors.Is(err, tc.want) || err != nil && strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeadlessIDs(t *testing.T) {
	const id = "54519721-945e-5d87-bd76-494ca02368b8"
	for _, s := range []string{id, strings.ToUpper(id), login.HeadlessID(nil)} {
		if got, err := parseHeadlessID(s); err != nil || got != strings.ToLower(s) {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", id + "0", id[1:], "54519721 945e-5d87-bd76-494ca02368b8", "54519721-945e-5d87-bd76-494ca02368bg",
		"54519721-945e-5d87-bd76-494ca0236\x1b[2", "5451972--945e-5d87-bd76-494ca02368b8", strings.Repeat("\u202e", 12)} {
		if got, err := parseHeadlessID(s); err == nil || !isUsage(err) || strings.ContainsAny(err.Error(), "\x1b\u202e") {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
}

// Which of --headless and --auth, flags and variables, counts.
func TestHeadlessOrAuth(t *testing.T) {
	for _, tc := range []struct {
		headless, auth string // values; those of variables begin with $
		on, refused    bool
		leaves         string // of --auth
	}{
		{"", "", false, false, ""},
		{"true", "", true, false, "headless"},
		{"", "headless", true, false, "headless"},
		{"$1", "", true, false, "headless"},
		{"", "$headless", true, false, "headless"},
		{"true", "headless", true, false, "headless"},
		{"true", "okta", false, true, ""},
		{"$1", "$okta", false, true, ""},
		{"false", "headless", false, true, ""},
		{"true", "$okta", true, false, "headless"},
		{"$1", "okta", false, false, "okta"},
		{"$1", "headless", true, false, "headless"},
		{"false", "$headless", false, false, ""},
		{"false", "okta", false, false, "okta"},
	} {
		t.Setenv("TELEPORT_HEADLESS", "")
		t.Setenv("TELEPORT_AUTH", "")
		a := &app{io: standardStreams()}
		fs := a.rootCommand().PersistentFlags()
		for name, value := range map[string]string{"headless": tc.headless, "auth": tc.auth} {
			if rest, variable := strings.CutPrefix(value, "$"); variable {
				t.Setenv("TELEPORT_"+strings.ToUpper(name), rest)
			} else if value != "" {
				if err := fs.Set(name, value); err != nil {
					t.Fatal(err)
				}
			}
		}
		err := a.globals.complete(fs)
		if tc.refused != (err != nil) || err == nil && (a.globals.headless.on != tc.on || a.globals.auth != tc.leaves) {
			t.Errorf("headless %q, auth %q: on %v, auth %q, %v", tc.headless, tc.auth, a.globals.headless.on, a.globals.auth, err)
		}
	}
}

// Every mode of --mlock says what it does where it can be done and where it cannot.
func TestMlockModes(t *testing.T) {
	tsh := releasedTsh(t)
	for mode, status := range map[string]int{"off": 0, "auto": 0, "best_effort": 0, "no": 1} {
		cmd := exec.Command(tsh, "version", "--client", "--mlock="+mode)
		cmd.Env = append(os.Environ(), "TELEPORT_HOME="+t.TempDir())
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != status {
			t.Errorf("--mlock=%s: %s", mode, out)
		}
	}
}
