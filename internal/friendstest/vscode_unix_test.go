//go:build unix

package friendstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// remoteSSH is how VS Code Remote-SSH begins: no terminal, a forwarding over SOCKS, a
// shell that gets a script on its input and marks where its output begins.
func remoteSSH(host string) (args []string, script string) {
	return []string{"-T", "-D", "0", "-o", "ConnectTimeout=15", host, "bash"},
		"echo \"a1b2: running\"\nuname -s >/dev/null && echo \"platform==$?==\"\nprintf '%s\\n' \"done\"\nexit 0\n"
}

const remoteSSHSays = "a1b2: running\nplatform==0==\ndone\n"

func TestVSCodeOverOpenSSH(t *testing.T) {
	w := newWorld(t, nil)
	args, script := remoteSSH(w.host("node-1"))
	args[2] = freePort(t)
	program, args := w.openssh("ssh", args...)
	w.want(result{remoteSSHSays, "", 0}, script, program, args...)
}

// The setting remote.SSH.path may name tsh itself, by a link that is called ssh.
func TestVSCodeOverTsh(t *testing.T) {
	testenv.Program(t, "bash")
	w := newWorld(t, nil)
	link := filepath.Join(w.home, "bin", "ssh")
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(w.tsh, link); err != nil {
		t.Fatal(err)
	}
	args, script := remoteSSH(w.me + "@node-1")
	args[2] = freePort(t)
	w.want(result{remoteSSHSays, "", 0}, script, link, args...)
	// It looks at the version first, and wants it on stderr.
	if r := w.run("", link, "-V"); r.status != 0 || !strings.Contains(r.out+r.err, "tsh") {
		t.Errorf("-V: %+v", r)
	}
}
