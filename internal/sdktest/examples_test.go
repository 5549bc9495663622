package sdktest

import (
	"os"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// What a person's login is good for in a program: who they are, and a command on a server.
func TestLoginInPrograms(t *testing.T) {
	w := newWorld(t)
	w.login()
	if out := w.must("", "whoami"); !strings.HasPrefix(out, "alice until ") || !strings.Contains(out, "cluster "+w.cluster.Name()) {
		t.Errorf("whoami: %s", out)
	}
	if out := w.must("", "sshcommand", "root@node-1", "echo it works; exit 0"); out != "it works\n" {
		t.Errorf("sshcommand: %q", out)
	}
	if out := w.must("", "loaders"); !strings.HasPrefix(out, "alice [access] until ") {
		t.Errorf("loaders: %s", out)
	}
}

// Without a login each program says what to run.
func TestNoLoginInPrograms(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{"whoami"}, {"sshcommand", "root@node-1", "true"}, {"loaders"}} {
		out, problems, err := w.run("", args[0], args[1:]...)
		if err == nil || !strings.Contains(problems, "tsh login") {
			t.Errorf("%v: %v\n%s%s", args, err, out, problems)
		}
	}
}

// Each way to load what a machine is given instead of a login.
func TestLoadersProgram(t *testing.T) {
	w := newWorld(t)
	w.sign("alice", "file", "alice.id")
	w.sign("alice", "tls", "alice")
	content, err := os.ReadFile(w.path("alice.id"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		input string
		args  []string
	}{
		"file":    {"", []string{"--identity", "alice.id"}},
		"string":  {string(content), []string{"--identity", "-"}},
		"rotated": {"", []string{"--rotated", "alice.id"}},
		"tls":     {"", []string{"--cert", "alice.crt", "--key", "alice.key", "--ca", "alice.cas"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := w.must(tt.input, "loaders", append([]string{"--proxy", w.cluster.PublicAddr()}, tt.args...)...)
			if !strings.HasPrefix(out, "alice [access] until ") {
				t.Errorf("%s", out)
			}
		})
	}
}

// Each way to connect, with an address that is right for one way alone.
func TestConnectProgram(t *testing.T) {
	w := newWorld(t)
	w.sign("alice", "file", "alice.id")
	for name, addr := range map[string]string{"auth": w.cluster.AuthAddr(), "proxy": w.cluster.PublicAddr(), "tunnel": w.cluster.TunnelAddr()} {
		t.Run(name, func(t *testing.T) {
			if out := w.must("", "connect", "alice.id", addr); !strings.Contains(out, "cluster "+w.cluster.Name()) {
				t.Errorf("%s", out)
			}
		})
	}
	_, problems, err := w.run("", "connect", "alice.id", "127.0.0.1:1")
	if err == nil || !strings.Contains(problems, "127.0.0.1:1 as ") || !strings.Contains(problems, "auth server") || !strings.Contains(problems, "SSH tunnel") {
		t.Errorf("%v\n%s", err, problems)
	}
}

// The role of the example lets its program do its job, and no more.
func TestLeastPrivilege(t *testing.T) {
	w := newWorld(t)
	role, err := os.ReadFile("../../examples/inventory/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.cluster.CreateRoles(role, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.cluster.AddUser(devcluster.UserSpec{Name: "inventory", Password: alicePassword, Roles: []string{"inventory"}}); err != nil {
		t.Fatal(err)
	}
	w.sign("inventory", "file", "inventory.id")
	if out := w.must("", "inventory", w.cluster.PublicAddr(), "inventory.id"); out != "node-1\nother roles: access denied\n" {
		t.Errorf("%s", out)
	}
}
