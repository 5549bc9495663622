package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

const yamlSuffix = ".yaml"

// readProfiles looks at every profile file.
func (e *exam) readProfiles() {
	names, err := e.store.List()
	if err != nil {
		e.add(Finding{Check: checkProfile, Status: Problem, Subject: e.Home, Message: err.Error()})
		return
	}
	e.names = names
	e.oddProfiles()
	if e.Name != "" && !slices.Contains(names, e.Name) {
		e.nameWithoutProfile()
		return
	}
	for _, name := range names {
		if e.wanted(name) {
			e.readProfile(name)
		}
	}
	if len(names) == 0 {
		e.ok(checkProfile, e.Home, "there is no profile; the first login makes one")
	}
}

// nameWithoutProfile reports that the profile asked for is not there.
func (e *exam) nameWithoutProfile() {
	if e.Name != "" {
		e.add(Finding{Check: checkProfile, Status: Warning, Subject: e.Name, Message: "there is no profile of this name",
			Hint: "log in: tsh login --proxy=" + e.Name})
	}
}

// oddProfiles looks for files that are named like profiles and cannot be some.
func (e *exam) oddProfiles() {
	for _, file := range listDir(e.Home) {
		name, ok := strings.CutSuffix(file, yamlSuffix)
		if !ok || slices.Contains(e.names, name) || !e.wanted(name) {
			continue
		}
		info, err := os.Lstat(e.abs(file))
		if err != nil {
			continue // it is gone
		}
		message := "is no profile: it is not a regular file"
		if info.Mode().IsRegular() {
			if err = keystore.CheckName("proxy", name); err == nil {
				continue // it has just been made
			}
			message = "is no profile: " + err.Error()
		}
		e.add(Finding{Check: checkProfile, Status: Warning, Subject: e.abs(file), Message: message,
			Hint: "remove it, or move it elsewhere"})
	}
}

func (e *exam) readProfile(name string) {
	path := e.abs(name + yamlSuffix)
	f := Finding{Check: checkProfile, Status: Problem, Subject: path}
	_, err := durable.CheckOwners(path)
	var p *profile.Profile
	if err == nil {
		p, err = e.store.Load(name)
	}
	switch {
	case errors.Is(err, profile.ErrDamaged), errors.Is(err, profile.ErrNotFound):
		f.Hint = "log in again: tsh login --proxy=" + name
	case err == nil && p.Host() != name:
		f.Status, f.Message = Warning, fmt.Sprintf("is for the proxy %q: other clients look for its keys under that name", p.Host())
		f.Hint = "log in again: tsh login --proxy=" + p.Host()
	}
	if p != nil {
		e.profiles = append(e.profiles, p)
	}
	switch {
	case err != nil:
		f.Message = err.Error()
	case f.Message == "":
		e.ok(checkProfile, path, "can be read")
		return
	}
	e.add(f)
}

// isHostOfName reports whether host is the key directory of the profile asked for.
func (e *exam) isHostOfName(host string) bool {
	for _, p := range e.profiles {
		if p.Name == e.Name && p.Host() == host {
			return true
		}
	}
	return false
}

// currentProfile looks whether there is one that commands can use. Which one is the
// current one decides where commands go, so that it is chosen only where there is no
// choice.
func (e *exam) currentProfile() {
	if e.Name != "" {
		return // it does not count for what was asked
	}
	f := Finding{Check: checkCurrent, Status: Problem, Subject: filepath.Join(e.Home, "current-profile")}
	name, err := e.store.Current()
	switch {
	case err == nil && slices.Contains(e.names, name):
		e.ok(checkCurrent, f.Subject, "names the profile "+name)
		return
	case err == nil:
		f.Message = fmt.Sprintf("names the profile %q, which does not exist", name)
	case errors.Is(err, profile.ErrNoCurrent) && len(e.names) == 0:
		e.ok(checkCurrent, f.Subject, "nobody has logged in yet")
		return
	case errors.Is(err, profile.ErrNoCurrent):
		f.Status, f.Message = Warning, "there is no current profile: every command needs --proxy"
	default:
		f.Message = err.Error()
	}
	f.Hint = "choose one: tsh login --proxy=HOST"
	only := e.onlyValid()
	if only == "" {
		e.add(f)
		return
	}
	f.Message += fmt.Sprintf("; %s is the only one with a valid login", only)
	f.Hint = hintFix
	e.repair(f, func() error { return e.store.Select(e.ctx, only) })
}

// onlyValid is the name of the only profile with a login that is valid now, or "".
func (e *exam) onlyValid() (name string) {
	for _, l := range e.logins {
		if l.profile == nil || !l.valid {
			continue
		}
		if name != "" {
			return ""
		}
		name = l.profile.Name
	}
	return name
}
