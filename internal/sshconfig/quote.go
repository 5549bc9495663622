package sshconfig

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quoter keeps the first thing that could not be quoted.
type quoter struct {
	windows bool
	err     error
}

func (q *quoter) fail(what, s string) {
	if q.err == nil {
		q.err = fmt.Errorf("%s %q: OpenSSH cannot be told of it in a configuration file", what, s)
	}
}

// check refuses what ends a line or a word for one version of OpenSSH or another.
func (q *quoter) check(what, s, forbidden string) {
	odd := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(forbidden, r) }
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, odd) {
		q.fail(what, s)
	}
}

// checkName refuses what is more than letters, digits and what stands between them in
// names, addresses and patterns of ours. It returns the name.
func (q *quoter) checkName(s string) string {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_:[]*!", r)) {
			q.fail("name", s)
		}
	}
	if s == "" || s[0] == '-' {
		q.fail("name", s)
	}
	return s
}

// file quotes a path as the argument of a keyword that takes one. Every version of
// OpenSSH ends the word at a quote, newer ones give a backslash a meaning and expand
// variables.
func (q *quoter) file(path string) string {
	forbidden := "\"\\"
	if q.windows {
		path, forbidden = strings.ReplaceAll(path, `\`, "/"), `"`
	}
	q.check("path", path, forbidden)
	if strings.Contains(path, "${") {
		q.fail("path", path)
	}
	return `"` + percent(path) + `"`
}

// word quotes the argument of a keyword that expands nothing.
func (q *quoter) word(s string) string {
	q.check("name", s, "\"'%$ ")
	if strings.HasSuffix(s, `\`) || strings.Contains(s, `\\`) || strings.HasPrefix(s, "-") {
		q.fail("name", s)
	}
	return `"` + s + `"`
}

// program quotes a program for the shell that runs a command; Windows has none.
func (q *quoter) program(path string) string {
	if q.windows {
		q.check("path", path, `"`)
		return `"` + percent(path) + `"`
	}
	if strings.ContainsAny(path, "\"$`\\!") {
		return q.shell(path)
	}
	q.check("path", path, "")
	return `"` + percent(path) + `"`
}

// shell makes a path one word for a shell, in a command in which percent signs are
// expanded.
func (q *quoter) shell(path string) string {
	q.check("path", path, "")
	return "'" + strings.ReplaceAll(percent(path), "'", `'\''`) + "'"
}

// inMatch makes a command fit for the quotes of Match exec, which know no escape.
func (q *quoter) inMatch(command string) string {
	q.check("path", command, `"`)
	return command
}

// argument quotes a path in a command that no shell runs. Only versions with escapes
// know such commands.
func (q *quoter) argument(path string) string {
	q.check("path", path, `"\`)
	return `"` + percent(path) + `"`
}

// percent takes the meaning from percent signs.
func percent(s string) string { return strings.ReplaceAll(s, "%", "%%") }
