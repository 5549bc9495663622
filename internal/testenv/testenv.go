// Package testenv says what a test may count on where it runs.
package testenv

import (
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of an external program that a test cannot do
// without. On a machine that lacks it the test is skipped, saying so; where CI
// is "true" that is a failure, because there nothing may go untested unseen.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		// Debian keeps daemons out of an ordinary user's PATH.
		if path, err = exec.LookPath("/usr/sbin/" + name); err == nil {
			return path
		}
		Missing(t, "the program "+name+" is not installed")
	}
	return path
}

// Missing skips the test for the reason given, or fails it where CI is "true".
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("skipping is not allowed in CI: " + reason)
	}
	t.Skip("skipped: " + reason)
}
