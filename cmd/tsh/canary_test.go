package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// watched runs scripts as testing.T does, and searches everything that a script
// and the programs it ran have printed for secrets: passwords and the like of
// tests are canaries, codes are those that were given.
// case L23
type watched struct {
	*testing.T
	world *world // of the script that runs, once it has one
}

// Run implements testscript.T.
func (t *watched) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(&watched{T: t}) })
}

// Verbose implements testscript.T. What is printed comes whole only to those who
// are verbose.
func (t *watched) Verbose() bool { return true }

// Log implements testscript.T; it gets the log of the whole script.
func (t *watched) Log(args ...any) {
	t.Helper()
	log := fmt.Sprint(args...)
	if t.world != nil {
		for _, secret := range t.world.shownIn(withoutCommands(log)) {
			t.Errorf("the output of this script holds %s", secret)
		}
	}
	if testing.Verbose() || t.Failed() {
		t.T.Log(log)
	}
}

// withoutCommands is the log of a script without the script's own lines.
func withoutCommands(log string) string {
	var said strings.Builder
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "> ") {
			said.WriteString(line)
		}
	}
	return said.String()
}

// FailNow implements testscript.T; the log is printed before.
func (t *watched) FailNow() { t.T.FailNow() }

// shownIn names the secrets of this world that text shows.
func (w *world) shownIn(text string) []string {
	found := shownIn(text)
	if w.keysMeant {
		found = slices.DeleteFunc(found, func(s string) bool { return !strings.Contains(s, canary) })
	}
	for _, code := range w.codes {
		for _, before := range []string{" ", "=", `"`, ":"} {
			if strings.Contains(text, before+code) {
				found = append(found, "the one-time code "+code)
				break
			}
		}
	}
	return found
}

// printsKey says that this script has a private key printed on purpose.
func (w *world) printsKey(*testscript.TestScript, bool, []string) { w.keysMeant = true }

// shownIn names the secrets that text shows.
func shownIn(text string) []string {
	var found []string
	for _, mark := range []string{canary, "PRIVATE KEY-----"} {
		if i := strings.Index(text, mark); i >= 0 {
			found = append(found, fmt.Sprintf("%q", text[max(0, i-60):min(len(text), i+len(mark)+30)]))
		}
	}
	return found
}

// noSecretIn fails the test if an output of the program shows a secret.
func noSecretIn(t *testing.T, output string) {
	t.Helper()
	for _, secret := range shownIn(output) {
		t.Errorf("the program's output holds %s", secret)
	}
}

// watchedScreen is the screen of a terminal on which no secret may be shown.
func watchedScreen(t *testing.T, f *os.File) *screen {
	s := newScreen(f)
	t.Cleanup(func() { noSecretIn(t, s.text()) })
	return s
}

// A search that finds nothing proves nothing if it cannot find.
func TestSecretsAreFound(t *testing.T) {
	w := &world{codes: []string{"123456"}}
	for text, want := range map[string]bool{
		"level=DEBUG pass=" + canary + "x":         true,
		"-----BEGIN EC PRIVATE KEY-----":           true,
		`{"totp_code":"123456"}`:                   true,
		"code 123456":                              true,
		"9123456 bytes; a password; a PRIVATE KEY": false,
	} {
		if got := len(w.shownIn(text)) > 0; got != want {
			t.Errorf("%q: found is %v", text, got)
		}
	}
}
