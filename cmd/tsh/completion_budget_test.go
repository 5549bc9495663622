package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

const maxCompletionFiles = 16

// A shell waits for completion at every tab: it opens few files, no private key and no
// socket, whatever keyring and ssh-agent there may be.
func TestCompletionBudget(t *testing.T) {
	strace := testenv.Program(t, "strace")
	home := testenv.CopyHome(t, "18.3")
	cache := t.TempDir()
	log := filepath.Join(t.TempDir(), "calls")
	cmd := exec.Command(strace, "-f", "-qq", "-o", log, "-e", "trace=openat,open,socket,connect", releasedTsh(t), "__complete", "ssh", "")
	cmd.Env = append(os.Environ(), "TELEPORT_HOME="+home, "TELEPORT_PROXY=", "XDG_CACHE_HOME="+cache,
		"SSH_AUTH_SOCK="+filepath.Join(home, "agent"), "DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(home, "bus"))
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("TELEPORT_HOME", home)
	a := &app{}
	_, p := a.completed()
	if p == nil {
		t.Fatal("no login")
	}
	writeNames(nameFile(p, p.Cluster), []string{"web-1"})
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "web-1\n") || !strings.Contains(string(out), "@\n") {
		t.Fatalf("%v: %s", err, out)
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	opened := regexp.MustCompile(`(?m)^.*open(?:at)?\(.*\) = \d+.*$`).FindAllString(string(calls), -1)
	t.Logf("completion opens %d files:\n%s", len(opened), strings.Join(opened, "\n"))
	if len(opened) == 0 || len(opened) > maxCompletionFiles {
		t.Errorf("completion opens %d files, the limit is %d", len(opened), maxCompletionFiles)
	}
	for _, call := range []string{"socket(", "connect(", `fixture.key"`, `/fixture"`} {
		if strings.Contains(string(calls), call) {
			t.Errorf("completion does %s:\n%s", call, calls)
		}
	}
}
