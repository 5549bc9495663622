package main

import (
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// requester adds a user who may ask for more roles: requester NAME [ROLE]. Without a
// role there is no account for them anywhere until something is approved.
func (w *world) requester(ts *testscript.TestScript, _ bool, args []string) {
	enrolment, err := w.newest().AddUser(devcluster.UserSpec{
		Name: args[0], Password: canary + "password-" + args[0], Roles: append([]string{"requester"}, args[1:]...), Logins: []string{"root"},
	})
	ts.Check(err)
	w.users[args[0]] = enrolment
}

// decide waits for an access request that is pending and approves or denies it, or takes
// the oldest that there is: decide approve|deny|none|watched [REASON]. Its ID becomes
// $REQUEST. "none" only looks it up, and so does "watched", once somebody waits for it.
func (w *world) decide(ts *testscript.TestScript, _ bool, args []string) {
	reason := ""
	if len(args) > 1 {
		reason = unescape(args[1])
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		list, err := w.newest().AccessRequests()
		ts.Check(err)
		for _, r := range list {
			if r.State != "pending" || args[0] == "watched" && w.newest().RequestWatchers() == 0 {
				continue // who does not watch may not have told the person yet
			}
			ts.Setenv("REQUEST", r.ID)
			if args[0] == "approve" || args[0] == "deny" {
				_, err = w.newest().ResolveRequest(r.ID, args[0] == "approve", reason)
				ts.Check(err)
			}
			return
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("nobody asks for access")
		}
	}
}
