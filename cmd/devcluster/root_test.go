package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// What is typed wrongly is said, and never answered with success.
func TestWrongCommandLines(t *testing.T) {
	dir := t.TempDir()
	for line, want := range map[string]string{
		"users ad":               `unknown command "ad" for "devcluster users"`,
		"users --dir x ad":       `unknown command "ad" for "devcluster users"`,
		"auth sing --user x":     `unknown flag: --user`,
		"requests aprove id":     `unknown command "aprove" for "devcluster requests"`,
		"nodes ad":               `unknown command "ad" for "devcluster nodes"`,
		"strat":                  `unknown command "strat" for "devcluster"`,
		"create role.yaml":       `create has no argument "role.yaml"; a file is named with -f`,
		"get roles":              `required flag(s) "dir" not set`,
		"get roles --dir " + dir: "holds no dev cluster",
	} {
		out, text, status := run(t, "", strings.Fields(line)...)
		if status != 1 || out != "" || !strings.Contains(text, want) {
			t.Errorf("%s: %d\n%s%s", line, status, out, text)
		}
	}
	for _, line := range []string{"users", "auth", "requests --dir x", "nodes"} {
		if out, text, status := run(t, "", strings.Fields(line)...); status != 0 || text != "" || !strings.Contains(out, "Available Commands:") {
			t.Errorf("%s: %d\n%s%s", line, status, out, text)
		}
	}
	if out, _, _ := run(t, "", "start", "--help"); strings.Contains(out, "[]") {
		t.Error(out)
	}
}

// With --json what goes wrong is JSON, too.
func TestErrorsAsJSON(t *testing.T) {
	dir := t.TempDir()
	for line, want := range map[string]string{
		"users ls --json":               "holds no dev cluster",
		"get roles --json":              "holds no dev cluster",
		"create -f /nonexistent --json": "/nonexistent",
		"users add --json":              "accepts 1 arg(s), received 0",
	} {
		out, text, status := run(t, "", append(strings.Fields(line), "--dir", dir)...)
		var answer struct {
			Error struct{ Message, Hint string }
		}
		if err := json.Unmarshal([]byte(out), &answer); err != nil || status != 1 || text != "" || !strings.Contains(answer.Error.Message, want) {
			t.Errorf("%s: %d, %v\n%s%s", line, status, err, out, text)
		}
		if strings.Contains(want, "holds") != strings.HasPrefix(answer.Error.Hint, "start one there: ") {
			t.Errorf("%s: hint %q", line, answer.Error.Hint)
		}
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, text, status := run(t, "", "start", "--dir", t.TempDir(), "--addr", l.Addr().String())
	if status != 1 || !strings.Contains(text, l.Addr().String()) {
		t.Errorf("%d %s", status, text)
	}
	if strings.Contains(text, "address already in use") && !strings.Contains(text, "--addr 127.0.0.1:0") { // as Unix says it
		t.Error(text)
	}
}

// A start that fails makes no cluster: the next one may give it another name and suite.
func TestFailedStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	for _, wrong := range []string{"--auth-addr=" + l.Addr().String(), "--mfa-refusal=nonsense", "--nodes=100000", "--leaf=a.example"} {
		_, text, status := run(t, "", "start", "--dir", dir, "--addr=127.0.0.1:0", "--name=a.example", "--suite=balanced-v1", wrong)
		if status != 1 {
			t.Errorf("%s: %d %s", wrong, status, text)
		}
		if _, text, _ := run(t, "", "users", "ls", "--dir", dir); !strings.Contains(text, "holds no dev cluster") {
			t.Errorf("after %s: %s", wrong, text)
		}
	}
	c, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir, Addr: "127.0.0.1:0", Name: "b.example", Suite: "legacy"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
