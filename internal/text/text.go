// Package text makes text from elsewhere safe to show.
//
// A server, a node or a file can put escape sequences, cursor movements, text
// direction overrides or invisible characters into any string it hands to us.
// Printed as they are, they rewrite what the person sees. Clean and Line turn
// everything a terminal could act on into a visible form; machine output
// (JSON, YAML) carries the exact value instead and does not pass through here.
package text

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s with every character that a terminal could act on, and every
// one that shows as nothing or as a blank without being a space, written in
// Go's escaped form (\x1b, \u202e, \U000e0041). Newlines and tabs keep the
// layout; a carriage return before a newline is dropped. Bytes that are not
// UTF-8 appear as \xNN.
func Clean(s string) string {
	if strings.Contains(s, "\r\n") {
		s = strings.ReplaceAll(s, "\r\n", "\n")
	}
	return escape(s, true)
}

// Line is Clean for text that must stay on one line: newlines, carriage
// returns and tabs are written as \n, \r and \t.
func Line(s string) string { return escape(s, false) }

func escape(s string, layout bool) string {
	bad := firstBad(s, layout)
	if bad < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	e := eye{layout: layout}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			const hex = "0123456789abcdef"
			b.WriteString(`\x`)
			b.WriteByte(hex[s[i]>>4])
			b.WriteByte(hex[s[i]&0xf])
			e.forget()
		case e.sees(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}

func firstBad(s string, layout bool) int {
	e := eye{layout: layout}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return i
			}
		}
		if !e.sees(r) {
			return i
		}
	}
	return -1
}

// Width is the number of terminal columns that s, already cleaned, takes: two
// for East Asian wide characters and emoji (UAX #11), none for combining marks.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case r < 0x7f:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case isWide(r):
		return 2
	}
	return 1
}

// Cut shortens s to at most columns terminal columns; text that was cut ends
// in "...", if there is room for it.
func Cut(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	const tail = "..."
	room, end := columns-len(tail), tail
	if room < 0 {
		room, end = max(columns, 0), ""
	}
	used := 0
	for i, r := range s {
		w := runeWidth(r)
		if used+w > room {
			return s[:i] + end
		}
		used += w
	}
	return s
}
