package durable

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// errKilled is the answer of the disk to a process that is no more.
var errKilled = errors.New("killed")

// killAt makes the process die before the n-th operation: nothing it does from
// then on has an effect. Half says that the n-th, if it writes, does half of it.
func killAt(n int, half bool) func(op, path string) error {
	count := 0
	return func(op, _ string) error {
		count++
		switch {
		case count < n:
			return nil
		case count == n && half && op == "write":
			return ErrHalf
		}
		return errKilled
	}
}

// change is the change that these tests interrupt.
func changeAll(tx *Tx) {
	tx.Lock("keys/gate/alice.key", time.Second, time.Millisecond)
	tx.Write("keys/gate/alice.key", []byte("new key"), 0o600)
	tx.Write("keys/gate/alice.crt", []byte("new crt"), 0o600)
	tx.Remove("keys/gate/alice.ppk")
	tx.Lock("known_hosts", time.Second, time.Millisecond)
	tx.Update("known_hosts", 0o600, 1000, func(old []byte) ([]byte, error) { return append(old, "ours\n"...), nil })
	tx.Write("current-profile", []byte("gate"), 0o600)
}

func oldState(t *testing.T) string {
	home := t.TempDir()
	put(t, home, "keys/gate/alice.key", "old key")
	put(t, home, "keys/gate/alice.crt", "old crt")
	put(t, home, "keys/gate/alice.ppk", "old ppk")
	put(t, home, "known_hosts", "first\n")
	return home
}

const (
	oldTree = "keys/gate/alice.crt=old crt keys/gate/alice.key=old key keys/gate/alice.ppk=old ppk known_hosts=first"
	newTree = "current-profile=gate keys/gate/alice.crt=new crt keys/gate/alice.key=new key known_hosts=first\nours"
)

// viewed is the tree as a reader sees it.
func viewed(t *testing.T, home string) string {
	t.Helper()
	v := Look(home)
	var out []string
	for _, p := range []string{"current-profile", "keys/gate/alice.crt", "keys/gate/alice.key", "keys/gate/alice.ppk", "known_hosts"} {
		data, err := v.ReadFile(p, 1000)
		if err != nil {
			continue
		}
		out = append(out, p+"="+strings.TrimSpace(string(data)))
	}
	return strings.Join(out, " ")
}

// interrupted is the old state with a change that was killed at its n-th operation;
// over says that it was not killed at all.
func interrupted(t *testing.T, n int, half bool) (home string, over bool) {
	t.Helper()
	home = oldState(t)
	tx, err := Begin(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	tx.disk.hook = killAt(n, half)
	changeAll(tx)
	err = done(tx)
	return home, err == nil
}

// case F01, case F07, case F09: whenever the process is killed, a reader sees the old state or
// the new one, and the next process makes the disk agree with what the reader saw.
func TestKilledAnywhere(t *testing.T) {
	for _, half := range []bool{false, true} {
		seen := map[string]int{}
		for n, over := 1, false; !over; n++ {
			var home string
			home, over = interrupted(t, n, half)
			saw := viewed(t, home)
			seen[saw]++
			if saw != oldTree && saw != newTree {
				t.Fatalf("killed at operation %d: a reader sees %q", n, saw)
			}
			begun(t, home).Close()
			if now := tree(t, home); now != saw {
				t.Fatalf("killed at operation %d: a reader saw %q, then it was %q", n, saw, now)
			}
			if left := ownFiles(t, home); !slices.Equal(left, []string{"lock"}) {
				t.Fatalf("killed at operation %d: left %v", n, left)
			}
		}
		if seen[oldTree] < 20 || seen[newTree] < 5 {
			t.Errorf("old state seen %d times, new %d times", seen[oldTree], seen[newTree])
		}
	}
}

// case F01: killed while finishing what another killed process began.
func TestKilledWhileFinishing(t *testing.T) {
	for n := 1; ; n++ {
		home, over := interrupted(t, n, false)
		if over {
			return
		}
		if len(Look(home).pending) == 0 {
			continue
		}
		for m := 1; ; m++ {
			tx := newTx(t.Context(), home)
			tx.disk.hook = killAt(m, false)
			err := tx.begin()
			tx.Close()
			if saw := viewed(t, home); saw != newTree {
				t.Fatalf("killed at %d, finishing killed at %d: a reader sees %q", n, m, saw)
			}
			if err == nil {
				break
			}
		}
	}
}

// pendingHome is a directory with a change that counts and of which only the first
// file is in place.
func pendingHome(t *testing.T) string {
	t.Helper()
	home := oldState(t)
	tx := begun(t, home)
	renames := 0
	tx.disk.hook = func(op, path string) error {
		if op == "rename" && path != journalFile {
			if renames++; renames > 1 {
				return errKilled
			}
		}
		return nil
	}
	changeAll(tx)
	var unfinished *UnfinishedError
	if err := done(tx); !errors.As(err, &unfinished) || !errors.Is(err, errKilled) {
		t.Fatalf("err = %v", err)
	}
	return home
}

// case F02: a disk that refuses in the middle of putting things in place cannot be
// made to take them back either: the change counts, and is finished later.
func TestRefusedInTheMiddle(t *testing.T) {
	home := pendingHome(t)
	if saw := viewed(t, home); saw != newTree {
		t.Errorf("a reader sees %q", saw)
	}
	if left := Leftovers(home); len(left) != 2 {
		t.Errorf("leftovers are %q", left)
	}
	if err := Settle(t.Context(), home); err != nil {
		t.Fatal(err)
	}
	if now := tree(t, home); now != newTree || len(Leftovers(home)) != 0 {
		t.Errorf("finished it is %q, with %q left", now, Leftovers(home))
	}
}

// case F25: what another client wrote after our crash is not undone by us.
func TestAnotherClientCameInBetween(t *testing.T) {
	tests := []struct {
		name, path, content string
		want                string
	}{
		{"it logged in anew", "keys/gate/alice.key", "their key",
			"current-profile=gate keys/gate/alice.crt=old crt keys/gate/alice.key=their key keys/gate/alice.ppk=old ppk known_hosts=first\nours"},
		{"it added an authority", "known_hosts", "first\ntheirs\n",
			"current-profile=gate keys/gate/alice.crt=new crt keys/gate/alice.key=new key known_hosts=first\ntheirs\nours"},
		{"it switched the profile", "current-profile", "other",
			"current-profile=other keys/gate/alice.crt=new crt keys/gate/alice.key=new key known_hosts=first\nours"},
	}
	for _, test := range tests {
		home := pendingHome(t)
		put(t, home, test.path, test.content)
		begun(t, home).Close()
		if now := tree(t, home); now != test.want {
			t.Errorf("%s: left\n%q, want\n%q", test.name, now, test.want)
		}
	}
}

// case F04: a journal whose content did not reach the disk before the power went
// does not count.
func TestJournalWithoutContent(t *testing.T) {
	home := oldState(t)
	tx := begun(t, home)
	tx.disk.hook = func(op, path string) error {
		if op == "rename" && path != journalFile || op == "remove" {
			return errKilled
		}
		return nil
	}
	changeAll(tx)
	_ = done(tx)
	staged, err := filepath.Glob(filepath.Join(home, ownDir, stagePrefix+"*", "002"))
	if err != nil || len(staged) != 1 {
		t.Fatal(staged, err)
	}
	if saw := viewed(t, home); saw != newTree {
		t.Fatalf("before: %q", saw)
	}
	if err := os.Truncate(staged[0], 0); err != nil {
		t.Fatal(err)
	}
	if saw := viewed(t, home); saw != oldTree {
		t.Errorf("a reader sees %q", saw)
	}
	begun(t, home).Close()
	if now := tree(t, home); now != oldTree {
		t.Errorf("left %q", now)
	}
}

// case F04: the power went after some of it was in place, and the disk has not kept that
// the journal counted.
func TestPowerGoesBeforeTheJournalIsKept(t *testing.T) {
	home := pendingHome(t)
	stages, err := filepath.Glob(filepath.Join(home, ownDir, stagePrefix+"*"))
	if err != nil || len(stages) != 1 {
		t.Fatal(stages, err)
	}
	if err := os.Rename(filepath.Join(home, filepath.FromSlash(journalFile)), filepath.Join(stages[0], draftFile)); err != nil {
		t.Fatal(err)
	}
	if err := Settle(t.Context(), home); err != nil {
		t.Fatal(err)
	}
	if now := tree(t, home); now != newTree || len(Leftovers(home)) != 0 {
		t.Errorf("left %q and %q", now, Leftovers(home))
	}
}

// case F13, case F21: only what is ours by name and owner is cleared away.
func TestLeftoversAreSwept(t *testing.T) {
	home := t.TempDir()
	put(t, home, ownDir+"/tx-OLD/001", "secret")
	put(t, home, ownDir+"/tx-old/001", "somebody's")
	put(t, home, ownDir+"/other/001", "somebody's")
	put(t, home, ownDir+"/tx-FILE", "somebody's")
	if left := Leftovers(home); len(left) != 1 || filepath.Base(left[0]) != "tx-OLD" {
		t.Errorf("leftovers are %q", left)
	}
	tx := begun(t, home)
	if left := Leftovers(home); len(left) != 0 {
		t.Errorf("those of a running process count: %q", left)
	}
	tx.Close()
	if left := ownFiles(t, home); !slices.Equal(left, []string{"lock", "other", "tx-FILE", "tx-old"}) {
		t.Errorf("left %v", left)
	}
}

// case F21: a thousand crashes leave no more than one.
func TestThousandCrashes(t *testing.T) {
	home := t.TempDir()
	for range 1000 {
		tx := begun(t, home)
		tx.disk.hook = killAt(12, false)
		tx.Write("keys/gate/alice", []byte("secret"), 0o600)
		if done(tx) == nil {
			t.Fatal("not killed")
		}
		if left := ownFiles(t, home); len(left) > 3 {
			t.Fatalf("left %v", left)
		}
	}
}

// case F18: one transaction at a time; who waits too long learns for whom.
func TestOneAtATime(t *testing.T) {
	home := t.TempDir()
	first := begun(t, home)
	second := newTx(t.Context(), home)
	waited := time.Duration(0)
	second.wait = func(_ context.Context, d time.Duration) error { waited += d; return nil }
	err := second.begin()
	second.Close()
	var busy *BusyError
	if !errors.As(err, &busy) || waited != ownWait || !strings.Contains(err.Error(), "process ") || !strings.Contains(err.Error(), lockPath) {
		t.Errorf("after %v: %v", waited, err)
	}
	if held := Locks(home, "known_hosts"); len(held) != 1 || held[0].Holder != busy.Holder {
		t.Errorf("held are %v", held)
	}
	first.Close()
	if held := Locks(home, "known_hosts"); len(held) != 0 {
		t.Errorf("held are %v", held)
	}
	begun(t, home).Close()
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	home := t.TempDir()
	begun(t, home)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := Begin(ctx, home); !errors.Is(err, enough) {
		t.Errorf("err = %v", err)
	}
}

// case F19: secrets are removed although the lock cannot be had.
func TestRemovalWithoutTheLock(t *testing.T) {
	home := oldState(t)
	begun(t, home)
	tx := newTx(t.Context(), home)
	tx.wait = func(context.Context, time.Duration) error { return nil }
	var busy *BusyError
	if err := tx.beginRemoval(); !errors.As(err, &busy) {
		t.Fatalf("err = %v", err)
	}
	tx.Remove("keys/gate/alice.key")
	if err := done(tx); err != nil || strings.Contains(tree(t, home), "alice.key") {
		t.Errorf("%v, left %q", err, tree(t, home))
	}
}

// A removal counts as a change: what was begun before it is finished first, and does
// not come back after it.
func TestRemovalAfterACrash(t *testing.T) {
	home := pendingHome(t)
	tx := BeginRemoval(t.Context(), home)
	if err := tx.Trouble(); err != nil {
		t.Fatal(err)
	}
	tx.Remove("keys")
	if err := done(tx); err != nil {
		t.Fatal(err)
	}
	begun(t, home).Close()
	if now := tree(t, home); strings.Contains(now, "alice") {
		t.Errorf("left %q", now)
	}
}

// A removal does not leave, for somebody to finish, what an interrupted change has for
// the same files: it would be a login again.
func TestRemovalOfWhatCannotBeFinished(t *testing.T) {
	home := pendingHome(t)
	tx := newTx(t.Context(), home)
	tx.disk.hook = func(op, path string) error {
		if op == "rename" {
			return errKilled
		}
		return nil
	}
	if tx.trouble = tx.beginRemoval(); !errors.Is(tx.Trouble(), errKilled) {
		t.Fatal(tx.Trouble())
	}
	for _, f := range []string{"alice.key", "alice.crt", "alice.ppk"} {
		tx.Remove("keys/gate/" + f)
	}
	if err := done(tx); err != nil {
		t.Fatal(err)
	}
	if saw := viewed(t, home); strings.Contains(saw, "alice") {
		t.Errorf("a reader sees %q", saw)
	}
	begun(t, home).Close()
	if now := tree(t, home); strings.Contains(now, "alice") {
		t.Errorf("left %q", now)
	}
}

// case F25: whoever clears keys away after our crash does not get them back.
func TestDirectoryThatWasClearedAway(t *testing.T) {
	home := pendingHome(t)
	if err := os.RemoveAll(filepath.Join(home, "keys")); err != nil {
		t.Fatal(err)
	}
	begun(t, home).Close()
	if now := tree(t, home); now != "current-profile=gate known_hosts=first\nours" {
		t.Errorf("left %q", now)
	}
}

// case F11: what a later version has begun is for it to finish.
func TestJournalOfALaterVersion(t *testing.T) {
	home := pendingHome(t)
	path := filepath.Join(home, filepath.FromSlash(journalFile))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(data), `"version": 1`, `"version": 2`, 1)
	put(t, home, journalFile, later)
	if _, err := Begin(t.Context(), home); !errors.Is(err, errNewer) || !strings.Contains(err.Error(), path) {
		t.Errorf("err = %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != later {
		t.Errorf("the journal is %q, %v", now, err)
	}
}

// case F19, case F21: private keys that a killed process has left in the staging directory go
// with the next command, one that only looks included.
func TestSettleClearsStages(t *testing.T) {
	home := t.TempDir()
	put(t, home, ownDir+"/tx-OLD/001", "secret")
	if err := Settle(t.Context(), home); err != nil {
		t.Fatal(err)
	}
	if left := Leftovers(home); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// case F18: all locks of others together take no more than 5 s.
func TestAllLocksShareOneDeadline(t *testing.T) {
	home := t.TempDir()
	tx, s := watched(t, home)
	var waited time.Duration
	tx.wait = func(_ context.Context, d time.Duration) error { waited += d; return nil }
	for _, f := range []string{"alice.key", "known_hosts"} {
		tx.Lock(f, 5*time.Second, 10*time.Millisecond)
		tx.Write(f, []byte("new"), 0o600)
	}
	s.at = func(step string) error {
		if step == "lock known_hosts" || step == "lock alice.key" && waited < 3*time.Second {
			return errBusy
		}
		return nil
	}
	err := done(tx)
	var busy *BusyError
	if !errors.As(err, &busy) || busy.Path != filepath.Join(home, "known_hosts") || waited != maxLockWait || tree(t, home) != "" {
		t.Errorf("waited %v, left %q, err = %v", waited, tree(t, home), err)
	}
}

func TestJournalsThatAreNone(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"half":             `{"version":1,"stage":"tx-A","entr`,
		"of no version":    `{"version":0,"stage":"tx-A"}`,
		"stage elsewhere":  `{"version":1,"stage":"../../x"}`,
		"path elsewhere":   `{"version":1,"stage":"tx-A","entries":[{"path":"../x","file":"001","new":"a"}]}`,
		"absolute path":    `{"version":1,"stage":"tx-A","entries":[{"path":"/etc/x","file":"001","new":"a"}]}`,
		"not clean":        `{"version":1,"stage":"tx-A","entries":[{"path":"a/../b","file":"001","new":"a"}]}`,
		"its own lock":     `{"version":1,"stage":"tx-A","entries":[{"path":"config/tsh/lock"}]}`,
		"content anywhere": `{"version":1,"stage":"tx-A","entries":[{"path":"a","file":"../../b","new":"a"}]}`,
		"a path twice":     `{"version":1,"stage":"tx-A","entries":[{"path":"a"},{"path":"a"}]}`,
		"content unknown":  `{"version":1,"stage":"tx-A","entries":[{"path":"a","file":"001"}]}`,
	} {
		home := t.TempDir()
		put(t, home, journalFile, text)
		put(t, home, "b", "b")
		if v := Look(home); len(v.pending) != 0 {
			t.Errorf("%s: a reader believes it", name)
		}
		begun(t, home).Close()
		if left := ownFiles(t, home); !slices.Equal(left, []string{"lock"}) || tree(t, home) != "b=b" {
			t.Errorf("%s: left %v and %q", name, left, tree(t, home))
		}
	}
}

// A journal may contain anything: what it does stays below home and outside our own
// files.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"version":1,"stage":"tx-A","entries":[{"path":"a","file":"001","old":"","new":"00"},{"path":"keys/g/b"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := decodeJournal(data)
		if err != nil {
			return
		}
		for _, e := range j.Entries {
			if local := filepath.FromSlash(e.Path); !filepath.IsLocal(local) || local == filepath.FromSlash(lockPath) {
				t.Errorf("path %q", e.Path)
			}
			if filepath.Dir(filepath.FromSlash(j.staged(e))) != filepath.Join(filepath.FromSlash(ownDir), j.Stage) {
				t.Errorf("staged %q", j.staged(e))
			}
		}
		again, err := j.encode()
		if err != nil {
			return
		}
		if _, err := decodeJournal(again); err != nil {
			t.Errorf("%v in %s", err, again)
		}
	})
}
