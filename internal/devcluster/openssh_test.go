//go:build unix

package devcluster

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// bridge listens on a port of its own and connects what comes to a node.
func (f *fixture) bridge(l *login, target string) string {
	f.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = listener.Close() })
	cc := f.transport(l)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			node, err := f.proxySSH(cc, target)
			if err != nil {
				_ = conn.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(node, conn)
				_ = node.Close()
			}()
			go func() {
				_, _ = io.Copy(conn, node)
				_ = conn.Close()
			}()
		}
	}()
	return port(f.t, listener.Addr().String())
}

// openSSH is how the stock client is called to reach node-1 with a login.
func (f *fixture) openSSH(l *login) []string {
	t := f.t
	t.Helper()
	dir := t.TempDir()
	block, err := ssh.MarshalPrivateKey(l.sshPrivate, "")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	identity := write("id", string(pem.EncodeToMemory(block)))
	write("id-cert.pub", string(l.resp.Cert))
	hosts := write("known_hosts", fmt.Sprintf("@cert-authority localhost,dev.example,*.dev.example %s", l.resp.HostSigners[0].CheckingKeys[0]))
	return []string{
		"-F", "none", "-p", f.bridge(l, "node-1:0"), "-i", identity, "-o", "UserKnownHostsFile=" + hosts,
		"-o", "HostKeyAlias=node-1.dev.example", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
		"-o", "GlobalKnownHostsFile=none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
	}
}

// The stock client accepts the host certificate and is accepted with the user's.
func TestOpenSSH(t *testing.T) {
	program := testenv.Program(t, "ssh")
	for _, suite := range []string{suiteBalanced, suiteLegacy} {
		t.Run(suite, func(t *testing.T) {
			f := startCluster(t, func(c *Config) { c.Suite = suite })
			// It knows only the real time.
			f.clock.Advance(time.Since(f.clock.Now()))
			l := f.login(nil)
			options := f.openSSH(l)
			run := func(args ...string) (string, int) {
				cmd := exec.CommandContext(t.Context(), program, append(options, args...)...)
				out, err := cmd.CombinedOutput()
				if ee, ok := err.(*exec.ExitError); ok {
					return string(out), ee.ExitCode()
				} else if err != nil {
					t.Fatal(err)
				}
				return string(out), 0
			}
			if out, status := run("alice@127.0.0.1", "echo hi; exit 7"); status != 7 || out != "hi\n" {
				t.Errorf("command: %d %q", status, out)
			}
			if out, status := run("-tt", "alice@127.0.0.1", "test -t 0 && test -t 2 && echo terminal; exit 8"); status != 8 || !strings.HasPrefix(out, "terminal\r\n") {
				t.Errorf("terminal: %d %q", status, out)
			}
			if out, status := run("bob@127.0.0.1", "true"); status != 255 || !strings.Contains(out, "Permission denied") {
				t.Errorf("other login: %d %q", status, out)
			}
		})
	}
}
