package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
)

// Of several processes that need the same login at once one asks the person, and the
// others wait for what comes of it. Who asks has a lock of its own for that, one for
// each proxy and user; the operating system takes it away when the process dies. It is
// not the lock of the store, which nobody holds across a question.

const (
	// turnPatience is how long a person may be asked elsewhere.
	turnPatience = 10 * time.Minute
	turnRetry    = 100 * time.Millisecond
	maxTurn      = 4 << 10 // of the record, in bytes
	maxAttempt   = 1 << 30
	maxTurnWords = 512 // of what is handed on of an error, in bytes
)

// wish is a login that is needed, and how it is shared with other processes.
type wish struct {
	target *loginTarget
	// made returns the session that somebody else has made meanwhile, nil if nobody has.
	made func() *session
	// ask logs in, here.
	ask func() (*session, error)
	// mayAsk: there is somebody to ask, or somewhere to ask them.
	mayAsk bool
	nobody error // why there is not, if it is more than that there is no terminal
	// atOnce does not wait for another process: the answers are there, or it is wanted so.
	atOnce   bool
	hint     string // beside ^C
	patience time.Duration
}

// turnRecord is what is in the file of the lock. It outlives the lock, so that those who
// have waited learn what came of it.
type turnRecord struct {
	_       [0]func() // never compared
	Attempt int       `json:"attempt"`
	PID     int       `json:"pid"`
	Program string    `json:"program"`
	Since   int64     `json:"since"` // Unix time
	Over    bool      `json:"over"`  // the attempt has ended, well or not
	// The last attempt that failed, whose process that was, and why.
	Failed int    `json:"failed,omitempty"`
	By     string `json:"by,omitempty"`
	Error  string `json:"error,omitempty"`
}

// who is the process that asks, or asked, in words.
func (r *turnRecord) who() string {
	who := fmt.Sprintf("process %d", r.PID)
	if r.Program != "" {
		who += " (" + text.Cut(text.Line(r.Program), 64) + ")"
	}
	return who
}

// coming is the number of the first attempt whose end is not known yet.
func (r *turnRecord) coming() int {
	if r.Over {
		return r.Attempt + 1
	}
	return r.Attempt
}

// readTurn reads the record; nil if there is none that makes sense.
func readTurn(home, name string) *turnRecord {
	data, err := durable.ReadFile(filepath.Join(home, "config", "tsh", name), maxTurn)
	if err != nil {
		return nil
	}
	if len(data) == 0 {
		return &turnRecord{Over: true} // nobody has asked yet
	}
	r := &turnRecord{}
	// Who asks has not failed yet: such a record would turn everybody away for ever.
	if json.Unmarshal(data, r) != nil || r.Attempt < 0 || r.Attempt > maxAttempt || r.Failed < 0 || r.Failed >= r.coming() {
		return nil
	}
	return r
}

// turn is the right to ask. A nil one is that of a process that could not, or need not,
// tell others.
type turn struct {
	_      [0]func() // never compared
	hold   *durable.Hold
	record turnRecord
}

func (t *turn) write() {
	if data, err := json.Marshal(t.record); err == nil {
		t.hold.Write(append(data, '\n'))
	}
}

// end says what came of it. Where it turned out that there is nobody to ask here, that
// is no answer: whoever waits may have somebody.
func (t *turn) end(err error) {
	if t == nil {
		return
	}
	if !errors.Is(err, login.ErrCannotAsk) {
		t.record.Over = true
		if err != nil {
			t.record.Failed, t.record.By = t.record.Attempt, t.record.who()
			t.record.Error = text.Cut(text.Line(err.Error()), maxTurnWords)
		}
		t.write()
	}
	t.hold.Release()
}

// turnError: a login that another process was asking for did not come about.
type turnError struct {
	words   string
	pending bool // it is still asking
}

func (e *turnError) Error() string { return e.words }

func isTurnPending(err error) bool {
	var e *turnError
	return errors.As(err, &e) && e.pending
}

// turnName is the file of the lock for a login.
func turnName(t *loginTarget) string {
	sum := sha256.Sum256([]byte(t.name() + "\x00" + t.user))
	return "login-" + hex.EncodeToString(sum[:8]) + ".lock"
}

// oneLogin logs in, or lets the process do it that is at it already; ours says which.
func (a *app) oneLogin(ctx context.Context, store *profile.Store, w *wish) (s *session, ours bool, err error) {
	var t *turn
	if a.globals.keystore != string(keysInMemory) { // such a login is of use to nobody else
		if t, s, err = a.awaitTurn(ctx, store.Home(), w); s != nil || err != nil {
			return s, false, err
		}
	} else if err := w.checkAsk(); err != nil {
		return nil, false, err
	}
	s, err = w.ask()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	t.end(err)
	return s, true, err
}

// awaitTurn waits until this process may ask, or need not any more. Without an error and
// a session it is to ask, with a turn or, where there can be none, without.
func (a *app) awaitTurn(ctx context.Context, home string, w *wish) (*turn, *session, error) {
	q := &queue{wish: w, home: home, name: turnName(w.target), start: time.Now()}
	for {
		hold, err := q.try()
		if err != nil { // no locks there, or nothing that can be written
			slog.Debug("logins of several processes are not coordinated", "error", err)
			return nil, nil, w.checkAsk()
		}
		s, ask, err := q.decide(hold != nil)
		if ask && hold != nil {
			return q.begin(hold), nil, nil
		}
		if hold != nil {
			hold.Release()
		}
		if s != nil || ask || err != nil {
			return nil, s, err
		}
		if q.tries == 2 { // not one that only looked
			a.ui.say("Waiting for %s, which is logging in to %s since %s (^C gives up%s)", q.holder(), w.target.proxy, q.since(), w.hint)
		}
		if err := sleep(ctx, turnRetry); err != nil {
			return nil, nil, err
		}
	}
}

// checkAsk returns an error where there is nobody to ask.
func (w *wish) checkAsk() error {
	if w.mayAsk {
		return nil
	}
	nobody := login.ErrCannotAsk
	if w.nobody != nil {
		nobody = w.nobody
	}
	return fmt.Errorf("logging in to %s: %w", w.target.proxy, nobody)
}

// decide says what to do now: take a session that is there, ask, fail, or, with none of
// these, wait. Mine says that the lock is ours.
func (q *queue) decide(mine bool) (s *session, ask bool, err error) {
	if s := q.made(); s != nil {
		return s, false, nil
	}
	switch {
	case q.failed() && !q.atOnce:
		return nil, false, &turnError{words: fmt.Sprintf("the login to %s by %s, which this one waited for, failed: %s", q.target.proxy, q.record.By, q.record.Error)}
	case mine || q.atOnce:
		err = q.checkAsk()
		return nil, err == nil, err
	case time.Since(q.start) > q.patience:
		return nil, false, &turnError{fmt.Sprintf("%s has been logging in to %s for more than %v", q.holder(), q.target.proxy, q.patience), true}
	}
	return nil, false, nil
}

// queue is one process in front of the lock.
type queue struct {
	*wish
	home, name string
	start      time.Time
	tries      int
	waitsFor   int         // the attempt that was under way when the waiting began
	record     *turnRecord // nil until it could be read
	busy       string      // who has the lock, as far as the system tells
}

// try takes the lock if nobody has it, and reads what there is to know of the one who
// has or had it. An error means that there is no such lock.
func (q *queue) try() (*durable.Hold, error) {
	hold, err := durable.TryHold(q.home, q.name)
	var busy *durable.BusyError
	if errors.As(err, &busy) {
		q.busy, err = busy.Holder, nil
	}
	if err != nil {
		return nil, err
	}
	q.tries++
	if r := readTurn(q.home, q.name); r != nil {
		if q.record == nil {
			q.waitsFor = r.coming()
		}
		q.record = r
	}
	return hold, nil
}

// failed reports whether the attempt that was waited for has come to nothing.
func (q *queue) failed() bool { return q.record != nil && q.record.Failed >= q.waitsFor }

// begin says that this process is asking now.
func (q *queue) begin(hold *durable.Hold) *turn {
	t := &turn{hold: hold}
	if q.record != nil {
		t.record = *q.record
	}
	t.record.Attempt++
	t.record.PID, t.record.Program = os.Getpid(), filepath.Base(os.Args[0])
	t.record.Since, t.record.Over = time.Now().Unix(), false
	t.write()
	return t
}

// holder is who asks, as it wrote itself or as the system tells.
func (q *queue) holder() string {
	switch {
	case q.record != nil && !q.record.Over:
		return q.record.who()
	case q.busy != "":
		return q.busy
	}
	return "another process"
}

// since is the time of day at which the attempt that is waited for began.
func (q *queue) since() string {
	start := q.start
	if q.record != nil && !q.record.Over {
		start = time.Unix(q.record.Since, 0)
	}
	return start.Format(time.TimeOnly)
}

// sleep returns after d, or with the cause when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
