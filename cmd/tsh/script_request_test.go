package main

import (
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// at sets a variable to the time after a while: at NAME DURATION.
func (w *world) at(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], time.Now().Add(w.clock.ahead()+duration(ts, args[1])).UTC().Format(time.RFC3339))
}
