package profile

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// churn changes the home without an end, in a random order, and says before and after
// each change which it is.
func churn(home, from string) int {
	ctx, s := context.Background(), Open(home)
	ops, err := churnOps(from)
	for err == nil {
		i := rand.IntN(len(ops))
		fmt.Println("begin", i)
		if err = ops[i](ctx, s); err == nil {
			fmt.Println("done", i)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return exitRefused
}

// churnOps are what a person does: logins of alice in several states, and what else
// there is in a home. Directories below from hold the logins.
func churnOps(from string) (ops []func(context.Context, *Store) error, err error) {
	for _, name := range []string{"first", "again", "reissued"} {
		p, id, err := loginIn(filepath.Join(from, name))
		if err != nil {
			return nil, err
		}
		ops = append(ops, commit(p, id))
	}
	choose := func(name string) func(context.Context, *Store) error {
		return func(ctx context.Context, s *Store) error { return s.Select(ctx, name) }
	}
	return append(ops, choose("port"), choose("gate"), logout("gate", "alice")), nil
}

// churned is what a reader sees of each of churnOps after it, apart from what all have
// in common.
func churned(t *testing.T, from string, before *judge, dir string) (after []view) {
	t.Helper()
	ops, err := churnOps(from)
	must(t, err)
	for i, op := range ops {
		st := before.stage(filepath.Join(dir, strconv.Itoa(i)))
		must(t, op(t.Context(), OpenWith(st.home, st.ring)))
		now := seen(st.home, st.ring)
		changes := view{}
		for what := range now {
			own := strings.HasPrefix(what, "gate ") && i < 3 || what == "current" && i < 5 ||
				(what == "gate login" || what == "gate certificates") && i == 5
			if own {
				changes[what] = now[what]
			} else if now[what] != before.old[what] {
				t.Fatalf("operation %d changes %s: %q, was %q", i, what, now[what], before.old[what])
			}
		}
		after = append(after, changes)
	}
	return after
}

// kills is the course of a home on which processes are killed again and again.
type kills struct {
	j     *judge
	st    *stage
	after []view
	from  string
	now   view // what the last reader saw

	changes, idle, old, new, recovered int
}

// case F01, case F07, case F09, case F21: processes that are killed at random moments of whatever they
// do to one home, again and again. "make soak" does it 10,000 times.
func TestRandomKills(t *testing.T) {
	n, dir := 25, testenv.FastDir(t)
	if more, err := strconv.Atoi(os.Getenv("TSH_SOAK_KILLS")); err == nil {
		n, dir = more, t.TempDir()
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	c := newCast(t)
	from := filepath.Join(dir, "from")
	must(t, Open(filepath.Join(from, "first")).Commit(t.Context(), c.gate, c.alice))
	c.again.Authorities, c.reissued.Authorities = c.alice.Authorities, c.alice.Authorities
	must(t, Open(filepath.Join(from, "again")).Commit(t.Context(), c.gate, c.again))
	must(t, Open(filepath.Join(from, "reissued")).Commit(t.Context(), c.gate, c.reissued))
	sc := &scene{prepare: c.settled(KeysInFiles), run: logout("gate", "alice")}
	j := newJudge(t, sc, filepath.Join(dir, "home"))
	k := &kills{j: j, st: j.stage(filepath.Join(dir, "home")), from: from, now: maps.Clone(j.old)}
	k.after = churned(t, from, j, filepath.Join(dir, "after"))
	for i := 1; i <= n && !t.Failed(); i++ {
		k.once(t)
		if everyFault() && i%1000 == 0 {
			t.Logf("%d kills: %s", i, k)
		}
	}
	t.Logf("%d kills: %s", n, k)
	if k.changes == 0 {
		t.Error("nothing was changed")
	}
}

func (k *kills) String() string {
	return fmt.Sprintf("%d changes were complete; of those that were interrupted the state before was seen %d times, the one after %d times; "+
		"%d times a change was left for the next process; between two changes %d", k.changes, k.old, k.new, k.recovered, k.idle)
}

// once starts a process, kills it at a random moment, and looks at what it leaves.
func (k *kills) once(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "TSH_TEST_ROLE=churn", "TSH_TEST_HOME="+k.st.home, "TSH_TEST_FROM="+k.from)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	running, what := -1, ""
	for i := 0; lines.Scan(); i++ {
		if i == 0 {
			time.AfterFunc(rand.N(40*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
		var op int
		if _, err := fmt.Sscan(lines.Text(), &what, &op); err != nil {
			continue // half a line
		}
		if what == "begin" {
			running = op
			continue
		}
		running = -1
		k.changes++
		maps.Copy(k.now, k.after[op])
	}
	_ = cmd.Wait() // it was killed
	if said.Len() > 0 || ctx.Err() != nil {
		t.Errorf("%s %v", said.String(), ctx.Err())
	}
	k.look(t, running)
}

// look judges the home after a kill in the middle of the operation running, -1 for none.
func (k *kills) look(t *testing.T, running int) {
	t.Helper()
	saw := seen(k.st.home, k.st.ring)
	after := maps.Clone(k.now)
	if running >= 0 {
		maps.Copy(after, k.after[running])
	}
	switch {
	case running < 0 || maps.Equal(after, k.now):
		k.idle++
		if !maps.Equal(saw, k.now) {
			t.Errorf("between two changes: %s", difference(k.now, saw))
		}
	case maps.Equal(saw, k.now):
		k.old++
	case maps.Equal(saw, after):
		k.new++
	case running == 5 && saw["gate login"] == "not logged in": // killed in the middle of a logout
		k.new++
		saw["gate certificates"] = after["gate certificates"]
		if !maps.Equal(saw, after) {
			t.Errorf("in a logout: %s", difference(after, saw))
		}
	default:
		t.Errorf("in operation %d: not as before: %s\nnot as after: %s", running, difference(k.now, saw), difference(after, saw))
	}
	k.now = saw
	k.j.keeps(k.st, "killed")
	if left := durable.Leftovers(k.st.home); len(left) > 0 {
		k.recovered++
	}
}
