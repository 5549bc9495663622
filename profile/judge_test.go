package profile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// judge knows what a scene may leave behind.
type judge struct {
	t        *testing.T
	sc       *scene
	files    map[string]string // of the home before, by path
	slots    map[string][]byte // of the keyring before
	old, new view
	kept     []keptFile
	trace    []string        // the steps of an undisturbed run
	known    map[string]bool // states that were judged to the end
}

// keptFile is what has to be in a file whatever happens.
type keptFile struct{ path, content string }

// stage is a home of its own for one run.
type stage struct {
	t    *testing.T
	home string
	ring *ring
}

func (st *stage) clear() {
	if err := os.RemoveAll(st.home); err != nil {
		st.t.Fatal(err)
	}
}

// newJudge plays the scene undisturbed in home, which is missing again afterwards.
func newJudge(t *testing.T, sc *scene, home string) *judge {
	t.Helper()
	before := &stage{t, home, &ring{slots: map[string][]byte{}}}
	sc.prepare(t, OpenWith(before.home, before.ring))
	j := &judge{t: t, sc: sc, files: readAll(t, before.home), slots: before.ring.slots, known: map[string]bool{}}
	j.old = seen(before.home, before.ring)
	j.kept = j.whatIsKept()
	before.clear()
	st := j.stage(home)
	in := &injector{}
	st.ring.in = in
	if err := sc.run(j.faulty(in), OpenWith(st.home, st.ring)); err != nil {
		t.Fatalf("undisturbed: %v", err)
	}
	st.ring.in = nil
	j.trace = in.steps
	j.new = seen(st.home, st.ring)
	for _, v := range []view{j.old, j.new} {
		for what, is := range v {
			if strings.Contains(is, "BAD") {
				t.Fatalf("undisturbed: %s: %s", what, is)
			}
		}
	}
	if maps.Equal(j.old, j.new) != sc.same {
		t.Fatal("a reader cannot tell before from after")
	}
	j.judge(st, verdict{about: "undisturbed"})
	st.clear()
	return j
}

// faulty is the context in which the faults of in happen.
func (j *judge) faulty(in *injector) context.Context {
	if !j.sc.elsewhere {
		return durable.WithFaults(j.t.Context(), in.hook)
	}
	return durable.WithFaults(j.t.Context(), func(op, path string) error {
		if err := in.hook(op, path); err != nil {
			return err
		}
		// A rename to a name that stays in its directory is one.
		last := len(in.steps) - 2
		if op == "rename" && strings.HasPrefix(path, "keys/") && (last < 0 || in.steps[last] != "close") {
			return syscall.EXDEV
		}
		return nil
	})
}

func readAll(t *testing.T, home string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a scene that begins with nothing
		}
		rel, _ := filepath.Rel(home, path)
		if err != nil || d.IsDir() {
			files[rel+"/"] = ""
			return err
		}
		data, err := os.ReadFile(path)
		if d.Name() != "lock" { // says who had it
			files[rel] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (j *judge) stage(home string) *stage {
	for path, content := range j.files {
		if dir, ok := strings.CutSuffix(path, "/"); ok {
			must(j.t, os.MkdirAll(filepath.Join(home, dir), 0o700))
		} else {
			testenv.Write(j.t, filepath.Join(home, path), content)
		}
	}
	return &stage{j.t, home, &ring{slots: maps.Clone(j.slots)}}
}

// whatIsKept are the files of the other proxy, the authorities of the other clusters of
// this one, and lines of known_hosts that others wrote.
func (j *judge) whatIsKept() (kept []keptFile) {
	for path, content := range j.files {
		slashed := filepath.ToSlash(path)
		switch {
		case strings.HasSuffix(path, "/"): // a directory
		case strings.HasPrefix(slashed, "keys/port/") && !j.sc.touchesPort, slashed == "keys/port/cas/quay.pem", slashed == "keys/gate/cas/pier.pem", slashed == "port.yaml":
			kept = append(kept, keptFile{path, content})
		case slashed == "gate.yaml":
			kept = append(kept, keptFile{path, futureLine})
		case slashed == "keys/gate/certs.pem":
			kept = append(kept, keptFile{path, j.files[filepath.FromSlash("keys/gate/cas/pier.pem")]})
		case slashed == "known_hosts":
			for line := range strings.Lines(content) {
				if !strings.Contains(line, ",harbor,") {
					kept = append(kept, keptFile{path, line})
				}
			}
		}
	}
	return kept
}

// untouched reports whether an operation has failed and has changed nothing at all:
// there is nothing to be judged then.
func (j *judge) untouched(st *stage, err error) bool {
	same := func(a, b []byte) bool { return bytes.Equal(a, b) }
	return err != nil && maps.Equal(readAll(j.t, st.home), j.files) && maps.EqualFunc(st.ring.slots, j.slots, same)
}

// verdict is what there is to be judged.
type verdict struct {
	err    error
	killed bool
	about  string
}

// judge looks at a home after a run of the scene, then lets the next process in.
func (j *judge) judge(st *stage, v verdict) {
	j.t.Helper()
	saw := seen(st.home, st.ring)
	if bad := j.misses(saw, v); bad != "" {
		j.t.Errorf("%s (%v): %s", v.about, v.err, bad)
		return
	}
	j.keeps(st, v.about)
	if err := j.settle(st); err != nil {
		j.t.Errorf("%s: the next writer: %v", v.about, err)
	}
	if now := seen(st.home, st.ring); !maps.Equal(now, saw) {
		j.t.Errorf("%s: a reader saw one thing, then it was another: %s", v.about, difference(saw, now))
	}
	j.keeps(st, v.about+", settled")
	if look := j.looks(st, saw); j.known[look] {
		return
	} else {
		j.known[look] = true
	}
	if err := j.sc.run(j.t.Context(), OpenWith(st.home, st.ring)); err != nil {
		j.t.Errorf("%s: once more: %v", v.about, err)
	}
	if now := seen(st.home, st.ring); !maps.Equal(now, j.new) {
		j.t.Errorf("%s: done once more: %s", v.about, difference(j.new, now))
	}
	j.keeps(st, v.about+", done once more")
	j.collects(st, v.about)
}

// looks tells states apart in which a home can be: what a reader sees, which files there
// are, and what is known about the keyring. What they hold has a random part.
func (j *judge) looks(st *stage, saw view) string {
	state := OpenWith(st.home, st.ring).readKeys()
	for i := range state.Slots {
		_, full := st.ring.slots[state.Slots[i].Slot]
		state.Slots[i].Made, state.Slots[i].Slot = 0, fmt.Sprint(full)
	}
	return fmt.Sprint(saw, slices.Sorted(maps.Keys(readAll(j.t, st.home))), state, len(st.ring.slots))
}

// misses says in what a reader sees neither the state before nor the one after.
func (j *judge) misses(saw view, v verdict) string {
	var unfinished *durable.UnfinishedError
	counts := v.err == nil || errors.As(v.err, &unfinished)
	switch {
	case counts && !v.killed:
		if !maps.Equal(saw, j.new) {
			return "it is done, and a reader does not see it: " + difference(j.new, saw)
		}
	case j.sc.piecewise:
		for what := range saw {
			if saw[what] != j.old[what] && saw[what] != j.new[what] {
				return fmt.Sprintf("%s is %s\nbefore %s\nafter %s", what, saw[what], j.old[what], j.new[what])
			}
		}
	case !v.killed:
		if !maps.Equal(saw, j.old) {
			return "an error, and it is not as before: " + difference(j.old, saw)
		}
	case !maps.Equal(saw, j.old) && !maps.Equal(saw, j.new):
		return "not as before: " + difference(j.old, saw) + "\nnot as after: " + difference(j.new, saw)
	}
	return ""
}

func difference(want, got view) string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(want)) {
		if got[what] != want[what] {
			fmt.Fprintf(&b, "\n%s: %q\n  not %q", what, got[what], want[what])
		}
	}
	for what := range got {
		if _, ok := want[what]; !ok {
			fmt.Fprintf(&b, "\n%s: %q, unexpected", what, got[what])
		}
	}
	return b.String()
}

// keeps looks at the files themselves: what is others', and permissions.
func (j *judge) keeps(st *stage, about string) {
	for _, k := range j.kept {
		if data, err := os.ReadFile(filepath.Join(st.home, k.path)); err != nil || !bytes.Contains(data, []byte(k.content)) {
			j.t.Errorf("%s: %s has lost %q (%v)", about, k.path, k.content, err)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	err := filepath.WalkDir(st.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			j.t.Errorf("%s: others can get at %s (%v)", about, path, err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.t.Errorf("%s: %v", about, err)
	}
}

// settle is what the next writer does before its own work; nothing may be left then.
func (j *judge) settle(st *stage) error {
	s := OpenWith(st.home, st.ring)
	ctx := j.faulty(&injector{})
	if err := s.Settle(ctx); err != nil {
		return err
	}
	if err := s.change(ctx, func(*durable.Tx) error { return nil }); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(st.home, "config", "tsh"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name != "lock" && name != "keys.json" {
			return fmt.Errorf("left %s", e.Name())
		}
	}
	for path := range readAll(j.t, st.home) {
		if strings.Contains(path, ".tx-") {
			return fmt.Errorf("left %s", path)
		}
	}
	return nil
}

// collects looks at the keyring: every entry is remembered, none outlives its login by
// more than slotPatience, and none outlives a logout.
func (j *judge) collects(st *stage, about string) {
	s := OpenWith(st.home, st.ring)
	state := s.readKeys()
	for name := range st.ring.slots {
		if !slices.ContainsFunc(state.Slots, func(k slot) bool { return k.Slot == name }) {
			j.t.Errorf("%s: nobody remembers the keyring entry %s", about, name)
		}
	}
	if len(state.Slots) == 0 {
		return
	}
	err := s.change(j.t.Context(), func(tx *durable.Tx) error {
		for i := range state.Slots {
			state.Slots[i].Made -= int64(slotPatience/time.Second) + 1
		}
		return s.stageKeys(tx, state)
	})
	if err == nil {
		err = j.sc.later(context.WithoutCancel(j.t.Context()), s)
	}
	if err != nil {
		j.t.Errorf("%s: a later login: %v", about, err)
	}
	if n, m := len(st.ring.slots), len(s.readKeys().Slots); n != m || n > 1 {
		j.t.Errorf("%s: after a later login %d entries in the keyring, %d remembered", about, n, m)
	}
	if _, err := s.Logout(j.t.Context(), "", ""); err != nil {
		j.t.Errorf("%s: %v", about, err)
	}
	if n, m := len(st.ring.slots), len(s.readKeys().Slots); n+m != 0 {
		j.t.Errorf("%s: after a logout %d entries in the keyring, %d remembered", about, n, m)
	}
}
