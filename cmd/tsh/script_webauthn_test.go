package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// envTestKeys lists the files of the security keys that are plugged in.
const envTestKeys = "TSH_TEST_KEYS"

// programsUnderTest are the programs that scripts find in their PATH: tsh, and
// what comes with libfido2 for keys that are files, and a browser.
func programsUnderTest() map[string]func() {
	return map[string]func(){
		"tsh":          main,
		"fido2-token":  softkey.TokenMain,
		"fido2-assert": softkey.AssertMain,
		"fido2-cred":   softkey.CredMain,
		"fakebrowser":  fakeBrowser,
		"talk":         talk,
	}
}

// securityKey plugs in a security key: securitykey FILE [user=NAME] [passwordless]
// [pin=PIN] [notouch|touch] [out]. It is registered with the newest cluster for the
// user; without one with nobody. A key that is there already is registered for
// one more user. notouch is a person who does not touch it, touch one who does
// again, out unplugs it.
func (w *world) securityKey(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	k, err := softkey.Load(path)
	ts.Check(err)
	user, passwordless := "", false
	plugged := filepath.SplitList(ts.Getenv(envTestKeys))
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "user":
			user = value
		case "passwordless":
			passwordless = true
		case "pin":
			k.PIN = value
		case "notouch":
			ts.Check(os.WriteFile(path+softkey.Untouched, nil, 0o600))
		case "touch":
			ts.Check(os.Remove(path + softkey.Untouched))
		case "out":
			ts.Setenv(envTestKeys, strings.Join(slices.DeleteFunc(plugged, func(p string) bool { return p == path }), string(filepath.ListSeparator)))
			return
		default:
			ts.Fatalf("securitykey: %q", arg)
		}
	}
	if user != "" {
		c := w.newest()
		options, err := c.BeginRegistration(user, passwordless)
		ts.Check(err)
		answer, err := k.Create("https://"+c.PublicAddr(), options)
		ts.Check(err)
		ts.Check(c.FinishRegistration(user, filepath.Base(path), answer))
	}
	ts.Check(k.Save(path))
	if !slices.Contains(plugged, path) {
		ts.Setenv(envTestKeys, strings.Join(append(plugged, path), string(filepath.ListSeparator)))
	}
}
