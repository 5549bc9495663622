package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// case F22: before anything else the program gives up core dumps, in both ways.
func TestNoCoreDumps(t *testing.T) {
	strace := testenv.Program(t, "strace")
	log := t.TempDir() + "/strace"
	cmd := exec.Command(strace, "-f", "-o", log, "-e", "trace=prlimit64,setrlimit,prctl", releasedTsh(t), "version", "--client")
	cmd.Env = append(os.Environ(), "TELEPORT_HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	calls := testenv.Read(t, log)
	for _, want := range []string{"RLIMIT_CORE, {rlim_cur=0, rlim_max=0}", "PR_SET_DUMPABLE, SUID_DUMP_DISABLE"} {
		if !strings.Contains(calls, want) {
			t.Errorf("no %s in\n%s", want, calls)
		}
	}
}
