package main

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// needs fails the script where programs have to be there and are not: needs PROGRAM…. A
// condition skips it elsewhere.
func (w *world) needs(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		if _, err := exec.LookPath(name); err != nil && os.Getenv("CI") == "true" {
			ts.Fatalf("skipping is not allowed in CI: the program %s is not installed", name)
		}
	}
}

// tab types the beginning of a line and the tab key into a shell in which completion is set
// up, and waits for what the shell makes of it: tab bash|zsh 'typed' 'line'.
func (w *world) tab(ts *testscript.TestScript, _ bool, args []string) {
	shell, typed, want := args[0], args[1], args[2]
	command := map[string][]string{"bash": {"--norc", "--noprofile", "-i"}, "zsh": {"-f", "-i"}}[shell]
	setUp := map[string]string{"bash": "", "zsh": "autoload -U compinit; compinit -D; "}[shell]
	cmd := exec.Command(shell, command...)
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
	late := time.After(20 * time.Second)
	for !strings.Contains(rendered(screen.text()), want) {
		select {
		case <-screen.more:
			continue
		case <-screen.done:
		case <-late:
		}
		ts.Fatalf("%s makes of %q:\n%q", shell, typed, screen.text())
	}
}

// rendered is what a terminal shows of the output of a line editor, more or less.
func rendered(output string) string {
	output = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x07").ReplaceAllString(output, "")
	var line []rune
	at := 0
	for _, r := range output {
		switch {
		case r == '\r':
			at = 0
		case r == '\n':
			line, at = nil, 0
		case r == '\b':
			at = max(at-1, 0)
		case at < len(line):
			line[at] = r
			at++
		default:
			line = append(line, r)
			at++
		}
	}
	return string(line)
}
