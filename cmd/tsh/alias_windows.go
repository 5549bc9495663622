package main

import (
	"context"
	"os"
	"os/exec"

	"github.com/seed-087d674e/tsh/sshclient"
)

// replaceProcess runs a program and waits for it: here no program can take the place of
// another. Ctrl-C reaches both; that program's end is the end. The error is its status.
func replaceProcess(_ context.Context, path string, words, env []string) error {
	cmd := exec.Command(path)
	cmd.Args, cmd.Env = words, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		return err
	}
	return &sshclient.ExitError{Status: cmd.ProcessState.ExitCode()}
}
