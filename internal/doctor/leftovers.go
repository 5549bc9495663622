package doctor

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// leftBehind looks for what killed processes of ours left.
func (e *exam) leftBehind() {
	paths := durable.Leftovers(e.Home)
	if len(paths) == 0 {
		e.ok(checkLeftovers, e.abs("config/tsh"), "no process was killed while it stored something")
		return
	}
	var failed error
	var still []string
	if e.Fix {
		var tx *durable.Tx // opening one finishes and clears away
		tx, failed = durable.Begin(e.ctx, e.Home)
		tx.Close()
		still = durable.Leftovers(e.Home)
	}
	for _, path := range paths {
		f := Finding{Check: checkLeftovers, Status: Warning, Subject: path, Message: "was left by a killed process"}
		if filepath.Base(path) == "journal" {
			f.Message = "a killed process has not finished its change; other clients do not see it yet"
		}
		e.repair(f, func() error {
			if failed == nil && slices.Contains(still, path) {
				return errors.New("it is still there")
			}
			return failed
		})
	}
}

// emptyKeys looks for the empty key files that other clients make when they only look,
// and for the file with which they say that somebody logs in.
func (e *exam) emptyKeys() {
	good := true
	report := func(rel, message, hint string) {
		good = false
		f := Finding{Check: checkLeftovers, Status: Warning, Subject: e.abs(rel), Message: message, Hint: hint}
		if hint != "" {
			e.add(f)
			return
		}
		e.repair(f, func() error { return e.removeEmpty(rel) })
	}
	for _, proxy := range e.proxyDirs() {
		dir := "keys/" + proxy + "/"
		users, err := keystore.Dir{Home: e.Home}.Users(proxy)
		if err != nil {
			continue // the finding of the logins there
		}
		for _, user := range users {
			for _, suffix := range []string{"", keySuffix} {
				if isOldAndEmpty(e.abs(dir + user + suffix)) {
					report(dir+user+suffix, "is empty: another client made it to lock it", "")
				}
			}
		}
		if sentinel := dir + kubeLock; isOldAndEmpty(e.abs(sentinel)) {
			report(sentinel, "another client was stopped while it logged in; it refuses to log in for Kubernetes", "tsh login --force --proxy="+proxy)
		}
	}
	if good {
		e.ok(checkLeftovers, e.abs("keys"), "other clients left no empty keys")
	}
}

// orphanSlots looks for entries in the keyring that no login needs.
func (e *exam) orphanSlots() {
	slots := e.store.OrphanSlots()
	if len(slots) == 0 {
		e.ok(checkLeftovers, "keyring", "no entry of ours is without its login")
		return
	}
	var left []string
	if e.Fix {
		e.notices = nil
		left = e.store.FreeSlots(e.ctx, slots)
	}
	for _, slot := range slots {
		f := Finding{Check: checkLeftovers, Status: Warning, Subject: "keyring entry " + slot, Message: "no login needs it any more"}
		e.repair(f, func() error {
			if slices.Contains(left, slot) {
				return errors.New(strings.Join(e.notices, "; "))
			}
			return nil
		})
	}
}

// Locks that are held for longer than this are worth a word: a login takes some
// milliseconds.
const (
	lockPatience = time.Second
	lockRetry    = 50 * time.Millisecond
)

// locks looks for locks that somebody holds.
func (e *exam) locks() {
	paths := []string{"known_hosts"}
	for _, l := range e.logins {
		paths = append(paths, l.rel(keySuffix), "keys/"+l.proxy+"/"+kubeLock)
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	held := durable.Locks(e.Home, paths...)
	for waited := time.Duration(0); len(held) > 0 && waited < lockPatience && e.ctx.Err() == nil; waited += lockRetry {
		e.pause(lockRetry)
		held = durable.Locks(e.Home, paths...)
	}
	for _, l := range held {
		who := l.Holder
		if who == "" {
			who = "another process"
		}
		e.add(Finding{Check: checkLocks, Status: Warning, Subject: l.Path,
			Message: fmt.Sprintf("is locked by %s, for longer than %v", who, lockPatience),
			Hint:    "wait for it, or end it"})
	}
	if len(held) == 0 {
		e.ok(checkLocks, e.Home, "nobody holds a lock")
	}
}

func (e *exam) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.ctx.Done():
	}
}

// proxyDirs are the proxies with a directory for keys, as far as they are wanted.
func (e *exam) proxyDirs() []string {
	all, err := keystore.Dir{Home: e.Home}.Proxies()
	if err != nil {
		return nil // the finding of the directory
	}
	return slices.DeleteFunc(all, func(name string) bool { return !e.wanted(name) && !e.isHostOfName(name) })
}
