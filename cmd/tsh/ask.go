package main

import "github.com/seed-087d674e/tsh/profile"

// canAsk reports whether a login can go on here: whether there is a terminal, or the
// cluster needs none because it logs people in through their browser and there is one.
// A process that has neither says so at once, before the network is asked for anything.
func (a *app) canAsk(t *loginTarget) bool {
	return t.passwordStdin || haveTTY() || !needsTerminal(a.globals.auth, t.known) && a.canBrowse()
}

// wantsLink reports whether somebody has asked for the link that begins a login in the
// browser: they need no terminal, because they read what is printed elsewhere.
func (a *app) wantsLink(t *loginTarget) bool {
	return a.opener().none && !needsTerminal(a.globals.auth, t.known)
}

// needsTerminal reports whether the way to log in, by --auth or else as last time, asks
// for something on a terminal. Where it is not known the proxy will say.
func needsTerminal(auth string, known *profile.Profile) bool {
	switch {
	case auth == "local" || auth == "passwordless":
		return true
	case auth != "":
		return false
	}
	return known != nil && (known.AuthConnector == "passwordless" || takesPassword(known))
}
