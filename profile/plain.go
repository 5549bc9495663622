package profile

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// plainFile is a file of nothing but lines "key: value"; line n is element n-1.
type plainFile []plainLine

type plainLine struct{ key, value string }

// emptyText is how an empty value is written that is not left out.
const emptyText = `""`

// parsePlain reads what every client writes, lines of a key and a plain word, for
// a thirtieth of what the YAML parser takes. For anything that could mean more, or
// that YAML would refuse, ok is false.
func parsePlain(data []byte) (f plainFile, ok bool) {
	if len(data) > maxFile {
		return nil, false
	}
	f = make(plainFile, 0, bytes.Count(data, []byte{'\n'})+1)
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !ok || !isPlainKey(key) || value != emptyText && (!isWord(value) || isOctal(value)) {
			return nil, false
		}
		f = append(f, plainLine{key, value})
	}
	return f, true
}

// find returns the last value of a key as the YAML parser would, in n, or nil.
func (f plainFile) find(key string, n *yaml.Node) *yaml.Node {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].key != key {
			continue
		}
		*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f[i].value, Line: i + 1}
		switch {
		case n.Value == emptyText:
			n.Value = ""
		case strings.Trim(n.Value, "0123456789") == "":
			n.Tag = "!!int"
		}
		return n
	}
	return nil
}

// isOctal reports whether a number begins with a zero: YAML takes it for octal, or for
// text if it cannot be.
func isOctal(s string) bool { return len(s) > 1 && s[0] == '0' && strings.Trim(s, "0123456789") == "" }

// isPlainKey knows the letters of every key. YAML refuses keys of more than 1024
// bytes; none that anybody writes comes near.
func isPlainKey(s string) bool {
	const longest = 128
	for i := range len(s) {
		if s[i] != '_' && (s[i] < 'a' || s[i] > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= longest
}

// isWord reports whether YAML reads s as text or a decimal number: letters and
// digits with single marks between them, not the word for nothing, not 0x10 or
// 1_000.
func isWord(s string) bool {
	afterMark := true
	for i := range len(s) {
		alnum := isDigit(s[i]) || s[i] >= 'A' && s[i] <= 'Z' || s[i] >= 'a' && s[i] <= 'z'
		if !alnum && (afterMark || strings.IndexByte(".-_:@", s[i]) < 0) {
			return false
		}
		afterMark = !alnum
	}
	if afterMark || strings.EqualFold(s, "null") {
		return false
	}
	return !isDigit(s[0]) || !strings.Contains(s, "_") && (len(s) == 1 || strings.IndexByte("xXoObB", s[1]) < 0)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
