package profile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// tracedCalls are the system calls that go wrong, in the order of their worth.
const tracedCalls = "renameat,unlinkat,mkdirat,flock,fsync,fchmod,write,ftruncate,getdents64,openat,read,newfstatat,close"

// call is a system call at which something goes wrong: the n-th of its name in its thread.
type call struct {
	name string
	n    int
	said string // as strace prints it
}

// child plays a scene in a process of its own.
type child struct {
	sc     *scene
	strace string
	from   string // where the login to commit is
	log    string // what strace says
}

func newChild(t *testing.T, sc *scene, dir string) *child {
	t.Helper()
	c := &child{sc: sc, strace: testenv.Program(t, "strace"), from: filepath.Join(dir, "from"), log: filepath.Join(dir, "strace")}
	if sc.child.id != nil {
		must(t, Open(c.from).Commit(t.Context(), sc.child.profile, sc.child.id))
	}
	return c
}

// run lets the scene happen in home under strace and returns what became of it.
func (c *child) run(t *testing.T, home string, flags ...string) (v verdict, log []byte) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	args := append([]string{"-f", "-q", "-o", c.log, "-e", "signal=none"}, flags...)
	cmd := exec.CommandContext(ctx, c.strace, append(args, self)...)
	cmd.Env = append(os.Environ(), "TSH_TEST_ROLE=operate", "TSH_TEST_DO="+c.sc.child.do, "TSH_TEST_HOME="+home, "TSH_TEST_FROM="+c.from, "SSH_AUTH_SOCK=")
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Run()
	log, readErr := os.ReadFile(c.log)
	must(t, readErr)
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%v: %s", ctx.Err(), said.String())
	case status.Signaled() && status.Signal() == syscall.SIGKILL: // strace ends as its child did
		v.killed, v.err = true, errKilled
	case status.ExitStatus() == exitUnfinished:
		v.err = &durable.UnfinishedError{Err: errors.New(said.String())}
	case status.ExitStatus() == exitRefused:
		v.err = errors.New(said.String())
	case err != nil:
		t.Fatalf("%v: %s", err, said.String())
	}
	return v, log
}

// calls are those of an undisturbed run that are about home.
func (c *child) calls(t *testing.T, home string) (found []call) {
	t.Helper()
	v, log := c.run(t, home, "-y", "-e", "trace="+tracedCalls)
	if v.err != nil {
		t.Fatal(v.err)
	}
	line := regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	counts, main := map[string]int{}, ""
	seen := map[call]bool{}
	for text := range strings.Lines(string(log)) {
		m := line.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			continue
		}
		main = cmp.Or(main, m[1])
		if m[1] != main && m[2] != "fsync" {
			continue // other threads flush, and there the count is of other calls in each run
		}
		counts[m[1]+m[2]]++
		key := call{name: m[2], n: counts[m[1]+m[2]]}
		if strings.Contains(m[3], home) && !seen[key] {
			seen[key] = true
			key.said = strings.TrimSpace(m[2] + "(" + m[3])
			found = append(found, key)
		}
	}
	order := strings.Split(tracedCalls, ",")
	slices.SortStableFunc(found, func(a, b call) int { return cmp.Compare(slices.Index(order, a.name), slices.Index(order, b.name)) })
	return found
}

// case F01, case F02, case F03, case F09: the same from outside, with a real process and the calls
// that it makes of the kernel, reads among them. Its work happens in one thread, so that
// the n-th call is the same one in each run.
func TestSystemCallsThatGoWrong(t *testing.T) {
	if !everyFault() {
		testenv.SecondRing(t)
	}
	testenv.Program(t, "strace")
	var injected, missed atomic.Int64
	t.Run("scenes", func(t *testing.T) {
		for _, sc := range scenes(t) {
			if sc.child == nil {
				continue
			}
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				straceLoop(t, sc, &injected, &missed)
			})
		}
	})
	t.Logf("%d faults injected, %d calls did not come", injected.Load(), missed.Load())
	if !t.Failed() && (injected.Load() < 150 || missed.Load() > injected.Load()/10) {
		t.Errorf("only %d faults injected, %d calls did not come", injected.Load(), missed.Load())
	}
}

func straceLoop(t *testing.T, sc *scene, injected, missed *atomic.Int64) {
	dir := testenv.FastDir(t)
	j := newJudge(t, sc, filepath.Join(dir, "home"))
	c := newChild(t, sc, dir)
	st := j.stage(filepath.Join(dir, "home"))
	calls := c.calls(t, st.home)
	st.clear()
	effects := []string{"signal=SIGKILL", "error=ENOSPC", "signal=SIGKILL", "error=EIO", "error=EMFILE", "signal=SIGKILL", "error=EROFS", "error=EINTR"}
	for i, at := range calls {
		for k, effect := range effects {
			if !everyFault() && (at.rare() && (i+k)%len(effects) != 0 || !at.rare() && (i+k)%307 != 0) {
				continue
			}
			st := j.stage(st.home)
			v, log := c.run(t, st.home, "-e", "trace="+at.name, "-e", fmt.Sprintf("inject=%s:%s:when=%d", at.name, effect, at.n))
			if v.killed || bytes.Contains(log, []byte("(INJECTED)")) {
				injected.Add(1)
			} else {
				missed.Add(1)
			}
			v.about = fmt.Sprintf("%s at %s no. %d, %s", effect, at.name, at.n, at.said)
			j.judge(st, v)
			st.clear()
			if t.Failed() {
				return
			}
		}
	}
}

// rare reports whether the call changes something: each of those is worth a try.
func (c call) rare() bool {
	return !slices.Contains([]string{"openat", "read", "newfstatat", "close"}, c.name)
}
