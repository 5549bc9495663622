package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient"
)

// runHere runs the command on this machine once the forwards are there: its words
// as they are, without a shell in between. The exit status is the command's.
func (a *app) runHere(ctx context.Context, client *sshclient.Client, f *forwards, o sshOptions) error {
	if err := f.ready(); err != nil {
		return err
	}
	cmd := loginShell()
	if words := o.forward.words; len(words) > 0 {
		cmd = exec.Command(words[0], words[1:]...)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.io.in, a.io.out, a.io.err
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("--local: %w", err)
	}
	// ^C is the command's, which has the terminal; what is meant for this program
	// alone is passed on.
	signal.Ignore(os.Interrupt)
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := client.Wait(over); over.Err() == nil {
			a.failMeanwhile(text.Line(err.Error()) + "; nothing is forwarded any more")
		}
	}()
	err := cmd.Wait()
	end()
	<-watched
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &sshclient.ExitError{Status: localStatus(exit.ProcessState)}
	}
	if err != nil {
		return &begunError{err}
	}
	return nil
}
