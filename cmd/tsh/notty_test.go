package main

import (
	"bytes"
	"os"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"
)

// noTTY runs a program where there is no terminal to ask on: notty status=N
// program args…. What it printed is in the files "out" and "err" afterwards.
func (w *world) noTTY(ts *testscript.TestScript, neg bool, args []string) {
	status, _, command := w.parseType(ts, append([]string{args[0], "--"}, args[1:]...))
	cmd := exec.Command(lookPath(ts, command[0]), command[1:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	withoutTerminal(cmd)
	ts.Check(cmd.Start())
	got := waitStatus(cmd)
	ts.Check(os.WriteFile(ts.MkAbs("out"), out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), err.Bytes(), 0o600))
	ts.Logf("%s%s", out.String(), err.String())
	if neg || got != status {
		ts.Fatalf("exit status %d, want %d", got, status)
	}
}
