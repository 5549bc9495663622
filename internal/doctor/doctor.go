// Package doctor looks for what is wrong with a profile directory and with what the
// logins in it depend on: the keyring, the ssh-agent, the clock, the proxies. It
// repairs what can be repaired without losing a login that is valid. Use Run.
//
// What it looks at may be damaged in any way. Every file is bounded, links and pipes
// are not followed, nothing is waited for longer than its limit, and one damage does
// not hide another.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
)

// Status says how bad a finding is.
type Status string

// A warning is something that ends by itself or with the next login, or that only
// other clients stumble over; a problem is something that does not work or is not safe.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Problem Status = "problem"
)

// Finding is what a check found out about one thing. Text in it may come from files and
// servers as it is.
type Finding struct {
	_       [0]func() // never compared
	Check   string    `json:"check"` // see docs/doctor.md
	Status  Status    `json:"status"`
	Subject string    `json:"subject"` // a path, or a name
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"` // what to do about it
	Fixed   bool      `json:"fixed"`          // it is as said no more

	// Cause is the error behind it, if it is one of the proxy.
	Cause error `json:"-"`
}

// Left reports whether there is something left to do.
func (f *Finding) Left() bool { return f.Status != OK && !f.Fixed }

// Options say what to look at.
type Options struct {
	Home string
	// Name limits what is looked at of profiles, logins and proxies to one profile.
	Name string
	// Addr is where the proxy of that profile is reached, if it has a port; also the
	// one to ask where there is no such profile.
	Addr proxy.Addr
	Fix  bool
	Now  func() time.Time // the clock that certificates are judged by; nil for time.Now
	// Keyring opens sealed keys; nil for the operating system's.
	Keyring keystore.Keyring
	// Proxy is how proxies are asked; its address does not count.
	Proxy proxy.Options
}

// The checks, in the order of their findings.
const (
	checkDirectory = "directory"
	checkLeftovers = "leftovers"
	checkModes     = "modes"
	checkCurrent   = "current-profile"
	checkProfile   = "profile"
	checkLogin     = "login"
	checkExpiry    = "expiry"
	checkClock     = "clock"
	checkTrust     = "authorities"
	checkLocks     = "locks"
	checkKeyring   = "keyring"
	checkAgent     = "ssh-agent"
	checkProxy     = "proxy"
)

func checks() []string {
	return []string{
		checkDirectory, checkLeftovers, checkModes, checkCurrent, checkProfile, checkLogin, checkExpiry,
		checkClock, checkTrust, checkLocks, checkKeyring, checkAgent, checkProxy,
	}
}

const (
	hintFix   = "tsh doctor --fix"
	hintOwner = "only that user or root can mend it"
	// maxFindings is how many findings of a check are listed that are not ok.
	maxFindings = 50
	// tooYoung is the age below which an empty file may be one that is being written.
	tooYoung = time.Minute
)

// Run makes all checks and returns what they found, in the order of the checks. When
// ctx ends it returns early with what there is.
func Run(ctx context.Context, o Options) []Finding {
	e := newExam(ctx, o)
	defer e.ring.forget()
	usable := e.directory()
	if usable {
		e.leftBehind()
		e.modes()
		e.emptyKeys()
		e.readProfiles()
	} else {
		e.nameWithoutProfile()
	}
	asked := e.askProxies()
	e.agent()
	if usable {
		e.readLogins()
		e.currentProfile()
		e.authorities()
		e.orphanSlots()
		e.locks()
		e.keyring()
	}
	e.proxies(asked())
	return e.sorted()
}

// exam is one run.
type exam struct {
	Options
	ctx   context.Context
	now   time.Time
	store *profile.Store
	ring  *ring

	findings []Finding
	bad      map[string]int // findings that are not ok, by check
	notices  []string       // of the store, while something is repaired

	names    []string // of profile files
	profiles []*profile.Profile
	logins   []*login
	held     []sshagent.Held
	agentErr error
}

func newExam(ctx context.Context, o Options) *exam {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Keyring == nil {
		o.Keyring = keyring.System{}
	}
	e := &exam{Options: o, ctx: ctx, now: o.Now(), ring: &ring{of: o.Keyring}, bad: map[string]int{}}
	e.store = profile.OpenWith(o.Home, e.ring)
	e.store.Notice = func(message string) { e.notices = append(e.notices, message) }
	return e
}

// add notes a finding; beyond maxFindings they are only counted.
func (e *exam) add(f Finding) {
	if f.Status != OK {
		if e.bad[f.Check]++; e.bad[f.Check] > maxFindings {
			return
		}
	}
	e.findings = append(e.findings, f)
}

func (e *exam) ok(check, subject, message string) {
	e.add(Finding{Check: check, Status: OK, Subject: subject, Message: message})
}

// repair notes a finding, after trying to put right what it says if that is wanted.
func (e *exam) repair(f Finding, how func() error) {
	switch {
	case !e.Fix:
		if f.Hint == "" {
			f.Hint = hintFix
		}
	case e.ctx.Err() != nil:
		f.Message += "; not repaired: interrupted"
	default:
		if err := how(); err != nil {
			f.Message += "; it could not be repaired: " + err.Error()
		} else {
			f.Fixed, f.Hint = true, ""
		}
	}
	e.add(f)
}

// sorted returns the findings by check, those of one check in the order they came.
func (e *exam) sorted() []Finding {
	var sorted []Finding
	for _, check := range checks() {
		for _, f := range e.findings {
			if f.Check == check {
				sorted = append(sorted, f)
			}
		}
		if more := e.bad[check] - maxFindings; more > 0 {
			sorted = append(sorted, Finding{Check: check, Status: Warning, Subject: e.Home,
				Message: fmt.Sprintf("there are %d more findings of this check", more)})
		}
	}
	return sorted
}

// wanted reports whether the profile name is to be looked at.
func (e *exam) wanted(name string) bool { return e.Name == "" || e.Name == name }

// removeEmpty removes an empty file of another client, unless somebody is about to
// fill it.
func (e *exam) removeEmpty(rel string) error {
	tx, err := durable.Begin(e.ctx, e.Home)
	if err != nil {
		tx.Close()
		return err
	}
	defer tx.Close()
	release, free := durable.TryShared(e.abs(rel))
	defer release()
	if !free || !isOldAndEmpty(e.abs(rel)) {
		return errors.New("somebody is writing it")
	}
	tx.Remove(rel)
	return tx.Commit()
}
