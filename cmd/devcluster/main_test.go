package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// run runs one command line without a terminal.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, err bytes.Buffer
	status = execute(t.Context(), args, streams{strings.NewReader(stdin), &out, &err})
	return out.String(), err.String(), status
}

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestStart(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	out := &lockedBuffer{changed: make(chan struct{}, 1)}
	var stderr lockedBuffer
	status := make(chan int, 1)
	go func() {
		status <- execute(ctx, []string{
			"start", "--dir", dir, "--addr", "127.0.0.1:0", "--name", "my.example", "--second-factor", "off", "--nodes", "2", "--motd", "hi",
		}, streams{strings.NewReader(""), out, &stderr})
	}()
	for !strings.Contains(out.String(), "tsh ls") {
		select {
		case <-out.changed:
		case s := <-status:
			t.Fatalf("status %d: %s", s, stderr.String())
		}
	}
	for _, want := range []string{
		"cluster my.example listens on 127.0.0.1:", "announced as localhost:", "web CA  " + filepath.Join(dir, "web-ca.pem"),
		"users add ", "export SSL_CERT_FILE=", "tsh login --proxy=localhost:",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "web-ca.pem")); err != nil {
		t.Error(err)
	}
	if _, text, s := run(t, "", "start", "--dir", dir, "--addr", "127.0.0.1:0"); s != 1 || !strings.Contains(text, dir) || !strings.Contains(text, "in use") {
		t.Errorf("second start: %d %q", s, text)
	}
	if text, errText, s := run(t, "", "users", "add", "eve", "--dir", dir, "--generate"); s != 0 || strings.Contains(text, "otpauth") {
		t.Errorf("add: %d %q %q", s, text, errText)
	}
	cancel()
	if s := <-status; s != 0 || !strings.HasSuffix(out.String(), "stopping\n") {
		t.Errorf("status %d: %s", s, stderr.String())
	}
}

func TestUsers(t *testing.T) {
	dir := t.TempDir()
	if _, text, status := run(t, "", "users", "ls", "--dir", dir); status != 1 || !strings.Contains(text, "devcluster start --dir "+dir) {
		t.Errorf("no cluster: %d %q", status, text)
	}
	c, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out, text, status := run(t, "", "users", "add", "alice", "--dir", dir, "--roles", "access,editor", "--logins", "root,alice")
	if status != 0 || !regexp.MustCompile(`(?m)^password  [a-z2-9-]{23}$`).MatchString(out) || !strings.Contains(out, "█▀") ||
		!regexp.MustCompile(`(?m)^secret    [A-Z2-7]{32}$`).MatchString(out) || !strings.Contains(out, "otpauth://totp/dev.example:alice@localhost?") {
		t.Errorf("add: %d %s%s", status, out, text)
	}
	var en map[string]string
	out, text, status = run(t, "a secret\nnext line\n", "users", "add", "bob", "--dir", dir, "--password-stdin", "--json")
	if err := json.Unmarshal([]byte(out), &en); err != nil || status != 0 || en["name"] != "bob" || en["password"] != "" || en["totp_secret"] == "" {
		t.Errorf("add from stdin: %d %s%s %v", status, out, text, err)
	}
	en = nil
	out, text, status = run(t, "", "users", "reset", "bob", "--dir", dir, "--json", "--generate")
	if err := json.Unmarshal([]byte(out), &en); err != nil || status != 0 || en["password"] == "" {
		t.Errorf("reset: %d %s%s %v", status, out, text, err)
	}
	if _, text, status = run(t, "", "users", "add", "carol", "--dir", dir, "--roles", "session-mfa,session-mfa-prod"); status != 0 {
		t.Errorf("roles for second factors: %d %s", status, text)
	}
	_, _, _ = run(t, "", "users", "rm", "carol", "--dir", dir)
	out, _, _ = run(t, "", "users", "ls", "--dir", dir)
	if !regexp.MustCompile(`(?m)^alice +access,editor +root,alice +otp`).MatchString(out) {
		t.Errorf("ls:\n%s", out)
	}
	if out, text, status = run(t, "", "users", "rm", "bob", "--dir", dir); status != 0 || out != "user bob removed\n" {
		t.Errorf("rm: %d %s%s", status, out, text)
	}
	var list []devcluster.User
	out, _, _ = run(t, "", "users", "ls", "--dir", dir, "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || list[0].Name != "alice" {
		t.Errorf("ls --json: %s %v", out, err)
	}
	for name, args := range map[string][]string{
		"no name":    {"users", "add", "--dir", dir},
		"no dir":     {"users", "ls"},
		"both":       {"users", "add", "x", "--dir", dir, "--generate", "--password-stdin"},
		"empty":      {"users", "add", "x", "--dir", dir, "--password-stdin"},
		"role":       {"users", "add", "x", "--dir", dir, "--roles", "nope"},
		"no command": {"nope"},
		"nodes":      {"start", "--dir", t.TempDir(), "--nodes", "0"},
		"refusal":    {"start", "--dir", t.TempDir(), "--addr", "127.0.0.1:0", "--mfa-refusal", "nope"},
		"suite":      {"start", "--dir", t.TempDir(), "--addr", "127.0.0.1:0", "--suite", "nope"},
	} {
		if out, text, status := run(t, "", args...); status != 1 || out != "" || !strings.HasPrefix(text, "devcluster: ") {
			t.Errorf("%s: %d %q %q", name, status, out, text)
		}
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, cmd := range []string{"", "start", "users", "users add", "users ls", "users rm", "users reset", "users update", "create", "get", "rm", "auth", "auth sign", "auth export"} {
		out, _, status := run(t, "", append(strings.Fields(cmd), "--help")...)
		if status != 0 || !strings.Contains(out, "Examples:\n  devcluster ") {
			t.Errorf("%s: %d %s", cmd, status, out)
		}
	}
}
