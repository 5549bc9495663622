//go:build unix

package devcluster

import (
	"bufio"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

const ptySupported = true

// childSpec says what to run.
type childSpec struct {
	command string // for the shell; empty is a login shell
	env     []string
	dir     string
	pty     *ptyRequest
}

// child is a running program, the leader of a session of its own.
type child struct {
	stdin          io.WriteCloser
	stdout, stderr io.ReadCloser // stderr is nil on a terminal
	exited         chan struct{} // closed when the program has ended
	terminal       *os.File
	cmd            *exec.Cmd
	status         int
}

func startChild(spec childSpec) (*child, error) {
	shell := loginShell()
	cmd := &exec.Cmd{Path: shell, Args: []string{"-" + filepath.Base(shell)}, Dir: spec.dir, Env: spec.env}
	if spec.command != "" {
		cmd.Args = []string{shell, "-c", spec.command}
	}
	c := &child{cmd: cmd, exited: make(chan struct{})}
	start := c.startPipes
	if spec.pty != nil {
		start = func() error { return c.startTerminal(spec.pty) }
	}
	if err := start(); err != nil {
		return nil, err
	}
	go func() {
		awaitExit(c)
		close(c.exited)
	}()
	return c, nil
}

// startPipes gives the program a pipe for each stream.
func (c *child) startPipes() error {
	var ours, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close()
		}
	}
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(ours, theirs...))
			return err
		}
		if len(ours) == 0 { // the first is its input
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := c.cmd.Start()
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return err
	}
	c.stdin, c.stdout, c.stderr = ours[0], ours[1], ours[2]
	return nil
}

// startTerminal gives the program a terminal of the wanted size.
func (c *child) startTerminal(req *ptyRequest) error {
	ptmx, tty, err := pty.Open()
	if err != nil {
		return err
	}
	defer tty.Close()
	if ptmx, err = pollable(ptmx); err != nil {
		return err
	}
	c.terminal = ptmx
	if err := c.resize(windowChange{req.Cols, req.Rows, req.Width, req.Height}); err != nil {
		_ = ptmx.Close()
		return err
	}
	c.cmd.Env = append(c.cmd.Env, "SSH_TTY="+tty.Name())
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = tty, tty, tty
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := c.cmd.Start(); err != nil {
		_ = ptmx.Close()
		return err
	}
	c.stdin, c.stdout = ptmx, ptmx
	return nil
}

// resize sets the size of the terminal.
func (c *child) resize(w windowChange) error {
	if c.terminal == nil {
		return nil
	}
	clamp := func(v uint32) uint16 { return uint16(min(v, math.MaxUint16)) }
	size := &unix.Winsize{Col: clamp(w.Cols), Row: clamp(w.Rows), Xpixel: clamp(w.Width), Ypixel: clamp(w.Height)}
	raw, err := c.terminal.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	return errors.Join(err, failed)
}

// signal sends the signal of that name (RFC 4254, 6.10) to the program's group.
func (c *child) signal(name string) {
	signals := map[string]syscall.Signal{
		"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP,
		"ILL": syscall.SIGILL, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE,
		"QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1,
		"USR2": syscall.SIGUSR2,
	}
	sig, ok := signals[name]
	select {
	case <-c.exited:
	default:
		if ok && c.cmd != nil {
			_ = syscall.Kill(-c.cmd.Process.Pid, sig)
		}
	}
}

// hangUp tells the program and its group that the terminal is gone.
func (c *child) hangUp() {
	if c.cmd != nil {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGHUP)
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGCONT)
	}
}

// hangUpJobs tells the rest of the session: an interactive shell puts each job
// into a group of its own. To find them takes a while.
func (c *child) hangUpJobs() { c.signalJobs(syscall.SIGHUP) }

// kill ends all that the program started.
func (c *child) kill() {
	if c.cmd != nil {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		c.signalJobs(syscall.SIGKILL)
	}
}

func (c *child) signalJobs(sig syscall.Signal) {
	if c.cmd == nil {
		return
	}
	for _, pid := range sessionMembers(c.cmd.Process.Pid) {
		_ = syscall.Kill(pid, sig)
	}
}

// reap waits for the end of the program and returns its exit status; one that
// a signal ended has 128 and the number of the signal, as in a shell.
func (c *child) reap() int {
	if c.cmd == nil {
		return c.status
	}
	<-c.exited
	_ = c.cmd.Wait()
	state := c.cmd.ProcessState
	if state == nil {
		return statusNotStarted
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}

// release closes our ends of the program's streams, which ends the copying.
func (c *child) release() {
	_ = c.stdin.Close()
	_ = c.stdout.Close()
	if c.stderr != nil {
		_ = c.stderr.Close()
	}
}

// inheritedEnv is what a program gets of the dev cluster's own environment.
func inheritedEnv() []string { return []string{"PATH", "TZ", "TMPDIR", "LANG"} }

// loginShell is the shell of the OS user, of passwd(5) if it is there.
func loginShell() string {
	f, err := os.Open("/etc/passwd")
	if err == nil {
		defer f.Close()
		uid := strconv.Itoa(os.Getuid())
		for sc := bufio.NewScanner(f); sc.Scan(); {
			fields := strings.Split(sc.Text(), ":")
			if len(fields) == 7 && fields[2] == uid && strings.HasPrefix(fields[6], "/") {
				return fields[6]
			}
		}
	}
	return or(os.Getenv("SHELL"), "/bin/sh")
}
