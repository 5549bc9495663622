package testenv

import (
	"os"
	"testing"
)

// envAll is set by "make test" and wants both rings of tests.
const envAll = "TSH_TEST_ALL"

// All reports whether the tests of the second ring run as well.
func All() bool { return os.Getenv(envAll) != "" }

// SecondRing puts the test into the second ring, which "make test" runs, and "go test"
// only with TSH_TEST_ALL=1: what takes seconds by its nature. That is a program that
// does (a browser, Ansible), a network that is away for seconds, a wait that is as long
// as people's, thousands of servers or files. What nothing else covers stays in the first.
func SecondRing(t testing.TB) {
	t.Helper()
	if !All() {
		t.Skip("skipped: it is in the second ring: make test, or " + envAll + "=1")
	}
}
