package main

import (
	"io"
	"os/exec"
	"strings"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// shellProgram makes a shell that a script needs; it is missing visibly.
func (w *world) shellProgram(ts *testscript.TestScript, name string) string {
	return testenv.Program(w.services.t, name)
}

// tab types the beginning of a line and the tab key into a shell in which completion is set
// up, and waits for what the shell makes of it: tab bash|zsh 'typed' 'line'.
func (w *world) tab(ts *testscript.TestScript, neg bool, args []string) {
	shell, typed, want := args[0], args[1], args[2]
	command := map[string][]string{"bash": {"--norc", "--noprofile", "-i"}, "zsh": {"-f", "-i"}}[shell]
	setUp := map[string]string{"bash": "", "zsh": "autoload -U compinit; compinit -D; "}[shell]
	cmd := exec.Command(w.shellProgram(ts, shell), command...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = scriptEnv(ts)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 200})
	ts.Check(err)
	defer f.Close()
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	screen := newScreen(f)
	_, err = io.WriteString(f, setUp+`eval "$(tsh completion `+shell+`)"; echo all''set`+"\r")
	ts.Check(err)
	if !screen.waitFor("allset") {
		ts.Fatalf("%s is not set up; the terminal shows:\n%s", shell, screen.text())
	}
	_, err = io.WriteString(f, typed+"\t")
	ts.Check(err)
	found := screen.waitFor(want)
	shown := strings.ReplaceAll(screen.text(), "\x07", "")
	if found == neg {
		ts.Fatalf("%s makes of %q:\n%q", shell, typed, shown)
	}
}
