package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// quietApp is one run of the program that speaks to nobody.
func quietApp(t *testing.T) *app {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	s := streams{in: null, out: null, err: null}
	return &app{io: s, out: &dataWriter{w: null}, ui: newTUI(s), now: time.Now, guard: new(guard)}
}

func someWish(t *testing.T) *wish {
	t.Helper()
	addr, err := proxy.ParseAddr("localhost:3080")
	if err != nil {
		t.Fatal(err)
	}
	return &wish{
		target: &loginTarget{addr: addr, proxy: "localhost:3080", user: "alice"}, mayAsk: true, patience: time.Minute,
		made: func() *session { return nil },
	}
}

// held takes the turn as another process would.
func held(t *testing.T, home string, w *wish) *durable.Hold {
	t.Helper()
	hold, err := durable.TryHold(home, turnName(w.target))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hold.Release)
	return hold
}

// case F18: nobody waits for ever; the error names who asks and what to do.
func TestTurnPatience(t *testing.T) {
	a, w, home := quietApp(t), someWish(t), t.TempDir()
	w.patience = time.Millisecond
	hold := held(t, home, w)
	hold.Write([]byte(`{"attempt":7,"pid":4711,"program":"tsh\u001b[2J","since":1,"over":false}`))
	_, _, err := a.awaitTurn(t.Context(), home, w)
	if err == nil || !strings.HasPrefix(err.Error(), `process 4711 (tsh\x1b[2J) has been logging in to localhost:3080 for more than`) {
		t.Error(err)
	}
	if body := describe(err); body.Code != "login_pending" || !strings.Contains(body.Hint, "--force") {
		t.Errorf("%+v", body)
	}
	if body := describe(&turnError{words: "no"}); body.Code != "login_failed" || body.Hint == "" {
		t.Errorf("%+v", body)
	}
}

// Whatever is in the file: the lock says whether somebody asks.
func TestTurnRecords(t *testing.T) {
	for _, tc := range []struct {
		name, before string
		attempt      int
	}{
		{"empty", "", 1},
		{"done", `{"attempt":3,"over":true}`, 4},
		{"failed before", `{"attempt":3,"over":true,"failed":3,"by":"process 1","error":"no"}`, 4},
		{"killed", `{"attempt":3,"pid":1}`, 4},
		{"junk", `{"attempt":`, 1},
		{"too large", `{"attempt":9223372036854775807}`, 1},
		{"null", "null", 1},
		{"no record", "{}", 1},
		{"asking and failed", `{"attempt":3,"failed":3,"by":"process 1","error":"spoofed"}`, 1},
		{"impossible", `{"attempt":1,"over":true,"failed":2}`, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, w, home := quietApp(t), someWish(t), t.TempDir()
			hold := held(t, home, w)
			hold.Write([]byte(tc.before))
			hold.Release()
			turn, _, err := a.awaitTurn(t.Context(), home, w)
			if err != nil || turn == nil {
				t.Fatal(turn, err)
			}
			defer turn.end(nil)
			if turn.record.Attempt != tc.attempt {
				t.Errorf("attempt %d, want %d", turn.record.Attempt, tc.attempt)
			}
		})
	}
}

// One who finds that there is nobody to ask leaves the asking to the next.
func TestTurnWithoutAnswer(t *testing.T) {
	a, w, home := quietApp(t), someWish(t), t.TempDir()
	first, _, err := a.awaitTurn(t.Context(), home, w)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	asked := make(chan struct{}, 1)
	w.made = func() *session {
		select {
		case asked <- struct{}{}: // it has been in front of the lock
		default:
		}
		return nil
	}
	go func() {
		second, _, err := a.awaitTurn(context.WithoutCancel(t.Context()), home, w)
		second.end(nil)
		got <- err
	}()
	<-asked
	first.end(login.ErrCannotAsk)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// Where there can be no lock, everybody asks for themselves; with nobody to ask it is said.
func TestTurnWithoutLocks(t *testing.T) {
	a, w := quietApp(t), someWish(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(file, "home")
	if turn, s, err := a.awaitTurn(t.Context(), home, w); turn != nil || s != nil || err != nil {
		t.Error(turn, s, err)
	}
	w.mayAsk = false
	if _, _, err := a.awaitTurn(t.Context(), home, w); !errors.Is(err, login.ErrCannotAsk) {
		t.Error(err)
	}
}

// Different proxies and users have turns of their own.
func TestTurnNames(t *testing.T) {
	seen := map[string]string{}
	for _, tc := range []struct{ proxy, user string }{{"localhost:3080", "alice"}, {"localhost:3080", "bob"}, {"other:3080", "alice"}} {
		w := someWish(t)
		var err error
		if w.target.addr, err = proxy.ParseAddr(tc.proxy); err != nil {
			t.Fatal(err)
		}
		w.target.user = tc.user
		name := turnName(w.target)
		if before, twice := seen[name]; twice {
			t.Errorf("%v and %s share a turn", tc, before)
		}
		seen[name] = tc.proxy + " " + tc.user
	}
	w := someWish(t)
	w.target.known = &profile.Profile{Name: "localhost"}
	if w.target.addr.WebPort = 443; turnName(w.target) != turnName(someWish(t).target) {
		t.Error("the port of a proxy makes two turns of one")
	}
}

func TestNeedsTerminal(t *testing.T) {
	password, sso := &profile.Profile{Name: "x"}, &profile.Profile{Name: "x", AuthConnector: "github"}
	for _, tc := range []struct {
		name  string
		auth  string
		known *profile.Profile
		want  bool // a terminal
	}{
		{"password last time", "", password, true},
		{"browser last time", "", sso, false},
		{"by its host", "", &profile.Profile{SSOHost: "idp.example"}, false},
		{"passwordless last time", "", &profile.Profile{AuthConnector: "passwordless"}, true},
		{"first login", "", nil, false},
		{"browser asked for", "github", password, false},
		{"password asked for", "local", sso, true},
		{"passwordless asked for", "passwordless", sso, true},
	} {
		if got := needsTerminal(tc.auth, tc.known); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

func TestSpan(t *testing.T) {
	for value, want := range map[string]time.Duration{"30m": 30 * time.Minute, "1h30m": 90 * time.Minute, "90": 90 * time.Minute, "0": 0, "45s": 45 * time.Second} {
		var s span
		if err := s.Set(value); err != nil || time.Duration(s) != want {
			t.Errorf("%q: %v, %v", value, &s, err)
		}
	}
	for _, value := range []string{"", "soon", "-5m", "-1", "1d", "99999999999", "1e3", "876000h"} {
		s := span(time.Hour)
		if err := s.Set(value); err == nil || time.Duration(s) != time.Hour {
			t.Errorf("%q is %v", value, &s)
		}
	}
}
