package main

import (
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

func TestAuthSign(t *testing.T) {
	dir := t.TempDir()
	c, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddUser(devcluster.UserSpec{Name: "robot", Password: "canary-robot", Roles: []string{"access"}, Logins: []string{"root"}}); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	path := filepath.Join(out, "robot")
	sign := func(args ...string) (string, string, int) {
		t.Helper()
		return run(t, "", append([]string{"auth", "sign", "--dir", dir, "--user", "robot", "--out", path}, args...)...)
	}
	stdout, stderr, status := sign()
	want := regexp.MustCompile(`^identity of robot is in ` + regexp.QuoteMeta(path) + `, valid until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n$`)
	if status != 0 || !want.MatchString(stdout) || stderr != "" {
		t.Errorf("%d %q %q", status, stdout, stderr)
	}
	if data, _ := os.ReadFile(path); !strings.Contains(string(data), "@cert-authority dev.example,*.dev.example ") {
		t.Errorf("%s", data)
	}
	// What is there is kept, with a word on how to go on.
	_, stderr, status = sign("--format", "file")
	if status != 1 || stderr != "devcluster: write "+path+": file already exists\n  replace it with --overwrite, or name another --out\n" {
		t.Errorf("%d %q", status, stderr)
	}
	stdout, stderr, status = sign("--ttl", "8760", "--overwrite")
	if status != 0 || !strings.Contains(stdout, "valid until "+time.Now().UTC().Add(8760*time.Hour).Format("2006-01-02T")) ||
		stderr != "note: the roles of robot end logins after 30h0m0s; auth sign is not bound by that\n" {
		t.Errorf("%d %q %q", status, stdout, stderr)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// The cluster does not have to run.
	var written writtenIdentity
	stdout, stderr, status = sign("--format", "tls", "--ttl", "90m", "--json")
	if err := json.Unmarshal([]byte(stdout), &written); err != nil || status != 0 || stderr != "" {
		t.Fatalf("%d %q %q %v", status, stdout, stderr, err)
	}
	if !slices.Equal(written.Files, []string{path + ".cas", path + ".crt", path + ".key"}) || written.Format != "tls" || written.Username != "robot" ||
		written.Cluster != "dev.example" || time.Until(written.ValidUntil).Round(time.Minute) != 90*time.Minute || written.Notes != nil {
		t.Errorf("%+v", written)
	}
	for name, args := range map[string][]string{
		"--ttl":                        {"--ttl", "soon"},
		"longer than a minute":         {"--ttl", "1m", "--overwrite"},
		"at most 87600 hours":          {"--ttl", "87601", "--overwrite"},
		"hours":                        {"--ttl", "99999999999", "--overwrite"},
		`format "pem" is not one of`:   {"--format", "pem", "--overwrite"},
		"format openssh has no place ": {"--format", "openssh", "--proxy", "x", "--overwrite"},
	} {
		if stdout, stderr, status := sign(args...); status != 1 || stdout != "" || !strings.Contains(stderr, name) {
			t.Errorf("%s: %d %q %q", name, status, stdout, stderr)
		}
	}
	if _, stderr, status := run(t, "", "auth", "sign", "--dir", dir); status != 1 || !strings.Contains(stderr, `"out", "user"`) {
		t.Errorf("%d %q", status, stderr)
	}
}

func TestAuthExport(t *testing.T) {
	dir := t.TempDir()
	if _, text, status := run(t, "", "auth", "export", "--type", "user", "--dir", dir); status != 1 || !strings.Contains(text, "devcluster start --dir "+dir) {
		t.Errorf("no cluster: %d %q", status, text)
	}
	c, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, running := range []bool{true, false} {
		if !running {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, kind := range []string{"user", "host", "tls-user", "tls-host"} {
			out, text, status := run(t, "", "auth", "export", "--type", kind, "--dir", dir)
			if status != 0 || shown[kind] != "" && shown[kind] != out {
				t.Errorf("%s, running %v: %d %q %s", kind, running, status, out, text)
			}
			shown[kind] = out
			if strings.HasPrefix(kind, "tls-") {
				if block, rest := pem.Decode([]byte(out)); block == nil || len(rest) > 0 || block.Type != "CERTIFICATE" {
					t.Errorf("%s: %q", kind, out)
				}
			}
		}
	}
	if !strings.HasPrefix(shown["user"], "ssh-ed25519 ") || !strings.HasPrefix(shown["host"], "@cert-authority dev.example,*.dev.example ssh-ed25519 ") ||
		shown["tls-user"] == shown["tls-host"] {
		t.Errorf("%q", shown)
	}
	out, _, _ := run(t, "", "auth", "export", "--type", "host", "--dir", dir, "--json")
	var parsed map[string]string
	if err := json.Unmarshal([]byte(out), &parsed); err != nil || parsed["authority"] != shown["host"] {
		t.Errorf("%s %v", out, err)
	}
	if _, text, status := run(t, "", "auth", "export", "--type", "nope", "--dir", dir); status != 1 || !strings.Contains(text, "user, host, tls-user, tls-host") {
		t.Errorf("%d %q", status, text)
	}
}
