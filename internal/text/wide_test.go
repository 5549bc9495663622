package text

import (
	"testing"
	"unicode"

	"golang.org/x/text/width"
)

func TestWideRunes(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		kind := width.LookupRune(r).Kind()
		if want := kind == width.EastAsianWide || kind == width.EastAsianFullwidth; isWide(r) != want {
			t.Fatalf("%U is wide: %v, want %v", r, !want, want)
		}
	}
}
