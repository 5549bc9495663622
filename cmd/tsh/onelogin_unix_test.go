//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// crowd is a cluster whose sessions have expired, and processes that all want it.
type crowd struct {
	*devcluster.Cluster
	log loginCounter
	env []string
}

// newCrowd starts a cluster for alice in the profile directory home, and has her log in
// so long ago that it counts no more.
func newCrowd(t *testing.T, home string) *crowd {
	t.Helper()
	c := &crowd{}
	clock := &settableClock{}
	var err error
	c.Cluster, err = devcluster.Start(context.Background(), devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", SecondFactor: "off", Suite: "balanced-v1", Clock: clock.now,
		PasswordCost: 4, Log: &c.log, Name: "dev.example",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: crowdPassword, Roles: []string{"access"}, Logins: []string{"root"}}); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "HOME="+t.TempDir(), "TELEPORT_HOME="+home, "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY="+c.PublicAddr(),
		"TELEPORT_USER=alice", "TERM=xterm", "NO_COLOR=1", "SSH_AUTH_SOCK=", "DISPLAY=", "WAYLAND_DISPLAY=", "BROWSER=")
	login := c.command(t, "login", "--password-stdin")
	login.Stdin = strings.NewReader(crowdPassword + "\n")
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.log.since()
	clock.advance(13 * time.Hour)
	c.env = append(c.env, envTestAhead+"="+clock.ahead().String())
	return c
}

func (c *crowd) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("tsh") // the test binary, which heeds the clock
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = c.env
	return cmd
}

// member is one process of the crowd, on a terminal of its own.
type member struct {
	*screen
	cmd *exec.Cmd
	f   *os.File
}

func (c *crowd) start(t *testing.T, args ...string) *member {
	t.Helper()
	m := &member{cmd: c.command(t, args...)}
	var err error
	if m.f, err = pty.Start(m.cmd); err != nil {
		t.Fatal(err)
	}
	m.screen = watchedScreen(t, m.f)
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		_ = m.f.Close()
	})
	return m
}

// expect waits for words on the terminal.
func (m *member) expect(t *testing.T, words string) {
	t.Helper()
	if !m.waitFor(words) {
		t.Fatalf("%q is missing; the terminal shows:\n%s", words, m.text())
	}
}

func (m *member) keys(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(m.f, keys); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the end of the process and returns what the terminal has shown.
func (m *member) ends(t *testing.T, status int) string {
	t.Helper()
	got := waitStatus(m.cmd)
	<-m.done
	if got != status {
		t.Errorf("exit status %d, want %d; the terminal shows:\n%s", got, status, m.text())
	}
	return m.text()
}

// settled waits until all of the members show one of the words, and returns those that
// show the first.
func settled(t *testing.T, members []*member, first, other string) (with []*member) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		with = nil
		n := 0
		for _, m := range members {
			text := m.text()
			if strings.Contains(text, first) {
				with = append(with, m)
			}
			if strings.Contains(text, first) || strings.Contains(text, other) {
				n++
			}
		}
		if n == len(members) {
			return with
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d processes are settled", n, len(members))
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
}

const (
	asks  = "Password for alice on localhost: "
	waits = "Waiting for process "
)

// case L29: twenty commands at once, each on a terminal of its own, and no session: one
// of them asks, all go on, and the cluster sees one login.
func TestOneLoginForTwenty(t *testing.T) {
	c := newCrowd(t, t.TempDir())
	var all []*member
	for i := range 20 {
		all = append(all, c.start(t, "ssh", "root@node-1", fmt.Sprint("echo this is ", i)))
	}
	asking := settled(t, all, asks, waits)
	if len(asking) != 1 {
		t.Fatalf("%d processes ask", len(asking))
	}
	pid := fmt.Sprintf("%s%d (tsh), which is logging in to localhost:", waits, asking[0].cmd.Process.Pid)
	// Those without a terminal wait, too, as long as somebody else is asking.
	mute := c.command(t, "ls")
	withoutTerminal(mute)
	said, err := mute.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := mute.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len(pid))
	if _, err := io.ReadFull(said, line); err != nil || string(line) != pid {
		t.Errorf("without a terminal: %q, %v", line, err)
	}
	asking[0].keys(t, crowdPassword+"\r")
	for i, m := range all {
		text := m.ends(t, 0)
		if !strings.Contains(text, fmt.Sprint("this is ", i)) {
			t.Errorf("process %d shows:\n%s", i, text)
		}
		if m != asking[0] && (strings.Contains(text, asks) || strings.Count(text, pid) != 1) {
			t.Errorf("process %d does not wait for %q:\n%s", i, pid, text)
		}
		if strings.Contains(text, crowdPassword) {
			t.Error("the password is shown")
		}
	}
	if status := waitStatus(mute); status != 0 {
		t.Errorf("without a terminal: exit status %d", status)
	}
	if n := c.log.since(); n != 1 {
		t.Errorf("the cluster saw %d logins", n)
	}
}

// Whatever ends the one who asks, those who have waited end with it and ask nothing. The
// next command asks again.
func TestWaitersFailWithTheOneWhoAsks(t *testing.T) {
	for _, tc := range []struct {
		name, keys, says string
		status           int
	}{
		{"interrupted", "\x03", "failed: interrupt", 130},
		{"wrong password", "wrong\r", "failed: login on localhost:", 255},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCrowd(t, t.TempDir())
			asker := c.start(t, "ssh", "root@node-1", "true")
			asker.expect(t, asks)
			var waiting []*member
			for range 3 {
				m := c.start(t, "ssh", "root@node-1", "true")
				m.expect(t, waits)
				waiting = append(waiting, m)
			}
			asker.keys(t, tc.keys)
			asker.ends(t, tc.status)
			for _, m := range waiting {
				text := m.ends(t, 255)
				if strings.Contains(text, asks) || !strings.Contains(text, tc.says) || !strings.Contains(text, fmt.Sprint("process ", asker.cmd.Process.Pid)) {
					t.Errorf("%q is missing:\n%s", tc.says, text)
				}
			}
			next := c.start(t, "ls")
			next.expect(t, asks)
			next.keys(t, crowdPassword+"\r")
			next.ends(t, 0)
			if n := c.log.since(); n != 1 {
				t.Errorf("%d logins", n)
			}
		})
	}
}

// case F18: one who asks and dies without a word has asked nobody: the next one does.
func TestAskerIsKilled(t *testing.T) {
	c := newCrowd(t, t.TempDir())
	asker := c.start(t, "ls")
	asker.expect(t, asks)
	var waiting []*member
	for range 3 {
		m := c.start(t, "ls")
		m.expect(t, waits)
		waiting = append(waiting, m)
	}
	if err := asker.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var asking []*member
	deadline := time.Now().Add(20 * time.Second)
	for len(asking) == 0 && time.Now().Before(deadline) {
		asking = settled(t, waiting, asks, waits)
	}
	if len(asking) != 1 {
		t.Fatalf("%d processes ask", len(asking))
	}
	asking[0].keys(t, crowdPassword+"\r")
	prompts := 0
	for _, m := range waiting {
		prompts += strings.Count(m.ends(t, 0), asks)
	}
	if n := c.log.since(); n != 1 || prompts != 1 {
		t.Errorf("%d logins after %d questions", n, prompts)
	}
}

// case F18: one who asks and is stopped is named; waiting ends at once with ^C.
func TestWaitingIsInterrupted(t *testing.T) {
	c := newCrowd(t, t.TempDir())
	asker := c.start(t, "ls")
	asker.expect(t, asks)
	if err := asker.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	m := c.start(t, "ls")
	m.expect(t, fmt.Sprint(waits, asker.cmd.Process.Pid, " (tsh)"))
	m.keys(t, "\x03")
	m.ends(t, 130)
}

// Two proxies have nothing to do with each other.
func TestTwoProxiesAskBoth(t *testing.T) {
	home := t.TempDir()
	one := newCrowd(t, home)
	first := one.start(t, "ls")
	first.expect(t, asks)
	// The other cluster goes by another name, in the same directory.
	two := newCrowd(t, filepath.Join(t.TempDir(), "home"))
	for i, pair := range two.env {
		if strings.HasPrefix(pair, "TELEPORT_HOME=") {
			two.env[i] = "TELEPORT_HOME=" + home
		}
	}
	second := two.start(t, "ls", "--proxy="+two.Addr())
	second.expect(t, "Password for alice on 127.0.0.1: ")
	second.keys(t, "\x03")
	second.ends(t, 130)
	first.keys(t, crowdPassword+"\r")
	if text := first.ends(t, 0); strings.Contains(text, waits) {
		t.Errorf("the terminal shows:\n%s", text)
	}
}

// A second login that was typed waits and finds the work done; --force waits for nobody,
// and those who wait for another go on with what it has made.
func TestSecondLoginWaits(t *testing.T) {
	c := newCrowd(t, t.TempDir())
	first := c.start(t, "login")
	first.expect(t, asks)
	second := c.start(t, "login", "--if-expires-within=30m")
	second.expect(t, "(^C gives up, tsh login --force asks here)")
	forced := c.start(t, "login", "--force")
	forced.expect(t, asks)
	forced.keys(t, crowdPassword+"\r")
	forced.ends(t, 0)
	if text := second.ends(t, 0); strings.Contains(text, asks) || !strings.Contains(text, "Logged in already as alice") {
		t.Errorf("the terminal shows:\n%s", text)
	}
	first.keys(t, crowdPassword+"\r")
	first.ends(t, 0)
	if n := c.log.since(); n != 2 {
		t.Errorf("%d logins", n)
	}
}
