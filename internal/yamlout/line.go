package yamlout

import (
	"strings"
	"unicode/utf8"
)

// writer is the text so far and the comments that wait for their place.
type writer struct {
	out        []byte
	err        error
	flush      bool
	indent     int // of the lines to come, -1 outside of everything
	footIndent int // of the comment before, which an empty line is to follow; -1 for none
	column     int // in characters
	flow       int // how many [ and { are open
	spaced     bool
	fresh      bool // nothing but indentation, "-", "?" and ":" is in the line

	head, line, foot, tail string
	keyLine                string
}

// note takes comments; what is empty leaves one that still waits.
func (w *writer) note(head, line, foot, tail string) {
	take := func(into *string, comment string) {
		if comment != "" {
			*into = comment
		}
	}
	take(&w.head, head)
	take(&w.line, line)
	take(&w.foot, foot)
	take(&w.tail, tail)
}

func (w *writer) put(s string) {
	w.out = append(w.out, s...)
	w.column += utf8.RuneCountInString(s)
}

func (w *writer) breakLine() { w.putBreak("\n") }

// putBreak writes a character that ends a line.
func (w *writer) putBreak(s string) {
	w.out = append(w.out, s...)
	w.column, w.fresh = 0, true
}

// startLine goes to the indentation of the next line, if that is not where it is.
func (w *writer) startLine() {
	indent := max(w.indent, 0)
	if !w.fresh || w.column > indent || w.column == indent && !w.spaced {
		w.breakLine()
	}
	if w.footIndent == indent {
		w.breakLine()
	}
	for w.column < indent {
		w.put(" ")
	}
	w.spaced = true
	w.footIndent = -1
}

func (w *writer) space() {
	if !w.spaced {
		w.put(" ")
	}
}

// attached writes s right behind what is there.
func (w *writer) attached(s string) {
	w.put(s)
	w.spaced, w.fresh = false, false
}

// apart writes s after a space.
func (w *writer) apart(s string) {
	w.space()
	w.attached(s)
}

// blockMark writes "-", "?" or ":", in whose line a list or a mapping may begin.
func (w *writer) blockMark(s string) {
	fresh := w.fresh
	w.apart(s)
	w.fresh = fresh
}

// headComments writes the comments that belong above what comes.
func (w *writer) headComments() {
	if w.tail != "" {
		w.startLine()
		w.comment(&w.tail)
		w.footIndent = max(w.indent, 0)
	}
	if w.head != "" {
		w.startLine()
		w.comment(&w.head)
	}
}

// lineComment writes the comment that belongs into the same line, and ends that.
func (w *writer) lineComment() {
	if w.line != "" {
		w.space()
		w.comment(&w.line)
	}
}

// footComment writes the comment that belongs below.
func (w *writer) footComment() {
	if w.foot != "" {
		w.startLine()
		w.comment(&w.foot)
		w.footIndent = max(w.indent, 0)
	}
}

// comment writes a comment of any number of lines and takes it away.
func (w *writer) comment(from *string) {
	ended, marked := false, false
	for _, r := range *from {
		if isBreak(r) {
			w.putBreak(string(r))
			ended, marked = true, false
			continue
		}
		if ended {
			w.startLine()
		}
		if !marked && r != '#' {
			w.put("# ")
		}
		w.put(string(r))
		w.fresh, ended, marked = false, false, true
	}
	if !ended {
		w.breakLine()
	}
	w.spaced = true
	*from = ""
}

// breaks are the characters that end a line.
const breaks = "\r\n\u0085\u2028\u2029"

func isBreak(r rune) bool { return strings.ContainsRune(breaks, r) }
