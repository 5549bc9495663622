package main

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-087d674e/tsh/sshclient"
)

// targetSpec is what a person names servers with: one, or any number by their labels.
type targetSpec struct {
	sshclient.Target                   // without a host if there are labels
	labels           map[string]string // that each of the servers has
	text             string            // the labels as they were typed, to be shown
}

// maxLabels bounds the labels of a target, as text.
const maxLabels = 4 << 10

// parseTargetSpec reads [login@]host[:port] or [login@]key=value[,key=value…], in which
// quotes keep commas, semicolons and "@" together. The last "@" splits. Labels have no
// port: a colon belongs to the value.
func parseTargetSpec(s string) (targetSpec, error) {
	login, rest, ok := splitLogin(s)
	if !strings.Contains(rest, "=") {
		target, err := sshclient.ParseTarget(s)
		if err != nil {
			return targetSpec{}, &usageError{err}
		}
		return targetSpec{Target: target}, nil
	}
	bad := func(reason string) (targetSpec, error) {
		return targetSpec{}, &usageError{&sshclient.TargetError{Target: s, Reason: reason}}
	}
	switch {
	case !ok:
		return bad("a quote is not closed")
	case strings.HasPrefix(s, "@"):
		return bad("there is no login before the @")
	case strings.HasPrefix(rest, "-"):
		return bad("the labels begin with a dash")
	case len(rest) > maxLabels || !utf8.ValidString(rest) || strings.ContainsFunc(rest, func(r rune) bool { return !unicode.IsPrint(r) }):
		return bad("the labels are too long or hold what cannot be printed")
	}
	labels, err := parseLabels(rest)
	switch {
	case err != nil:
		return targetSpec{}, err
	case len(labels) < len(splitQuoted(rest)):
		return bad("a label is given twice")
	}
	spec := targetSpec{labels: labels, text: rest}
	if login != "" {
		// A login is good where it is good before a host.
		target, err := sshclient.ParseTarget(login + "@host")
		if err != nil {
			var reason *sshclient.TargetError
			errors.As(err, &reason) // it is one
			return bad(reason.Reason)
		}
		spec.Login = target.Login
	}
	return spec, nil
}

// splitLogin splits at the last "@" outside quotes; ok is false if a quote is open at
// the end.
func splitLogin(s string) (login, rest string, ok bool) {
	at, quote := -1, rune(0)
	for i, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case quote == 0 && r == '@':
			at = i
		}
	}
	if at < 0 {
		return "", s, quote == 0
	}
	return s[:at], s[at+1:], quote == 0
}
