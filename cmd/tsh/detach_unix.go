//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/seed-087d674e/tsh/sshclient"
)

const (
	canDetach = true
	// envDetached tells a process that another one waits for it to be ready, and has
	// the number of a file in which to say so.
	envDetached = "TSH_DETACHED"
	// detachedFile is the first that exec.Cmd hands down beside the standard ones.
	detachedFile = 3
)

// toBackground is -f: all of the work is a second process's, because one with
// threads cannot divide. It asks what there is to ask on the terminal, which it
// leaves when it is ready; then this one is done. If it fails before, its exit
// status is ours. done is false in that second process, and without -f.
func (a *app) toBackground(ctx context.Context, o *forwardOptions) (done bool, err error) {
	if !o.background {
		return false, nil
	}
	if os.Getenv(envDetached) != "" {
		syscall.CloseOnExec(detachedFile) // a browser that is opened must not hold it
		return false, nil
	}
	program, err := os.Executable()
	if err != nil {
		return true, err
	}
	ready, tell, err := os.Pipe()
	if err != nil {
		return true, err
	}
	defer ready.Close()
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), envDetached+"="+strconv.Itoa(detachedFile))
	cmd.Stdout, cmd.Stderr = a.io.out, a.io.err
	cmd.ExtraFiles = []*os.File{tell}
	err = cmd.Start()
	tell.Close()
	if err != nil {
		return true, fmt.Errorf("-f: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if n, _ := ready.Read(make([]byte, 1)); n == 1 {
		return true, nil
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = &sshclient.ExitError{Status: localStatus(exit.ProcessState)}
	}
	return true, err
}

// detach leaves the terminal and says that the work has begun, if anybody waits
// for that.
func (o *forwardOptions) detach() {
	if !o.background {
		return
	}
	fd, err := strconv.Atoi(os.Getenv(envDetached))
	if err != nil || fd != detachedFile {
		return
	}
	_ = os.Unsetenv(envDetached)
	_, _ = syscall.Setsid() // fails for a process that has no terminal to leave
	tell := os.NewFile(uintptr(fd), "ready")
	_, _ = tell.Write([]byte{1}) // fails if the one who waits has been ended
	_ = tell.Close()
}

// localStatus is what a shell would say of a process that has ended.
func localStatus(p *os.ProcessState) int {
	if status, ok := p.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return p.ExitCode()
}

// loginShell is the person's shell, which by the dash knows that it is a login.
func loginShell() *exec.Cmd {
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	cmd := exec.Command(shell)
	cmd.Args[0] = "-" + filepath.Base(shell)
	return cmd
}

// detached reports whether this is the second process of -f.
func detached() bool { return os.Getenv(envDetached) != "" }
