package tshconfig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Alias is a word that stands for a command line.
type Alias struct {
	Name    string
	Command string // words, quoted as in a shell, with $0, $1 … and $TSH
	Where   string // file and line
}

func (f *reader) alias(name string, value *yaml.Node) {
	if name == "" || name[0] == '-' || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) || r == ',' }) {
		f.fail(value, "aliases: %q cannot be the word of a command line", name)
	}
	f.aliases = append(f.aliases, Alias{name, f.text(value), where(f.path, value.Line)})
}

// Alias returns the alias of that name.
func (c *Config) Alias(name string) (Alias, bool) {
	for _, a := range c.Aliases {
		if a.Name == name {
			return a, true
		}
	}
	return Alias{}, false
}

// Expand returns the words that the alias stands for with these arguments, at least
// one. $0 is the first argument and $TSH the program; an argument stays one word
// whatever is in it, and those that are not referred to are appended. The error says
// how many arguments are needed, or what is wrong with the alias and where it is.
func (a Alias) Expand(program string, args []string) ([]string, error) {
	words, err := split(a.Command)
	if err == nil && len(words) == 0 {
		err = errors.New("it stands for nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: alias %s: %w", a.Where, a.Name, err)
	}
	used := make([]bool, len(args))
	needed := 0
	for i := range words {
		words[i] = replaceVariables(words[i], func(name string) (string, bool) {
			if name == "TSH" {
				return program, true
			}
			n, err := strconv.Atoi(name)
			if err != nil {
				return "", false
			}
			needed = max(needed, n+1)
			if n >= len(args) {
				return "", true
			}
			used[n] = true
			return args[n], true
		})
	}
	if needed > len(args) {
		return nil, fmt.Errorf("alias %s needs at least %d argument(s), not %d; it stands for: %s (%s)", a.Name, needed, len(args), a.Command, a.Where)
	}
	for i, arg := range args {
		if !used[i] {
			words = append(words, arg)
		}
	}
	return words, nil
}

// replaceVariables puts values in the place of $name. A dollar before what has no value
// stays one: that may be for the shell that the alias runs.
func replaceVariables(s string, value func(name string) (string, bool)) string {
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(s, "$")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		after := strings.TrimLeftFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if len(after) == len(rest) {
			after = strings.TrimPrefix(rest, "TSH")
			if len(after) == len(rest) || after != "" && inName(rune(after[0])) {
				after = rest
			}
		}
		v, ok := value(rest[:len(rest)-len(after)])
		if ok {
			b.WriteString(v)
		} else {
			b.WriteByte('$')
			after = rest
		}
		s = after
	}
}

// split takes a command apart as a POSIX shell does, quotes and backslashes alone:
// nothing is expanded and nothing else means anything.
func split(s string) (words []string, err error) {
	var word strings.Builder
	begun := false
	for s != "" {
		c := s[0]
		s = s[1:]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			if begun {
				words = append(words, word.String())
				word.Reset()
				begun = false
			}
			continue
		case c == '\'' || c == '"':
			var part string
			if part, s, err = quoted(s, c); err != nil {
				return nil, err
			}
			word.WriteString(part)
		case c == '\\' && s == "":
			return nil, errors.New("nothing follows the backslash at its end")
		case c == '\\':
			word.WriteByte(s[0])
			s = s[1:]
		default:
			word.WriteByte(c)
		}
		begun = true
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

// quoted reads up to the closing quote. Between double quotes a backslash takes the
// meaning from a quote and from a backslash.
func quoted(s string, quote byte) (part, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && quote == '"' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", fmt.Errorf("a quote %c is not closed", quote)
}
