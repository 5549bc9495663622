package main

import (
	"regexp"
	"strings"

	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"
)

// newCode is the answer that stands for a code of the new device.
const newCode = "%n"

// codeOfNewDevice reads the secret off the terminal, as a person does who types
// it in, and makes the code of the moment and Enter of it.
func (w *world) codeOfNewDevice(ts *testscript.TestScript, terminal string) string {
	shown := regexp.MustCompile(`(?m)^  Secret: +([A-Z2-7]+)\r?$`).FindAllStringSubmatch(terminal, -1)
	if len(shown) > 0 {
		w.secret = shown[len(shown)-1][1]
	}
	code, err := totp.GenerateCode(w.secret, w.clock.now())
	ts.Check(err)
	w.codes = append(w.codes, code)
	return code + "\r"
}

// device renames the devices of a user behind everybody's back, as a cluster
// might that is not to be trusted: device USER NAME.
func (w *world) device(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(w.newest().RenameDevices(args[0], unescape(args[1])))
}

// noDevices takes all second factors from a user: nodevices USER.
func (w *world) noDevices(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(w.newest().RemoveDevices(args[0]))
}

// noSecret fails if a file holds the secret of the new device: nosecret FILE…
func (w *world) noSecret(ts *testscript.TestScript, _ bool, args []string) {
	if w.secret == "" {
		ts.Fatalf("no device for codes was added yet")
	}
	for _, name := range args {
		for _, what := range []string{w.secret, "otpauth", "▀"} {
			if strings.Contains(ts.ReadFile(name), what) {
				ts.Fatalf("%s holds the secret:\n%s", name, ts.ReadFile(name))
			}
		}
	}
}
