//go:build unix

package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// everyCommand is the commands that do something; login is what stores one.
func everyCommand(proxy string) [][]string {
	return [][]string{
		{"login", "--force", "--proxy=" + proxy, "--user=alice", "--password-stdin"},
		{"status"}, {"ls"}, {"ls", "-R"}, {"clusters"}, {"resolve", "node-1"}, {"sessions", "ls"}, {"request", "ls"}, {"mfa", "ls"},
		{"profiles"}, {"env"}, {"doctor"}, {"version"}, {"config"}, {"config", "--refresh"}, {"completion", "bash"}, {"headless"},
		{"ssh", "root@node-1", "echo out; sleep 0.2"}, {"proxy", "ssh", "root@node-1:22"}, {"scp", "FILE", "root@node-1:FILE.copy"},
		{"use", "localhost"}, {"logout"},
	}
}

// signalled is the cluster and the login that commands are interrupted with.
type signalled struct {
	*farCluster
	dir string
}

func (s *signalled) command(t *testing.T, args []string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	args = slices.Clone(args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "FILE", filepath.Join(s.dir, "file"))
	}
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd = exec.Command(releasedTsh(t), args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.env, strings.NewReader(farPassword+"\n"), stdout, stderr
	withoutTerminal(cmd)
	return cmd, stdout, stderr
}

// loggedIn makes sure that there is a login, and that what is stored is whole.
func (s *signalled) loggedIn(t *testing.T, after string) {
	t.Helper()
	cmd, out, errs := s.command(t, []string{"status"})
	if err := cmd.Run(); err == nil {
		return
	} else if !strings.Contains(errs.String(), "Not logged in") {
		t.Errorf("after %s the state is neither old nor new: %v\n%s%s", after, err, out, errs)
	}
	s.loginFromStdin(t)
}

// case P08: whatever a command is about, a signal ends it with 128 and its number, without
// a word of the runtime's, and what is stored is as before or as after.
func TestSignalsAtAnyTime(t *testing.T) {
	testenv.SecondRing(t)
	t.Parallel()
	s := startSignalled(t)
	for _, args := range everyCommand(s.PublicAddr()) {
		name := "tsh " + strings.Join(args[:min(2, len(args))], " ")
		s.loggedIn(t, "the beginning")
		cmd, _, errs := s.command(t, args)
		start := time.Now()
		usual := runStatus(t, cmd)
		long := time.Since(start)
		if strings.Contains(errs.String(), "panic") {
			t.Fatalf("%s: %s", name, errs)
		}
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			for part := range 2 {
				cmd, out, errs := s.command(t, args)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				// Any moment will do: this only spreads them over the command's time.
				at := time.Duration((float64(part) + rand.Float64()) / 2 * float64(long))
				timer := time.AfterFunc(at, func() { _ = cmd.Process.Signal(signal) })
				_ = cmd.Wait()
				timer.Stop()
				status := statusOf(cmd)
				if status != usual && status != 128+int(signal) {
					t.Errorf("%s, %v after %v of %v: exit status %d, want %d or %d\n%s%s", name, signal, at, long, status, 128+int(signal), usual, out, errs)
				}
				if said := out.String() + errs.String(); strings.Contains(said, "goroutine ") || strings.Contains(said, "panic") {
					t.Errorf("%s, %v: %s", name, signal, said)
				}
				noSecretIn(t, out.String()+errs.String())
				s.loggedIn(t, name+", interrupted by "+signal.String())
			}
		}
	}
}

// case P08: who reads no further hears nothing of it, and gets no other text on stderr.
func TestNobodyReads(t *testing.T) {
	testenv.SecondRing(t)
	t.Parallel()
	s := startSignalled(t)
	for _, args := range everyCommand(s.PublicAddr()) {
		for _, json := range []bool{false, true} {
			if json {
				args = append(slices.Clone(args[:1:1]), append([]string{"--json"}, args[1:]...)...)
			}
			s.loggedIn(t, "the last one")
			usual, printing, usually := s.command(t, args)
			_ = runStatus(t, usual)
			s.loggedIn(t, "the last one")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			cmd, _, errs := s.command(t, args)
			cmd.Stdout = w
			status := runStatus(t, cmd)
			_ = w.Close()
			// What was not printed was not done.
			if printed := printing.Len() > 0; printed == (status == 0) && !(status != 0 && statusOf(usual) == status) {
				t.Errorf("tsh %q, which prints %d bytes: exit status %d", args, printing.Len(), status)
			}
			if said := errs.String(); strings.Contains(said, "broken pipe") || strings.Contains(said, "goroutine") || len(said) > len(usually.String())+40 {
				t.Errorf("tsh %q, status %d:\n%s\nusually\n%s", args, status, said, usually)
			}
		}
	}
}

func startSignalled(t *testing.T) *signalled {
	t.Helper()
	c := startFarCluster(t, "off")
	c.net.SetDelay(2 * time.Millisecond)
	s := &signalled{c, t.TempDir()}
	testenv.Write(t, filepath.Join(s.dir, "file"), strings.Repeat("0123456789abcdef", 1<<14))
	return s
}

// runStatus is the exit status of a whole run.
func runStatus(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	_ = cmd.Wait()
	return statusOf(cmd)
}

// statusOf is the status as a shell has it.
func statusOf(cmd *exec.Cmd) int {
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return cmd.ProcessState.ExitCode()
}
