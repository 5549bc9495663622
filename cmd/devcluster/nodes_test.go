package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// A server with OpenSSH is added while the cluster runs: its key is certified by the
// host authority for all its names.
func TestNodes(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	c, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(files, "host_key.pub")
	if err := os.WriteFile(keyFile, ssh.MarshalAuthorizedKey(key), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(files) // sshd wants full paths
	add := []string{"nodes", "add", "web-1", "--dir", dir, "--addr", "127.0.0.1:2222", "--host-key", filepath.Base(keyFile), "--out", filepath.Join(files, "sshd")}
	out, text, status := run(t, "", append(add, "--labels", "env=prod,os=openssh")...)
	certFile, authority := filepath.Join(files, "sshd", "host_key-cert.pub"), filepath.Join(files, "sshd", "user_ca.pub")
	want := "node web-1 added; its sshd_config needs\n\nHostKey " + filepath.Join(files, "host_key") + "\nHostCertificate " + certFile + "\nTrustedUserCAKeys " + authority + "\n"
	if status != 0 || out != want || text != "" {
		t.Fatalf("add: %d\n%s%s", status, out, text)
	}
	line, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		t.Fatal(err)
	}
	cert := parsed.(*ssh.Certificate)
	if names := strings.Join(cert.ValidPrincipals, " "); cert.CertType != ssh.HostCert || !strings.HasSuffix(names, " web-1 web-1.dev.example 127.0.0.1") {
		t.Errorf("certificate for %q", names)
	}
	if _, err := os.Stat(authority); err != nil {
		t.Error(err)
	}

	var nodes []devcluster.SSHDNode
	out, _, _ = run(t, "", "nodes", "ls", "--dir", dir, "--json")
	if err := json.Unmarshal([]byte(out), &nodes); err != nil || len(nodes) != 1 || nodes[0].Labels["os"] != "openssh" || nodes[0].ID+"."+"dev.example" != cert.KeyId {
		t.Errorf("ls: %v\n%s", err, out)
	}
	// Once more: the server stays the same.
	if out, _, status = run(t, "", append(add, "--json")...); status != 0 || !strings.Contains(out, nodes[0].ID) {
		t.Errorf("add again: %d %s", status, out)
	}
	if out, _, _ = run(t, "", "nodes", "ls", "--dir", dir); !strings.Contains(out, "web-1  127.0.0.1:2222") {
		t.Errorf("ls:\n%s", out)
	}
	if out, _, status = run(t, "", "nodes", "rm", "web-1", "--dir", dir); status != 0 || out != "node web-1 removed\n" {
		t.Errorf("rm: %d %s", status, out)
	}
	for _, bad := range [][]string{
		{"nodes", "rm", "web-1", "--dir", dir},
		{"nodes", "add", "web-1", "--dir", dir, "--addr", "nowhere", "--host-key", keyFile, "--out", files},
		{"nodes", "add", "web-1", "--dir", dir, "--addr", "127.0.0.1:22", "--host-key", certFile, "--out", files},
		{"nodes", "add", "web-1", "--dir", dir, "--addr", "127.0.0.1:22", "--host-key", filepath.Join(dir, "none"), "--out", files},
	} {
		if _, text, status := run(t, "", bad...); status != 1 || text == "" {
			t.Errorf("%q: %d %q", bad, status, text)
		}
	}
}
