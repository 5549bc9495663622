//go:build unix

package friendstest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// freePort is a port that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// startSSHD starts OpenSSH's server as a node called name, which trusts the cluster
// as "devcluster nodes add" says.
func (w *world) startSSHD(name string) {
	t := w.t
	t.Helper()
	sshd := testenv.Program(t, "sshd")
	if os.Getuid() == 0 {
		// sshd as root wants an empty directory to lock its unprivileged half into.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			testenv.Missing(t, "sshd as root needs /run/sshd: "+err.Error())
		}
	}
	key := filepath.Join(w.home, name)
	w.must("", testenv.Program(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + freePort(t)
	files, err := w.cluster.AddSSHD(devcluster.SSHDSpec{Hostname: name, Addr: addr, HostKey: string(public), Labels: map[string]string{"os": "openssh"}})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	config := w.file(name+".conf", fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s\nHostCertificate %s\nTrustedUserCAKeys %s\n"+
		"AuthorizedKeysFile none\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPrintMotd no\nPrintLastLog no\n"+
		"Subsystem sftp internal-sftp\nSetEnv HOME=%s\n", port, key,
		w.file(name+"-cert.pub", files.HostCertificate), w.file(name+"-ca.pub", files.UserAuthority), w.home))
	cmd := exec.Command(sshd, "-D", "-e", "-f", config)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", said.String())
		}
	})
	late, again := time.NewTimer(patience), time.NewTicker(10*time.Millisecond)
	defer late.Stop()
	defer again.Stop()
	for {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-late.C:
			t.Fatal("sshd does not listen")
		case <-again.C: // another program is waited for
		}
	}
}

// An OpenSSH server is a node like any other, by ssh and by tsh.
func TestSSHDNode(t *testing.T) {
	w := newWorld(t, nil)
	w.startSSHD("old-1")
	if out := w.must("", w.tsh, "ls", "os=openssh", "--format=names"); out != "old-1\n" {
		t.Errorf("ls: %q", out)
	}
	w.want(result{"hi\n", "", 3}, "", w.tsh, "ssh", w.me+"@old-1", "echo hi; exit 3")
	program, args := w.openssh("ssh", w.host("old-1"), "echo hi; exit 3")
	w.want(result{"hi\n", "", 3}, "", program, args...)

	tree := w.tree("tree")
	up := filepath.Join(w.home, "up")
	w.must("", w.tsh, "scp", "-r", tree, w.me+"@old-1:"+up)
	w.same(tree, up)

	// An account that the certificate does not have is sshd's to refuse.
	if r := w.run("", w.tsh, "ssh", "nobody@old-1", "true"); r.status != 255 || !strings.Contains(r.err, w.me) {
		t.Errorf("another account: %+v", r)
	}
}
