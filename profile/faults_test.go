package profile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// errKilled is the answer to a process that is no more: nothing it does has an effect.
var errKilled = errors.New("killed")

// fault is one way in which a step, an operation on the disk or a call of the keyring,
// goes wrong.
type fault struct {
	name  string
	err   error
	half  bool              // the first half of a write is done
	on    map[string]bool   // steps that can go wrong like this; nil means all
	after func(string) bool // later steps that go wrong, too; nil means none
}

func faults() []fault {
	writes := map[string]bool{"write": true}
	always := func(string) bool { return true }
	space := func(step string) bool {
		return slices.Contains([]string{"mkdir", "create", "write", "fsync", "rename"}, step)
	}
	changes := func(step string) bool {
		return !slices.Contains([]string{"stat", "read", "list", "open", "opendir", "close", "fsync"}, step)
	}
	return []fault{
		{name: "killed", err: errKilled, after: always},
		{name: "killed in the middle", err: errors.Join(durable.ErrHalf, errKilled), half: true, on: writes, after: always},
		{name: "ENOSPC", err: syscall.ENOSPC},
		{name: "ENOSPC in the middle", err: errors.Join(durable.ErrHalf, syscall.ENOSPC), half: true, on: writes},
		{name: "EDQUOT", err: syscall.EDQUOT},
		{name: "EIO", err: syscall.EIO},
		{name: "EMFILE", err: syscall.EMFILE},
		{name: "EROFS", err: syscall.EROFS},
		{name: "EINTR", err: syscall.EINTR},
		{name: "ENOSPC from there on", err: syscall.ENOSPC, after: space},
		{name: "EROFS from there on", err: syscall.EROFS, after: changes},
		{name: "EIO from there on", err: syscall.EIO, after: always},
	}
}

// injector lets one fault happen at the step number at, counted from 1.
type injector struct {
	fault fault
	at    int

	mu    sync.Mutex
	steps []string // what was tried
	hit   string   // what went wrong first
}

func (in *injector) hook(op, path string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.steps = append(in.steps, op)
	n := len(in.steps)
	if in.at == 0 || n < in.at || n > in.at && (in.fault.after == nil || !in.fault.after(op)) {
		return nil
	}
	if n == in.at && in.fault.on != nil && !in.fault.on[op] || in.hit == "" && n > in.at {
		return nil // this fault does not happen here
	}
	if in.hit == "" {
		in.hit = op + " " + path
		return in.fault.err
	}
	if errors.Is(in.fault.err, errKilled) {
		return errKilled
	}
	return in.fault.err
}

func (in *injector) killed() bool { return in.hit != "" && errors.Is(in.fault.err, errKilled) }

// ring is a keyring in memory, whose calls are steps, too.
type ring struct {
	mu    sync.Mutex
	slots map[string][]byte
	in    *injector // nil for none
}

func (r *ring) step(op, slot string) error {
	if r.in == nil {
		return nil
	}
	return r.in.hook(op, slot)
}

func (r *ring) Get(slot string) ([]byte, error) {
	if err := r.step("keyring get", slot); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := r.slots[slot]; key != nil {
		return slices.Clone(key), nil
	}
	return nil, keyring.ErrMissing
}

func (r *ring) Set(slot string, key []byte) error {
	if err := r.step("keyring set", slot); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots[slot] = slices.Clone(key)
	return nil
}

func (r *ring) Delete(slot string) error {
	if err := r.step("keyring delete", slot); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.slots, slot)
	return nil
}

// enoughFaults is what the issue asks for.
const enoughFaults = 3000

// case F01, case F02, case F03, case F07, case F08, case F09, case F19, case K04: whatever goes wrong at whatever
// operation on the disk or call of the keyring, the next reader sees the state before
// or the one after, and nothing of others is lost.
func TestEveryFaultAtEveryStep(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "") // a logout would ask the person's agent
	var injected, played atomic.Int64
	all := slices.DeleteFunc(scenes(t), func(sc *scene) bool { return sc.elsewhere && runtime.GOOS == "windows" })
	t.Run("scenes", func(t *testing.T) {
		for _, sc := range all {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				played.Add(1)
				injected.Add(int64(faultLoop(t, sc)))
			})
		}
	})
	t.Logf("%d faults injected", injected.Load())
	if injected.Load() < enoughFaults && played.Load() == int64(len(all)) && !t.Failed() {
		t.Errorf("only %d faults injected, want %d", injected.Load(), enoughFaults)
	}
}

// everyFault says that time is no matter: make soak.
func everyFault() bool { return os.Getenv("TSH_FAULTS") == "all" }

// faultLoop plays a scene with every fault at every step and returns how many faults
// there were.
func faultLoop(t *testing.T, sc *scene) (injected int) {
	home := filepath.Join(testenv.FastDir(t), "home") // slots of the keyring bear its name
	j := newJudge(t, sc, home)
	st := j.stage(home)
	for k, f := range faults() {
		for n := 1; n <= len(j.trace); n++ {
			if f.on != nil && !f.on[j.trace[n-1]] || sc.sparse && f.on == nil && !everyFault() && (n+k)%6 != 0 && f.err != errKilled {
				continue
			}
			if !everyFault() && !testenv.All() && (n+k)%3 != 0 { // the others are in the second ring
				continue
			}
			in := &injector{fault: f, at: n}
			st.ring.in = in
			err := sc.run(j.faulty(in), OpenWith(st.home, st.ring))
			st.ring.in = nil
			if in.hit == "" {
				t.Errorf("%s at step %d: the scene has fewer steps now", f.name, n)
			}
			injected++
			if !j.untouched(st, err) {
				j.judge(st, verdict{err: err, killed: in.killed(), about: fmt.Sprintf("%s at step %d, %s", f.name, n, in.hit)})
				st.clear()
				st = j.stage(home)
			}
			if t.Failed() {
				return injected
			}
		}
	}
	t.Logf("%d faults at %d steps", injected, len(j.trace))
	return injected
}
