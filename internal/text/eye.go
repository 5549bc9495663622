package text

import "unicode"

// maxMarks is how many combining marks one letter may carry. The languages that
// stack them need four; piled up they cover the lines above and below.
const maxMarks = 8

// eye reads text rune by rune and knows which of them a person sees for what
// they are.
type eye struct {
	layout bool // newlines and tabs are fine
	last   rune // the rune before, 0 if there is none or it is not shown
	marks  int  // combining marks in a row
}

// forget starts anew, after something that is shown in another form.
func (e *eye) forget() { e.last, e.marks = 0, 0 }

// sees reports whether r, coming next, prints as itself and nothing else:
// letters, marks, numbers, punctuation, symbols and the space characters do.
// Format characters (bidirectional overrides, zero-width characters, tags) do
// not, nor do blank letters, nor marks beyond maxMarks.
func (e *eye) sees(r rune) bool {
	const emojiStyle = '\ufe0f' // the variation selector that asks for the colourful form
	if e.layout && (r == '\n' || r == '\t') {
		e.last, e.marks = r, 0
		return true
	}
	if unicode.Is(unicode.M, r) {
		e.marks++
	} else {
		e.marks = 0
	}
	ok := (unicode.IsPrint(r) || unicode.Is(unicode.Zs, r)) && e.marks <= maxMarks &&
		(!blank(r) || r == emojiStyle && unicode.Is(unicode.So, e.last))
	if e.last = r; !ok {
		e.last = 0
	}
	return ok
}

// blank reports characters that Unicode calls letters, marks or symbols and
// that show as nothing, or as an empty space.
func blank(r rune) bool {
	switch {
	case r == '\u034f', // combining grapheme joiner
		r == '\u115f', r == '\u1160', r == '\u3164', r == '\uffa0', // Hangul fillers
		r == '\u17b4', r == '\u17b5', // Khmer inherent vowels
		r >= '\u180b' && r <= '\u180f',                               // Mongolian variation selectors, vowel separator
		r == '\u2800',                                                // braille pattern without dots
		r >= '\ufe00' && r <= '\ufe0f', r >= 0xe0100 && r <= 0xe01ef: // variation selectors
		return true
	}
	return false
}
