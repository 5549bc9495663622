//go:build unix

package devcluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// What openssl and the stock ssh make of the files.
func TestSignedFilesForOthers(t *testing.T) {
	f := startCluster(t, withAuthAddr)
	f.clock.Advance(time.Since(f.clock.Now())) // they know only the real time
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, format := range []string{"openssh", "tls"} {
		if _, err := f.SignUser(SignSpec{User: "alice", Format: format, Out: path(format)}); err != nil {
			t.Fatal(err)
		}
	}
	a, err := OpenAdmin(f.state.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	export := func(kind string) string {
		text, err := a.ExportAuthority(kind)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(kind), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path(kind)
	}
	openssl := testenv.Program(t, "openssl")
	command := func(program string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := command(openssl, "verify", "-purpose", "sslclient", "-CAfile", export("tls-user"), path("tls.crt")); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if out, err := command(openssl, "verify", "-CAfile", export("tls-host"), path("tls.crt")); err == nil {
		t.Errorf("a user's certificate is one of a host: %s", out)
	}
	out, err := command(openssl, "s_client", "-connect", f.AuthAddr(), "-cert", path("tls.crt"), "-key", path("tls.key"), "-CAfile", path("tls.cas"),
		"-alpn", "h2", "-servername", clusterSuffix, "-verify_hostname", clusterSuffix, "-verify_return_error")
	if err != nil || !strings.Contains(out, "ALPN protocol: h2") || !strings.Contains(out, "Verify return code: 0 (ok)") {
		t.Errorf("%v %s", err, out)
	}
	l := f.login(nil)
	out, err = command(testenv.Program(t, "ssh"), "-F", "none", "-p", f.bridge(l, "node-1:0"), "-i", path("openssh"),
		"-o", "UserKnownHostsFile="+export("host"), "-o", "HostKeyAlias=node-1.dev.example", "-o", "StrictHostKeyChecking=yes",
		"-o", "BatchMode=yes", "-o", "GlobalKnownHostsFile=none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "alice@127.0.0.1", "echo hi")
	if err != nil || out != "hi\n" {
		t.Errorf("ssh: %v %q", err, out)
	}
	if _, err := a.ExportAuthority("nope"); err == nil || !strings.Contains(err.Error(), `authority "nope" is not one of`) {
		t.Errorf("%v", err)
	}
	if text, err := a.ExportAuthority("user"); err != nil || text != string(f.auths.user.authorizedKey()) {
		t.Errorf("%q, %v", text, err)
	}
}
