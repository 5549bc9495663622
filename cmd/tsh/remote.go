package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient"
)

// runRemote runs the command or the shell on a node that has let us in.
func (a *app) runRemote(ctx context.Context, client *sshclient.Client, s *session, o sshOptions) error {
	command := sshclient.Command{
		Args:   o.command,
		Stdin:  a.io.in,
		Stdout: a.io.out,
		Stderr: a.io.err,
		Env:    sessionEnv(s.profile.WebProxyAddr),
		Before: o.before,
	}
	begun := false
	command.Started = func() {
		begun = true
		o.forward.detach()
	}
	var terminal *rawTerminal
	if a.wantsPTY(o) {
		terminal = newRawTerminal(a.io)
		defer terminal.leave()
		command.PTY = &sshclient.PTY{Term: os.Getenv("TERM"), Size: terminal.size(), Resize: terminal.resizes()}
		if a.globals.escapes {
			command.EscapeChar = '~'
		}
		command.Started = func() {
			begun = true
			terminal.enter(a.guard)
		}
	}
	err := client.Run(ctx, command)
	if terminal != nil && begun {
		terminal.leave()
		if ctx.Err() == nil {
			fmt.Fprintf(a.io.err, "Connection to %s closed.\n", text.Line(o.target.Host))
		}
	}
	if err != nil && begun {
		return &begunError{err}
	}
	return err
}

// wantsPTY decides as OpenSSH does: a terminal for a shell, and for a command
// if asked; but only where stdin is one.
func (a *app) wantsPTY(o sshOptions) bool {
	if o.noTTY || !o.tty && o.command != "" {
		return false
	}
	if term.IsTerminal(int(a.io.in.Fd())) {
		return true
	}
	if o.tty {
		a.ui.say("No terminal is allocated, because stdin is not one.")
	}
	return false
}

// sessionEnv are the variables a session gets from here.
func sessionEnv(webAddr string) map[string]string {
	env := map[string]string{"SSH_SESSION_WEBPROXY_ADDR": webAddr}
	for _, name := range []string{"LANG", "LANGUAGE"} {
		if value := os.Getenv(name); value != "" {
			env[name] = value
		}
	}
	return env
}
