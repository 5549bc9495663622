//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// case S24: what kills the program in raw mode leaves the terminal as it was: SIGKILL, of
// the whole group too, and what a crash looks like to the system.
func TestTerminalIsRestoredFromOutside(t *testing.T) {
	c := startFarCluster(t, "off")
	c.net.SetDelay(0)
	c.loginFromStdin(t)
	for _, tc := range []struct {
		name   string
		signal syscall.Signal
		group  bool
	}{
		{"killed", syscall.SIGKILL, false},
		{"killed with its group", syscall.SIGKILL, true},
		{"aborted, as by a panic", syscall.SIGABRT, false},
		{"crashed", syscall.SIGSEGV, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.Command(releasedTsh(t), "ssh", "-t", "root@node-1", "echo ready; exec cat")
			cmd.Env = c.env
			f, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			screen := watchedScreen(t, f)
			if !screen.waitFor("ready") {
				t.Fatalf("the terminal shows:\n%s", screen.text())
			}
			// The watcher is there when it has asked for the terminal's state.
			if _, err := io.WriteString(f, "\r~#"); err != nil || !screen.waitFor("connections: 0") {
				t.Fatalf("%v; the terminal shows:\n%s", err, screen.text())
			}
			if _, canonical, _, _ := terminalState(t, tty.Fd()); canonical {
				t.Error("the terminal is not in raw mode")
			}
			awaitChild(t, cmd.Process.Pid)
			pid := cmd.Process.Pid
			if tc.group {
				pid = -pid
			}
			if err := syscall.Kill(pid, tc.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			_ = tty.Close()
			<-screen.done // the watcher, the last one who has the terminal, is gone
			if echo, canonical, signals, output := terminalState(t, f.Fd()); !echo || !canonical || !signals || !output {
				t.Errorf("echo %t, canonical %t, signals %t, output %t", echo, canonical, signals, output)
			}
		})
	}
}

// A watcher leaves alone what somebody else has set since, and goes with a word.
func TestWatcherLeavesOthersAlone(t *testing.T) {
	for name, word := range map[string]string{"changed": "", "dismissed": "\x00"} {
		t.Run(name, func(t *testing.T) {
			f, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			defer tty.Close()
			states := ttyStates{before: *ttyState(tty), raw: *ttyState(tty)}
			states.before.Lflag ^= syscall.ECHO // would show
			if word == "" {
				states.raw.Lflag ^= syscall.ISIG // not how it is now
			}
			cmd := exec.Command(releasedTsh(t), watchWord)
			cmd.Stdin = strings.NewReader(string(states.bytes()) + word)
			cmd.ExtraFiles = []*os.File{tty}
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%v: %s", err, out)
			}
			if echo, _, _, _ := terminalState(t, tty.Fd()); !echo {
				t.Error("the terminal was changed")
			}
		})
	}
}

// A link called ssh is tsh ssh, whatever the link is called for it is tsh. Editors see
// the exit codes and streams of OpenSSH.
func TestCalledAsSSH(t *testing.T) {
	c := startFarCluster(t, "off")
	c.net.SetDelay(0)
	c.loginFromStdin(t)
	link := filepath.Join(t.TempDir(), "ssh")
	if err := os.Symlink(releasedTsh(t), link); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args, stdin, stdout string
		status              int
	}{
		{"-T -D 58597 -o ConnectTimeout=15 root@node-1 sh", "echo hello; exit 7", "hello\n", 7},
		{"root@node-1 echo hello", "", "hello\n", 0},
		{"root@nowhere true", "", "", 255},
		{"-Q cipher", "", "", 255},
		{"", "", "", 255},
	} {
		cmd := exec.Command(link, strings.Fields(tc.args)...)
		cmd.Env, cmd.Stdin = c.env, strings.NewReader(tc.stdin)
		out, err := cmd.Output()
		if cmd.ProcessState.ExitCode() != tc.status || string(out) != tc.stdout {
			t.Errorf("ssh %s: %q, %v", tc.args, out, err)
		}
	}
}

// A link called scp is tsh scp: OpenSSH's flags, as far as they are the same.
func TestCalledAsSCP(t *testing.T) {
	c := startFarCluster(t, "off")
	c.net.SetDelay(0)
	c.loginFromStdin(t)
	dir := t.TempDir()
	link, from, to := filepath.Join(dir, "scp"), filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.Symlink(releasedTsh(t), link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(from, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args   []string
		status int
	}{
		{[]string{"-rpq", from, "root@node-1:" + to}, 0},
		{[]string{"root@nowhere:x", dir}, 255},
		{nil, 1},
	} {
		cmd := exec.Command(link, tc.args...)
		cmd.Env = c.env
		out, _ := cmd.Output()
		if cmd.ProcessState.ExitCode() != tc.status || len(out) > 0 {
			t.Errorf("scp %q: %v, %q", tc.args, cmd.ProcessState, out)
		}
	}
	if got, err := os.ReadFile(to); string(got) != "words" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCommandLine(t *testing.T) {
	for in, want := range map[string]string{
		"tsh ssh a":          "ssh a",
		"/usr/bin/tsh login": "login",
		"ssh a b":            "ssh a b",
		"/home/a/bin/scp a:": "scp a:",
		"./sshd x":           "x",
		"":                   "",
	} {
		if got := strings.Join(commandLine(strings.Fields(in)), " "); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
