package devcluster

import (
	"io"
	"os"
	"os/exec"
	"syscall"
)

const ptySupported = false

// childSpec says what to run.
type childSpec struct {
	command string // for the shell; empty is a shell
	env     []string
	dir     string
	pty     *ptyRequest
}

// child is a running program.
type child struct {
	stdin          io.WriteCloser
	stdout, stderr io.ReadCloser
	exited         chan struct{} // closed when the program has ended
	cmd            *exec.Cmd
	status         int
}

func startChild(spec childSpec) (*child, error) {
	shell := loginShell()
	cmd := exec.Command(shell)
	cmd.Dir, cmd.Env = spec.dir, spec.env
	if spec.command != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: syscall.EscapeArg(shell) + " /s /c \"" + spec.command + "\""}
	}
	c := &child{cmd: cmd, exited: make(chan struct{})}
	stdin, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, stdout, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errR, stderr, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	c.stdin, c.stdout, c.stderr = inW, outR, errR
	err = cmd.Start()
	for _, f := range []*os.File{stdin, stdout, stderr} {
		_ = f.Close()
	}
	if err != nil {
		c.release()
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

func (c *child) resize(windowChange) error { return nil }

func (c *child) signal(name string) {
	if name == "KILL" || name == "TERM" || name == "INT" || name == "HUP" {
		c.kill()
	}
}

func (c *child) hangUp() {}

func (c *child) hangUpJobs() {}

func (c *child) kill() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill()
	}
}

func (c *child) reap() int {
	<-c.exited
	if c.cmd == nil {
		return c.status
	}
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) release() {
	_ = c.stdin.Close()
	_ = c.stdout.Close()
	_ = c.stderr.Close()
}

// inheritedEnv is what a program gets of the dev cluster's own environment;
// most on Windows do not start without these.
func inheritedEnv() []string {
	return []string{
		"PATH", "SystemRoot", "SystemDrive", "ComSpec", "PATHEXT", "TEMP", "TMP", "windir", "USERPROFILE",
		"APPDATA", "LOCALAPPDATA", "ProgramData", "ProgramFiles",
	}
}

func loginShell() string { return or(os.Getenv("ComSpec"), "cmd.exe") }
