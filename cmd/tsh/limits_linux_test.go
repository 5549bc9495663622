package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// scarcity is a machine that has too little of something.
type scarcity struct {
	name   string
	ulimit string // for the shell that becomes tsh
	nobody bool   // not root, who has no limit on processes
	chroot bool   // nothing but tsh, the authority's file, a home and /etc/hosts
	env    []string
	works  bool // every command does, all the same
	// dies is set where Go itself cannot start, before any line of ours: what its runtime
	// says then.
	dies string
}

// case P07: with little memory, few files, few processes, one processor, without /proc and
// without /etc/resolv.conf, commands work or end with one clear error; what was stored
// before is as it was.
func TestScarceResources(t *testing.T) {
	testenv.SecondRing(t)
	c := startFarCluster(t, "off")
	c.net.SetDelay(0)
	for _, s := range []scarcity{
		{name: "files 64", ulimit: "-n 64", works: true}, {name: "files 32", ulimit: "-n 32", works: true}, {name: "files 20", ulimit: "-n 20"},
		{name: "files 16", ulimit: "-n 16"}, {name: "files 12", ulimit: "-n 12"}, {name: "files 8", ulimit: "-n 8"}, {name: "files 6", ulimit: "-n 6"}, {name: "files 4", ulimit: "-n 4"},
		{name: "files of no size", ulimit: "-f 0"},
		{name: "address space 2 GiB", ulimit: "-v 2097152", works: true},
		{name: "address space 0.5 GiB", ulimit: "-v 524288", dies: "fatal error: failed to reserve page summary memory"},
		{name: "stack 64 KiB", ulimit: "-s 64", works: true},
		{name: "processes 64", ulimit: "-u 64", nobody: true, works: true},
		{name: "processes 3", ulimit: "-u 3", nobody: true, dies: "runtime: may need to increase max user processes (ulimit -u)"},
		{name: "one processor", env: []string{"GOMAXPROCS=1"}, works: true},
		{name: "a small heap", env: []string{"GOMEMLIMIT=16MiB", "GOGC=10"}, works: true},
		{name: "no proc, no resolv.conf", chroot: true, works: true},
	} {
		t.Run(s.name, func(t *testing.T) {
			if (s.nobody || s.chroot) && os.Geteuid() != 0 {
				t.Skip("only root can be nobody, or change the root")
			}
			m := s.machine(t, c)
			for _, args := range [][]string{
				{"version"}, {"status"}, {"login", "--proxy=" + c.PublicAddr(), "--user=alice", "--password-stdin"},
				{"status"}, {"ls"}, {"ssh", "root@node-1", "true"}, {"logout"},
			} {
				m.run(t, s, args)
			}
		})
	}
}

// machine is where the commands of one scarcity run.
type machine struct {
	program, home, root string
	env                 []string
	stored              bool // a login has succeeded
}

func (s scarcity) machine(t *testing.T, c *farCluster) *machine {
	t.Helper()
	// A directory that nobody can reach, with a program that nobody can run.
	base, err := os.MkdirTemp("", "tsh-scarce-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	m := &machine{program: filepath.Join(base, "tsh"), home: filepath.Join(base, "home"), env: c.env}
	copyFile(t, releasedTsh(t), m.program, 0o755)
	copyFile(t, c.CAFile(), filepath.Join(base, "ca.pem"), 0o644)
	if err := os.Mkdir(m.home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if s.nobody {
		if err := os.Chown(m.home, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	inside := base
	if s.chroot {
		m.root, m.program, inside = base, "/tsh", "/"
		testenv.Write(t, filepath.Join(base, "etc", "hosts"), "127.0.0.1 localhost\n")
	}
	m.env = append(c.env[:len(c.env):len(c.env)], "HOME="+filepath.Join(inside, "home"), "TELEPORT_HOME="+filepath.Join(inside, "home", "state"),
		"SSL_CERT_FILE="+filepath.Join(inside, "ca.pem"))
	m.env = append(m.env, s.env...)
	return m
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, mode)
	if err == nil {
		_, err = io.Copy(out, in)
		err = firstOf(err, out.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) command(s scarcity, args []string) *exec.Cmd {
	cmd := exec.Command(m.program, args...)
	if s.ulimit != "" {
		cmd = exec.Command("/bin/bash", append([]string{"-c", `ulimit ` + s.ulimit + ` && exec "$0" "$@"`, m.program}, args...)...)
	}
	cmd.Env, cmd.Dir, cmd.Stdin = m.env, "/", strings.NewReader(farPassword+"\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: m.root}
	if s.nobody {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	return cmd
}

// run runs a command where there is too little, and asks afterwards, where there is enough,
// what is stored.
func (m *machine) run(t *testing.T, s scarcity, args []string) {
	t.Helper()
	out, err := m.command(s, args).CombinedOutput()
	text := string(out)
	noSecretIn(t, text)
	if err == nil {
		switch args[0] {
		case "login":
			m.stored = true
		case "logout":
			m.stored = false
		}
	}
	crashed := strings.Contains(text, "panic:") || strings.Contains(text, "goroutine ") || strings.Contains(text, "fatal error:") || strings.Contains(text, "runtime: ")
	switch {
	case s.dies != "":
		if err == nil || !strings.Contains(text, s.dies) {
			t.Errorf("tsh %s: Go has started: %v\n%s", args[0], err, text)
		}
	case args[0] == "login" && s.works && err != nil, crashed:
		t.Errorf("tsh %s: %v\n%s", args[0], err, text)
	case err != nil && (s.works && m.stored || !strings.Contains(text, "ERROR: ")):
		t.Errorf("tsh %s ended with %v, and says\n%s", args[0], err, text)
	}
	enough := s
	enough.ulimit, enough.env, enough.dies = "", nil, ""
	after, err := m.command(enough, []string{"status"}).CombinedOutput()
	if loggedIn := err == nil; loggedIn != m.stored && !(err != nil && strings.Contains(string(after), "Not logged in") && !m.stored) {
		t.Errorf("after tsh %s, which ended with\n%s\nthe state is: %v\n%s", args[0], text, err, after)
	}
}
