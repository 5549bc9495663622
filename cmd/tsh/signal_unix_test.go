//go:build unix

package main

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// withoutTerminal starts cmd in a session that has no terminal.
func withoutTerminal(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// case N05, case P08: a program that waits for a password on standard input ends at
// the first signal.
func TestSignalWhileWaitingForStdin(t *testing.T) {
	c := startFarCluster(t, "off")
	c.net.SetDelay(0)
	cmd := exec.Command(releasedTsh(t), "login", "--proxy="+c.PublicAddr(), "--user=alice", "--password-stdin")
	cmd.Env = c.env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.Contains(line, "First login") {
		t.Errorf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := waitStatus(cmd); status != 128+15 {
		t.Errorf("exit status %d", status)
	}
}

// terminalState is what matters of a terminal's state.
func terminalState(t *testing.T, fd uintptr) (echo, canonical, signals, output bool) {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(fd), ioctlGetTermios)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0, state.Lflag&unix.ICANON != 0, state.Lflag&unix.ISIG != 0, state.Oflag&unix.OPOST != 0
}

// loginFromStdin logs in to a cluster without second factor.
func (c *farCluster) loginFromStdin(t *testing.T) {
	t.Helper()
	cmd := exec.Command(releasedTsh(t), "login", "--proxy="+c.PublicAddr(), "--user=alice", "--password-stdin")
	cmd.Env, cmd.Stdin = c.env, strings.NewReader(farPassword+"\n")
	out, err := cmd.CombinedOutput()
	noSecretIn(t, string(out))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A change of the window here reaches the program there.
func TestWindowChange(t *testing.T) {
	c := startFarCluster(t, "off")
	c.net.SetDelay(0)
	c.loginFromStdin(t)
	cmd := exec.Command(releasedTsh(t), "ssh", "-t", "root@node-1", "trap 'stty size; exit 0' WINCH; stty size; echo ready; while :; do sleep 0.05; done")
	cmd.Env = c.env
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	screen := watchedScreen(t, f)
	if !screen.waitFor("24 80") || !screen.waitFor("ready") {
		t.Fatalf("the terminal shows:\n%s", screen.text())
	}
	if err := pty.Setsize(f, &pty.Winsize{Rows: 30, Cols: 90}); err != nil {
		t.Fatal(err)
	}
	if !screen.waitFor("30 90") {
		t.Errorf("the terminal shows:\n%s", screen.text())
	}
	if status := waitStatus(cmd); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// case L22, case S24: whatever ends a question or a session, the terminal is as
// before.
func TestTerminalIsRestored(t *testing.T) {
	c := startFarCluster(t, "off")
	c.net.SetDelay(0)
	c.loginFromStdin(t)
	for _, tc := range []struct {
		name   string
		args   []string
		waits  string // for this on the terminal
		keys   string // then this is typed
		kill   []syscall.Signal
		status int
	}{
		{name: "^C at the prompt", args: []string{"login", "--force"}, waits: "Password", keys: "half a pass\x03", status: 130},
		{name: "^\\ at the prompt", args: []string{"login", "--force"}, waits: "Password", keys: "half a pass\x1c", status: 131},
		{name: "terminated at the prompt", args: []string{"login", "--force"}, waits: "Password", kill: []syscall.Signal{syscall.SIGTERM}, status: 143},
		{name: "hung up in a shell", args: []string{"ssh", "-t", "root@node-1", "echo ready; exec cat"}, waits: "ready", kill: []syscall.Signal{syscall.SIGHUP}, status: 129},
		{name: "two signals in a shell", args: []string{"ssh", "-t", "root@node-1", "echo ready; exec cat"}, waits: "ready", kill: []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, status: 143},
		{name: "escaped from a shell", args: []string{"ssh", "-t", "root@node-1", "echo ready; exec cat"}, waits: "ready", keys: "\r~.", status: 255},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.Command(releasedTsh(t), tc.args...)
			cmd.Env = c.env
			f, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			defer tty.Close()
			cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			screen := watchedScreen(t, f)
			if !screen.waitFor(tc.waits) {
				t.Fatalf("the terminal shows:\n%s", screen.text())
			}
			if _, err := io.WriteString(f, tc.keys); err != nil {
				t.Fatal(err)
			}
			for _, s := range tc.kill {
				_ = cmd.Process.Signal(s)
			}
			if status := waitStatus(cmd); status != tc.status {
				t.Errorf("exit status %d, want %d; the terminal shows:\n%s", status, tc.status, screen.text())
			}
			if echo, canonical, signals, output := terminalState(t, tty.Fd()); !echo || !canonical || !signals || !output {
				t.Errorf("echo %t, canonical %t, signals %t, output %t", echo, canonical, signals, output)
			}
			if strings.Contains(screen.text(), "half") || strings.Contains(screen.text(), "goroutine") {
				t.Errorf("the terminal shows:\n%s", screen.text())
			}
		})
	}
}
