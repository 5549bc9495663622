package main

import (
	"context"
	"os"
	"os/exec"
)

const canDetach = false

func (a *app) toBackground(context.Context, *forwardOptions) (bool, error) { return false, nil }

func (o *forwardOptions) detach() {}

// localStatus is what a shell would say of a process that has ended.
func localStatus(p *os.ProcessState) int { return p.ExitCode() }

func loginShell() *exec.Cmd {
	shell := os.Getenv("COMSPEC")
	if shell == "" {
		shell = `C:\Windows\System32\cmd.exe`
	}
	return exec.Command(shell)
}

func detached() bool { return false }
