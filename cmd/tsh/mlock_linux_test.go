package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// While a headless login waits, its memory is locked; for somebody whom the system does
// not let lock that much, strict says so before anything is asked of anybody.
func TestMemoryIsLocked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may lock memory here, and become somebody who may not")
	}
	c := startFarCluster(t, "webauthn")
	run := startWaiting(c.env, releasedTsh(t), "ls", "--headless", "--mlock=strict", "--proxy="+c.PublicAddr(), "--user=alice")
	defer run.stop()
	if err := run.begin(); err != nil {
		t.Fatal(err)
	}
	if run.shown() == "" {
		<-run.read
		if strings.Contains(run.err.String(), "memory cannot be locked") {
			testenv.Missing(t, "this container does not let root lock memory")
		}
		t.Fatal(run.err.String())
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(run.cmd.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^VmLck:\s+[1-9]`).Match(stat) {
		t.Errorf("nothing is locked:\n%s", stat)
	}
	if err := run.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	run.wait()

	dir, err := os.MkdirTemp("", "tsh-mlock-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program, err := os.ReadFile(releasedTsh(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tsh")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for mode, want := range map[string]string{
		"strict":      "ERROR: --mlock=strict: memory cannot be locked: no more than ",
		"best_effort": "WARNING: memory is not locked",
		"auto":        "",
	} {
		cmd := exec.Command("/bin/sh", "-c", "ulimit -l 64; exec "+path+" version --client --mlock="+mode)
		cmd.Env = []string{"HOME=/nonexistent", "PATH=/usr/bin:/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) || (cmd.ProcessState.ExitCode() != 0) != (mode == "strict") {
			t.Errorf("--mlock=%s: %s", mode, out)
		}
	}
}
