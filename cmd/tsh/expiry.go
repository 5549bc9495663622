package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

const (
	expiryVariable = "TSH_EXPIRY_WARNING"
	expiryWarning  = 10 * time.Minute // where the variable says nothing else
)

// span is a stretch of time as a flag or a variable has it: 30m, 1h30m, or a plain
// number of minutes, as --ttl takes them.
type span time.Duration

func (s *span) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

// Type implements pflag.Value.
func (s *span) Type() string { return "duration" }

// Set implements pflag.Value.
func (s *span) Set(value string) error {
	const limit = 10 * 366 * 24 * time.Hour
	d, err := time.ParseDuration(value)
	if n, numErr := strconv.ParseUint(value, 10, 32); numErr == nil {
		d, err = time.Duration(n)*time.Minute, nil
	}
	if err != nil || d < 0 || d > limit {
		return errors.New("a time like 30m, 1h30m or 90 (minutes) is needed")
	}
	*s = span(d)
	return nil
}

// warnExpiry tells a person at a terminal that the stored login they are using ends
// soon. Programs have --if-expires-within.
func (a *app) warnExpiry(p *profile.Profile, id *keystore.Identity) {
	if a.globals.json || !term.IsTerminal(int(a.io.err.Fd())) {
		return
	}
	limit := span(expiryWarning)
	if value := os.Getenv(expiryVariable); value != "" {
		if err := limit.Set(value); err != nil {
			a.ui.warn("%s=%s: %v, or 0 for no warning", expiryVariable, text.Line(value), err)
		}
	}
	end, ok := id.Expiry()
	left := end.Sub(a.now())
	if !ok || left >= time.Duration(limit) {
		return
	}
	a.ui.warn("the login of %s at %s ends in %s; tsh login --force --proxy=%s renews it", p.User, p.Name, remaining(left), p.Name)
}

// lasts reports whether a login that is valid now is so for as long as is wanted.
func (a *app) lasts(id *keystore.Identity, wanted span) bool {
	end, ok := id.Expiry()
	return !ok || end.Sub(a.now()) >= time.Duration(wanted)
}

// describeLogin is a stored login in half a line.
func (a *app) describeLogin(p *profile.Profile, id *keystore.Identity) string {
	end, _ := id.Expiry()
	return fmt.Sprintf("%s at cluster %s through %s, valid for %s", text.Line(p.User), text.Line(p.Cluster), p.WebProxyAddr, remaining(end.Sub(a.now())))
}
