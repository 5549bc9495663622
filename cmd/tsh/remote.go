package main

import (
	"context"
	"os"

	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient"
)

// runRemote runs the command or the shell on a node that has let us in.
func (a *app) runRemote(ctx context.Context, client *sshclient.Client, s *session, o sshOptions) error {
	command := sshclient.Command{
		Args:      o.command,
		Subsystem: o.subsystem,
		Stdout:    a.io.out,
		Stderr:    a.io.err,
		Env:       sessionEnv(s.profile.WebProxyAddr),
		Before:    o.before,
		X11:       a.forwardedDisplay(ctx, o.x11),
	}
	o.addEnv(command.Env)
	if !o.noStdin {
		command.Stdin = a.io.in
	}
	var err error
	if command.Agent, err = a.forwardedAgent(s, o); err != nil {
		return err
	}
	begun := false
	started := func() {
		begun = true
		o.forward.detach()
	}
	command.Started = started
	var terminal *rawTerminal
	if a.wantsPTY(o) {
		terminal = newRawTerminal(a.io)
		defer terminal.leave()
		command.PTY = &sshclient.PTY{Term: o.term(), Size: terminal.size(), Resize: terminal.resizes()}
		if char, _ := escapeChar(o.escape); a.globals.escapes && char != 0 && command.Stdin != nil && term.IsTerminal(int(a.io.in.Fd())) {
			command.EscapeChar = char
			command.Escape = escapeKeys(char, a.io.err, terminal, client)
		}
		command.Started = func() {
			started()
			terminal.enter(a.guard)
		}
	}
	err = client.Run(ctx, command)
	if terminal != nil && begun {
		terminal.leave()
		if ctx.Err() == nil {
			a.ui.note("Connection to %s closed.", text.Line(o.target.Host))
		}
	}
	if err != nil && begun {
		return &begunError{err}
	}
	return err
}

// wantsPTY decides as OpenSSH does: a terminal for a shell, and for a command
// if asked; but only where stdin is one, unless asked twice.
func (a *app) wantsPTY(o sshOptions) bool {
	const forced = 2
	if o.noTTY || o.tty == 0 && (o.command != "" || o.noStdin) {
		return false
	}
	if o.tty >= forced || term.IsTerminal(int(a.io.in.Fd())) {
		return true
	}
	if o.tty > 0 {
		a.ui.note("No terminal is allocated, because stdin is not one.")
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
