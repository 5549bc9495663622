package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"rsc.io/qr/coding"
)

// quietZone is the light margin that a QR code needs on each side, in modules.
const quietZone = 4

// qrCode is a QR code as squares: dark ones and light ones, with the margin.
type qrCode struct {
	code *coding.Code
	size int // with the margin
}

// newQR encodes s in the smallest code that holds it.
func newQR(s string) (*qrCode, error) {
	const level = coding.L
	data := coding.String(s)
	for version := coding.Version(1); version <= 40; version++ {
		if data.Bits(version) > 8*version.DataBytes(level) {
			continue
		}
		plan, err := coding.NewPlan(version, level, 0)
		if err != nil {
			return nil, err
		}
		code, err := plan.Encode(data)
		if err != nil {
			return nil, err
		}
		return &qrCode{code, code.Size + 2*quietZone}, nil
	}
	return nil, fmt.Errorf("%d bytes are too many for a QR code", len(s))
}

func (q *qrCode) dark(x, y int) bool { return q.code.Black(x-quietZone, y-quietZone) }

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
