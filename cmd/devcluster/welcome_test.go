package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
)

// started runs start until it has said where the cluster is; stop ends it.
func started(t *testing.T, done string, args ...string) (out string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stdout := &lockedBuffer{changed: make(chan struct{}, 1)}
	var stderr lockedBuffer
	status := make(chan int, 1)
	go func() {
		args := append([]string{"start", "--dir", t.TempDir(), "--second-factor", "off"}, args...)
		status <- execute(ctx, args, streams{strings.NewReader(""), stdout, &stderr})
	}()
	for !strings.Contains(stdout.String(), done) {
		select {
		case <-stdout.changed:
		case s := <-status:
			t.Fatalf("status %d: %s", s, stderr.String())
		}
	}
	return stdout.String(), func() {
		cancel()
		if s := <-status; s != 0 {
			t.Errorf("status %d: %s", s, stderr.String())
		}
	}
}

// start says where the auth server is, which has an address of its own unless there is to
// be none.
func TestStartSaysWhere(t *testing.T) {
	out, stop := started(t, "}\n", "--addr", "127.0.0.1:0", "--json")
	defer stop()
	var p place
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if p.Name != "dev.example" || p.AuthAddr == "" || p.AuthAddr == p.Addr || p.SSHAddr != p.Addr || p.TunnelAddr != p.Addr || p.CAFile == "" {
		t.Errorf("%+v", p)
	}
	if _, err := os.Stat(p.AuditLog); err != nil {
		t.Error(err)
	}
	conn, err := net.Dial("tcp", p.AuthAddr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()

	out, stop = started(t, "tsh ls\n", "--addr", "127.0.0.1:0", "--auth-addr", "127.0.0.1:0")
	stop()
	if !regexp.MustCompile(`(?m)^auth    127\.0\.0\.1:[1-9]\d*, without the proxy$`).MatchString(out) {
		t.Errorf("no address of the auth server in\n%s", out)
	}
	out, stop = started(t, "tsh ls\n", "--addr", "127.0.0.1:0", "--auth-addr", "none")
	stop()
	if strings.Contains(out, "auth ") {
		t.Errorf("an auth server in\n%s", out)
	}
	if _, text, status := run(t, "", "start", "--dir", t.TempDir(), "--addr", "127.0.0.1:0", "--auth-addr", p.AuthAddr); status != 1 || !strings.Contains(text, p.AuthAddr) {
		t.Errorf("an address that is taken: %d %q", status, text)
	}
}

// The usual port next to the proxy's, or a free one.
func TestAuthAddress(t *testing.T) {
	usual := "127.0.0.1:" + authPort
	if l, err := net.Listen("tcp", usual); err == nil {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := (&startOptions{addr: "127.0.0.1:3080"}).authAddress(); got != usual && got != "127.0.0.1:0" { // others run, too
			t.Errorf("%q", got)
		}
	}
	if l, err := net.Listen("tcp", usual); err == nil {
		defer l.Close()
	}
	for _, tc := range []struct{ addr, authAddr, want string }{
		{"127.0.0.1:3080", "", "127.0.0.1:0"}, // taken, by now
		{"127.0.0.1:0", "", "127.0.0.1:0"},
		{"[::1]:0", "", "[::1]:0"},
		{"127.0.0.1:3080", "none", ""},
		{"127.0.0.1:3080", "10.0.0.1:99", "10.0.0.1:99"},
		{"nonsense", "", ""},
	} {
		if got := (&startOptions{addr: tc.addr, authAddr: tc.authAddr}).authAddress(); got != tc.want {
			t.Errorf("proxy at %s, auth server at %q: %q, want %q", tc.addr, tc.authAddr, got, tc.want)
		}
	}
}
