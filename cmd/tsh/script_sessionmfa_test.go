package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// careful adds a user whose sessions take a second factor: careful NAME [ROLE,ROLE…].
func (w *world) careful(ts *testscript.TestScript, _ bool, args []string) {
	roles := []string{"session-mfa"}
	if len(args) > 1 {
		roles = strings.Split(args[1], ",")
	}
	enrolment, err := w.newest().AddUser(devcluster.UserSpec{
		Name: args[0], Password: canary + "password-" + args[0], Roles: roles, Logins: []string{"root"},
	})
	ts.Check(err)
	w.users[args[0]] = enrolment
}
