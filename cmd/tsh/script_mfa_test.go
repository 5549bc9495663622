package main

import (
	"image/color"
	"regexp"
	"strconv"
	"strings"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"
)

// newCode is the answer that stands for a code of the new device.
const newCode = "%n"

// codeOfNewDevice makes the code of the moment, and Enter, of the secret that the
// terminal has shown: it scans the QR code as an app does, and where none is
// shown it reads the secret below, as a person does who types it in.
func (w *world) codeOfNewDevice(ts *testscript.TestScript, terminal string) string {
	terminal = strings.ReplaceAll(terminal, "\r\n", "\n")
	if shown := regexp.MustCompile(`(?m)^  Secret: +([A-Z2-7]+)$`).FindAllStringSubmatch(terminal, -1); len(shown) > 0 {
		w.secret = shown[len(shown)-1][1]
	}
	if drawing := regexp.MustCompile(`\n\n((?:[▀▄█ ]+\n)+)\n`).FindStringSubmatch(terminal); drawing != nil {
		link, err := scan(drawing[1], terminalColours{text: color.Gray{200}, background: color.Gray{20}})
		ts.Check(err)
		key, err := otp.NewKeyFromURL(link)
		ts.Check(err)
		if key.Secret() != w.secret || key.Issuer() != "dev.example" || key.AccountName() != "alice@localhost" || key.Period() != 30 {
			ts.Fatalf("the QR code is of another device: %s", link)
		}
		w.scanned++
	}
	code, err := totp.GenerateCode(w.secret, w.clock.now())
	ts.Check(err)
	w.codes = append(w.codes, code)
	return code + "\r"
}

// scans fails unless that many QR codes were scanned: scans NUMBER.
func (w *world) scans(ts *testscript.TestScript, _ bool, args []string) {
	if got := strconv.Itoa(w.scanned); got != args[0] {
		ts.Fatalf("%s QR codes were scanned, want %s", got, args[0])
	}
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
