package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/qr"
	"github.com/seed-087d674e/tsh/internal/text"
)

// quietZone is the light margin that a QR code needs on each side, in modules.
const quietZone = 4

// qrCode is a QR code with the margin around it.
type qrCode struct {
	code *qr.Code
	size int // with the margin
}

func newQR(s string) (*qrCode, error) {
	code, err := qr.Encode([]byte(s))
	if err != nil {
		return nil, err
	}
	return &qrCode{code, code.Size + 2*quietZone}, nil
}

func (q *qrCode) dark(x, y int) bool { return q.code.Dark(x-quietZone, y-quietZone) }

// draw is the code in half blocks, two rows of squares to a line. In colour it
// is black on white whatever the terminal's colours are. Without, the light
// squares are drawn and the dark ones left, which is right on a dark background
// and the negative on a light one.
func (q *qrCode) draw(colour bool) string {
	const blackOnWhite, reset = "\x1b[38;5;16;48;5;231m", "\x1b[0m"
	blocks := [4]string{" ", "▀", "▄", "█"} // nothing, top, bottom, both
	var b strings.Builder
	for y := 0; y < q.size; y += 2 {
		if colour {
			b.WriteString(blackOnWhite)
		}
		for x := range q.size {
			ink := 0
			if q.dark(x, y) == colour {
				ink |= 1
			}
			if q.dark(x, y+1) == colour {
				ink |= 2
			}
			b.WriteString(blocks[ink])
		}
		if colour {
			b.WriteString(reset)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// drawsBlocks reports whether the terminal is one that shows half blocks, going
// by the environment: a terminal is never asked.
func drawsBlocks() bool {
	if os.Getenv("TERM") == "dumb" {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(os.Getenv(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin" // where that is not said with variables
}

// drawSecret is the secret of one-time codes for the eyes of the person: as a QR
// code, where the terminal can show one, and in any case as what an app asks for
// that has no camera. columns is the terminal's width, 0 if it is not known.
func drawSecret(s *mfa.Secret, columns int, colour bool) string {
	var b strings.Builder
	code, err := newQR(s.URL())
	switch {
	case err != nil || !drawsBlocks():
		b.WriteString("Enter this in your authenticator app:\n")
	case columns > 0 && columns < code.size:
		fmt.Fprintf(&b, "Enter this in your authenticator app (a QR code needs a terminal of %d columns):\n", code.size)
	default:
		b.WriteString("Scan this with your authenticator app:\n\n" + code.draw(colour) + "\nor enter it there:\n")
	}
	for _, field := range [][2]string{
		{"URL", s.URL()},
		{"Account", s.Account},
		{"Secret", s.Base32},
		{"Issuer", s.Issuer},
		{"Algorithm", s.Algorithm},
		{"Digits", strconv.Itoa(s.Digits)},
		{"Period", strconv.Itoa(s.Period) + "s"},
	} {
		fmt.Fprintf(&b, "  %-10s %s\n", field[0]+":", text.Line(field[1]))
	}
	return b.String()
}
