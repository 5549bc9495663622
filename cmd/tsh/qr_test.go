package main

import (
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/qr"
)

// terminalColours are what a terminal shows text in.
type terminalColours struct{ text, background color.Gray }

// photograph is what a camera sees of a drawing on a terminal: each character
// cell is two squares, one above the other, of several pixels each.
func photograph(t *testing.T, drawing string, c terminalColours) image.Image {
	t.Helper()
	const pixels = 4
	const blackOnWhite, reset = "\x1b[38;5;16;48;5;231m", "\x1b[0m"
	lines := strings.Split(strings.TrimSuffix(drawing, "\n"), "\n")
	plain := func(line string) string { return strings.TrimSuffix(strings.TrimPrefix(line, blackOnWhite), reset) }
	columns := len([]rune(plain(lines[0])))
	const margin = 3 // of the terminal around it
	img := image.NewGray(image.Rect(0, 0, (columns+2*margin)*pixels, 2*(len(lines)+2*margin)*pixels))
	for i := range img.Pix {
		img.Pix[i] = c.background.Y
	}
	for row, line := range lines {
		text, background := c.text, c.background
		if strings.HasPrefix(line, blackOnWhite) {
			if !strings.HasSuffix(line, reset) {
				t.Fatal("a line leaves its colours to what comes after")
			}
			text, background = color.Gray{0}, color.Gray{255}
		}
		if got := len([]rune(plain(line))); got != columns {
			t.Fatalf("line %d has %d columns, the first %d", row, got, columns)
		}
		for column, block := range []rune(plain(line)) {
			top, bottom := background, background
			switch block {
			case '█':
				top, bottom = text, text
			case '▀':
				top = text
			case '▄':
				bottom = text
			case ' ':
			default:
				t.Fatalf("%q is no half block", block)
			}
			for y := range 2 * pixels {
				shade := top
				if y >= pixels {
					shade = bottom
				}
				for x := range pixels {
					img.SetGray((column+margin)*pixels+x, 2*(row+margin)*pixels+y, shade)
				}
			}
		}
	}
	return img
}

// scan reads a picture as an authenticator app does.
func scan(img image.Image) (string, error) {
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return "", err
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		return "", err
	}
	return result.GetText(), nil
}

// Codes of all lengths are read back by a decoder that is not ours.
func TestQRCodesAreRead(t *testing.T) {
	white, black := color.Gray{255}, color.Gray{0}
	dark := terminalColours{text: color.Gray{200}, background: color.Gray{20}}
	light := terminalColours{text: color.Gray{30}, background: color.Gray{240}}
	reddish := terminalColours{text: color.Gray{90}, background: color.Gray{110}} // nearly no contrast
	secret := mfa.Secret{
		Base32: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", Issuer: "dev.example", Account: "alice@localhost",
		Algorithm: "SHA1", Digits: 6, Period: 30,
	}
	urls := []string{secret.URL()}
	for n := 1; n <= qr.MaxBytes; n += 17 {
		urls = append(urls, "otpauth://"[:min(n, 10)]+strings.Repeat("Ab3%/ü.", n)[:max(0, n-10)])
	}
	urls = append(urls, strings.Repeat("x", qr.MaxBytes))
	for _, url := range urls {
		url = strings.ToValidUTF8(url, "?")
		q, err := newQR(url)
		if err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			colour   bool
			terminal terminalColours
		}{
			"in colour on a dark terminal":         {true, dark},
			"in colour on a light terminal":        {true, light},
			"in colour on one without contrast":    {true, reddish},
			"without colour on a dark terminal":    {false, dark},
			"without colour, white on black":       {false, terminalColours{white, black}},
			"without colour, what invert makes it": {false, terminalColours{light.background, light.text}},
		} {
			if got, err := scan(photograph(t, q.draw(tt.colour), tt.terminal)); err != nil || got != url {
				t.Errorf("%d bytes %s: %q, %v", len(url), name, got, err)
			}
		}
	}
	if _, err := newQR(strings.Repeat("x", qr.MaxBytes+1)); err == nil {
		t.Error("more was encoded than a code holds")
	}
}

// What the person sees besides the code is what an app wants, made safe.
func TestDrawSecret(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm")
	secret := &mfa.Secret{
		Base32: "CANARYSECRET", Issuer: "dev\x1b[2J.example", Account: "alice@localhost", // case T01
		Algorithm: "SHA256", Digits: 8, Period: 60,
	}
	shown := drawSecret(secret, 100, false)
	for _, want := range []string{
		"Scan this", "█", "  Secret:    CANARYSECRET\n", "  Account:   alice@localhost\n", `  Issuer:    dev\x1b[2J.example` + "\n",
		"  Algorithm: SHA256\n", "  Digits:    8\n", "  Period:    60s\n", "  URL:       otpauth://totp/dev%1B%5B2J.example:alice@localhost?algorithm=SHA256&digits=8&",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing in\n%s", want, shown)
		}
	}
	if strings.Contains(shown, "\x1b") {
		t.Error("text of the server reached the terminal as it was")
	}
	if narrow := drawSecret(secret, 20, true); strings.Contains(narrow, "█") || !strings.Contains(narrow, "CANARYSECRET") || !strings.Contains(narrow, "columns") {
		t.Errorf("on a terminal that is too narrow:\n%s", narrow)
	}
	t.Setenv("LC_ALL", "C")
	if plain := drawSecret(secret, 100, true); strings.Contains(plain, "█") || strings.Contains(plain, "\x1b") {
		t.Errorf("on a terminal without UTF-8:\n%s", plain)
	}
}
