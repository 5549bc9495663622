//go:build unix

package friendstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

func TestSSH(t *testing.T) {
	w := newWorld(t, nil)
	program, args := w.openssh("ssh", w.host("node-1"))
	w.want(result{"hi\n", "", 7}, "", program, append(args, "echo hi; exit 7")...)
	w.want(result{"HELLO\n", "", 0}, "hello\n", program, append(args, "tr a-z A-Z")...)
	big := strings.Repeat("0123456789abcdef", 1<<17)
	w.want(result{big, "", 0}, big, program, append(args, "cat")...)

	r := w.run("", program, "-F", w.config, w.host("node-7"), "true")
	if r.status != 255 || !strings.Contains(r.err, "node-7") || r.out != "" {
		t.Errorf("a node that is not there: %+v", r)
	}
	r = w.run("", program, "-F", w.config, "-l", "nobody-here", w.host("node-1"), "true")
	if r.status != 255 || !strings.Contains(r.err, "Permission denied") {
		t.Errorf("an account that is not allowed: %+v", r)
	}
}

func TestSCPAndSFTP(t *testing.T) {
	w := newWorld(t, nil)
	tree := w.tree("tree")
	node := w.host("node-1") + ":"
	for _, protocol := range []string{"-s", "-O"} { // SFTP, and the old one
		up, down := filepath.Join(w.home, "up"+protocol), filepath.Join(w.home, "down"+protocol)
		w.mustOpenSSH("", "scp", protocol, "-r", "-p", tree, node+up)
		w.same(tree, up)
		w.mustOpenSSH("", "scp", protocol, "-r", node+up, down)
		w.same(tree, down)
	}
	batch := w.file("batch", "put '"+filepath.Join(tree, "big")+"' big-1\nrename big-1 big-2\nget big-2 '"+filepath.Join(w.home, "big-3")+"'\nls -l\nrm big-2\n")
	remote := filepath.Join(w.home, "remote")
	if err := os.Mkdir(remote, 0o700); err != nil {
		t.Fatal(err)
	}
	w.mustOpenSSH("", "sftp", "-b", batch, node+remote)
	w.same(filepath.Join(tree, "big"), filepath.Join(w.home, "big-3"))
}

func TestRsync(t *testing.T) {
	w := newWorld(t, nil)
	rsync, ssh := testenv.Program(t, "rsync"), testenv.Program(t, "ssh")
	tree := w.tree("tree")
	for name, tc := range map[string]struct{ shell, host string }{
		"openssh": {ssh + " -F " + w.config, w.host("node-1")},
		"tsh":     {w.tsh + " ssh", w.me + "@node-1"},
	} {
		t.Run(name, func(t *testing.T) {
			up, down := filepath.Join(w.home, name+"-up"), filepath.Join(w.home, name+"-down")
			w.must("", rsync, "-a", "-e", tc.shell, tree+"/", tc.host+":"+up)
			w.same(tree, up)
			w.must("", rsync, "-az", "--checksum", "-e", tc.shell, tc.host+":"+up+"/", down)
			w.same(tree, down)
		})
	}
}

func TestGit(t *testing.T) {
	w := newWorld(t, nil)
	git, ssh := testenv.Program(t, "git"), testenv.Program(t, "ssh")
	tree := w.tree("repo")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "."},
		{"-c", "user.name=alice", "-c", "user.email=alice@dev.example", "commit", "-q", "-m", "all of it"},
	} {
		w.must("", git, append([]string{"-C", tree}, args...)...)
	}
	for name, tc := range map[string]struct{ command, url string }{
		"openssh":       {ssh + " -F " + w.config, "ssh://" + w.host("node-1") + tree},
		"openssh short": {ssh + " -F " + w.config, w.host("node-1") + ":" + tree},
		"tsh":           {w.tsh + " ssh", w.me + "@node-1:" + tree},
	} {
		t.Run(name, func(t *testing.T) {
			clone := filepath.Join(t.TempDir(), "clone")
			config := []string{"-c", "core.sshCommand=" + tc.command, "-c", "ssh.variant=ssh"}
			w.must("", git, append(config, "clone", "-q", tc.url, clone)...)
			if err := os.RemoveAll(filepath.Join(clone, ".git", "hooks")); err != nil {
				t.Fatal(err)
			}
			if r := w.run("", git, "-C", clone, "status", "--porcelain"); r.out != "" || r.status != 0 {
				t.Errorf("%+v", r)
			}
			w.must("", git, append(config, "-C", clone, "push", "-q", "origin", "HEAD:refs/heads/from-"+strings.ReplaceAll(name, " ", "-"))...)
		})
	}
}

// One connection of OpenSSH serves several commands (ControlMaster).
func TestControlMaster(t *testing.T) {
	w := newWorld(t, nil)
	socket := filepath.Join(w.home, "mux")
	host := w.host("node-1")
	program, args := w.openssh("ssh", "-M", "-S", socket, "-N", host)
	master := exec.CommandContext(t.Context(), program, args...)
	master.Env = w.env
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- master.Wait() }()
	late, again := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer late.Stop()
	defer again.Stop()
	check, args := w.openssh("ssh", "-S", socket, "-O", "check", host)
	for w.run("", check, args...).status != 0 {
		select {
		case err := <-ended:
			t.Fatalf("the master ended: %v", err)
		case <-late.C:
			t.Fatal("the master is not ready")
		case <-again.C: // another program is waited for
		}
	}
	before := w.cluster.Transports()
	for range 3 {
		if out := w.mustOpenSSH("", "ssh", "-S", socket, host, "echo hi"); out != "hi\n" {
			t.Errorf("%q", out)
		}
	}
	if n := w.cluster.Transports() - before; n != 0 {
		t.Errorf("%d more connections to nodes", n)
	}
	w.mustOpenSSH("", "ssh", "-S", socket, "-O", "exit", host)
	<-ended
}
