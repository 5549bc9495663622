//go:build !linux

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// services are what a desktop session has beside a terminal. Scripts that need them
// run on Linux.
type services struct{ t *testing.T }

func (w *world) agent(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("agent is for Linux")
}

func (w *world) systemKeyring(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("keyring is for Linux")
}
