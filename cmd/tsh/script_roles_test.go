package main

import "github.com/rogpeppe/go-internal/testscript"

// makeRoles makes the roles of a file on the cluster, or replaces them: roles FILE.
func (w *world) makeRoles(ts *testscript.TestScript, _ bool, args []string) {
	_, err := w.newest().CreateRoles([]byte(ts.ReadFile(args[0])), true)
	ts.Check(err)
}
