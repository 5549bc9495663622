package yamlout

import (
	"fmt"
	"strings"
)

func (w *writer) doubleQuoted(s string) {
	w.apart(`"`)
	all := strings.HasPrefix(s, "\ufeff") // as the library does
	for _, r := range s {
		if all || !isPrintable(r) || isBreak(r) || r == '"' || r == '\\' {
			w.put(escape(r))
		} else {
			w.put(string(r))
		}
	}
	w.attached(`"`)
}

func escape(r rune) string {
	const short = "\x000\aa\bb\tt\nn\vv\ff\rr\x1be\"\"\\\\\u0085N\u00a0_\u2028L\u2029P"
	var found bool
	for i, c := range []rune(short) {
		if found {
			return `\` + string(c)
		}
		found = i%2 == 0 && c == r
	}
	switch {
	case r <= 0xff:
		return fmt.Sprintf(`\x%02X`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04X`, r)
	}
	return fmt.Sprintf(`\U%08X`, r)
}

func (w *writer) singleQuoted(s string) {
	w.apart("'")
	ended := false
	for _, r := range s {
		if isBreak(r) {
			if !ended && r == '\n' {
				w.breakLine()
			}
			w.putBreak(string(r))
			ended = true
			continue
		}
		if ended {
			w.startLine()
		}
		if r == '\'' {
			w.put("'")
		}
		w.put(string(r))
		w.fresh, ended = false, false
	}
	w.attached("'")
}

// blockStart writes "|" or ">" with what it says of the first and the last lines.
func (w *writer) blockStart(mark, s string) {
	runes := []rune(s)
	last := len(runes) - 1
	if runes[0] == ' ' || isBreak(runes[0]) {
		mark += "2"
	}
	switch {
	case !isBreak(runes[last]):
		mark += "-"
	case last == 0 || isBreak(runes[last-1]):
		mark += "+"
	}
	w.apart(mark)
	if w.line == "" {
		w.breakLine()
	}
	w.lineComment()
	w.spaced = true
}

func (w *writer) literal(s string) {
	w.blockStart("|", s)
	ended := true
	for _, r := range s {
		if isBreak(r) {
			w.putBreak(string(r))
			ended = true
			continue
		}
		if ended {
			w.startLine()
		}
		w.put(string(r))
		w.fresh, ended = false, false
	}
}

// folded doubles the breaks that a reader would take for spaces.
func (w *writer) folded(s string) {
	w.blockStart(">", s)
	first := strings.TrimLeftFunc(s, isBreak)
	doubles := first != "" && first[0] != ' ' && first[0] != '\t' && first[0] != 0
	ended, isMoreIndented := true, true
	for _, r := range s {
		if isBreak(r) {
			if !ended && !isMoreIndented && r == '\n' && doubles {
				w.breakLine()
			}
			w.putBreak(string(r))
			ended = true
			continue
		}
		if ended {
			w.startLine()
			isMoreIndented = r == ' ' || r == '\t'
		}
		w.put(string(r))
		w.fresh, ended = false, false
	}
}
