package text

import (
	"strings"
	"unicode/utf8"
)

// maxBlock is the most of somebody's text, in bytes, that Block shows.
const maxBlock = 1 << 10

// Block makes text from elsewhere fit to be part of a message of ours: Clean,
// without white space around it, at most maxLines lines and 1 KiB with "..." where
// something is missing. Lines after the first begin with four spaces, so that
// nothing from elsewhere starts a line and could pass for one of ours. What
// has gone through once comes out as it is.
func Block(s string, maxLines int) string {
	const tail, indent = "...", "    "
	s = strings.TrimSpace(s)
	cut := len(s) > maxBlock // Clean never shortens, but for carriage returns
	lines := strings.Split(strings.TrimSpace(Clean(prefix(s, maxBlock))), "\n")
	if most := max(maxLines, 1); len(lines) > most {
		lines, cut = lines[:most], true
	}
	for i, line := range lines {
		line = strings.TrimRight(line, " \t")
		if i > 0 && line != "" && !strings.HasPrefix(line, indent) {
			line = indent + line
		}
		lines[i] = line
	}
	s = strings.TrimRight(strings.Join(lines, "\n"), "\n")
	if len(s) > maxBlock || cut && len(s)+len(tail) > maxBlock {
		s, cut = prefix(s, maxBlock-len(tail)), true
	}
	if cut {
		s = strings.TrimSpace(s) + tail
	}
	return s
}

// prefix is at most the first n bytes of s, without a rune cut in two.
func prefix(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for end := n; end > n-utf8.UTFMax; end-- {
		if utf8.RuneStart(s[end]) {
			return s[:end]
		}
	}
	return s[:n] // no text anyway
}
