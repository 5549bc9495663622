package main

import (
	"os"
	"runtime"

	"github.com/seed-087d674e/tsh/profile"
)

// canAsk reports whether a login can go on here: whether there is a terminal, or the
// cluster needs none because it logs people in through their browser and there is one.
// A process that has neither says so at once, before the network is asked for anything.
func (a *app) canAsk(t *loginTarget) bool {
	return t.passwordStdin || haveTTY() || !needsTerminal(a.globals.auth, t.known) && haveBrowser(runtime.GOOS, os.Getenv)
}

// needsTerminal reports whether the way to log in, by --auth or else as last time, asks
// for something on a terminal. Where it is not known it may.
func needsTerminal(auth string, known *profile.Profile) bool {
	switch {
	case auth == "local" || auth == "passwordless":
		return true
	case auth != "":
		return false
	}
	return known == nil || known.AuthConnector == "passwordless" || takesPassword(known)
}

// haveBrowser reports whether a page can probably be shown to the person: whether they
// have named a browser, or there is a desktop.
func haveBrowser(system string, getenv func(string) string) bool {
	for _, name := range []string{"TELEPORT_LOGIN_BROWSER", "BROWSER"} {
		if browser := getenv(name); browser != "" {
			return browser != "none"
		}
	}
	if system == "windows" || system == "darwin" {
		return true
	}
	for _, name := range []string{"DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "WSL_INTEROP"} {
		if getenv(name) != "" {
			return true
		}
	}
	return false
}
