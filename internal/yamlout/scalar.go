package yamlout

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const quotedStyles = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

const longTags = "tag:yaml.org,2002:"

// tagOf returns the tag that has to be written, "" where the text tells it. quote is for
// text that would be read as something else.
func tagOf(n *yaml.Node) (tag string, quote bool) {
	tag = n.Tag
	if rest, ok := strings.CutPrefix(tag, longTags); ok {
		tag = "!!" + rest
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return tag, false
	}
	told := "!!map"
	switch n.Kind {
	case yaml.SequenceNode:
		told = "!!seq"
	case yaml.ScalarNode:
		if tag == "!!str" && n.Style&quotedStyles != 0 {
			return "", false
		}
		told = (&yaml.Node{Kind: yaml.ScalarNode, Value: n.Value}).ShortTag()
		quote = tag == "!!str" && told != tag
	}
	if quote || tag == told {
		tag = ""
	}
	return tag, quote
}

func (w *writer) tag(tag string) {
	if tag == "" {
		return
	}
	text := "!<" + escapeTag(tag) + ">"
	for _, handle := range []string{"!", "!!"} {
		if rest, ok := strings.CutPrefix(tag, handle); ok {
			text = handle + escapeTag(rest)
		}
	}
	w.apart(text)
}

func escapeTag(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || strings.IndexByte(";/?:@&=+$,_.~*'()[]-", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// isSimple tells whether "key:" will do. YAML has a limit for how far the colon may be.
func isSimple(key *yaml.Node) bool {
	length := len(key.Anchor)
	switch {
	case key.Kind == yaml.AliasNode:
		length = len(key.Value)
	case key.Kind == yaml.ScalarNode && strings.ContainsFunc(key.Value, isBreak):
		return false
	case key.Kind == yaml.ScalarNode:
		tag, _ := tagOf(key)
		length += len(tag) + len(key.Value)
	case !isEmpty(key):
		return false
	default: // [] or {}
		tag, _ := tagOf(key)
		length += len(tag)
	}
	return length <= 128
}

func (w *writer) scalar(n *yaml.Node, p place, quote bool) {
	s := n.Value
	if !utf8.ValidString(s) {
		w.err = errors.New("text for YAML is no UTF-8")
		return
	}
	switch w.styleOf(n, p, quote) {
	case yaml.DoubleQuotedStyle:
		w.doubleQuoted(s)
	case yaml.SingleQuotedStyle:
		w.singleQuoted(s)
	case yaml.LiteralStyle:
		w.literal(s)
	case yaml.FoldedStyle:
		w.folded(s)
	default:
		if s != "" {
			w.apart(s)
		}
		w.fresh = false
	}
}

// styleOf is the style that was asked for if s can have it, otherwise the next best.
func (w *writer) styleOf(n *yaml.Node, p place, quote bool) yaml.Style {
	t := traitsOf(n.Value)
	style := wantedStyle(n, quote)
	if style == 0 {
		plain := t.plain
		if w.flow > 0 {
			plain = t.plainInFlow
		}
		if !plain || n.Value == "" && p.simpleKey {
			style = yaml.SingleQuotedStyle
		}
	}
	switch style {
	case yaml.SingleQuotedStyle:
		if !t.single {
			return yaml.DoubleQuotedStyle
		}
	case yaml.LiteralStyle, yaml.FoldedStyle:
		if !t.block || w.flow > 0 || p.simpleKey {
			return yaml.DoubleQuotedStyle
		}
	}
	return style
}

func wantedStyle(n *yaml.Node, quote bool) yaml.Style {
	for _, style := range []yaml.Style{yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle, yaml.LiteralStyle, yaml.FoldedStyle} {
		if n.Style&style != 0 {
			return style
		}
	}
	switch {
	case strings.Contains(n.Value, "\n"):
		return yaml.LiteralStyle
	case quote:
		return yaml.DoubleQuotedStyle
	}
	return 0
}

// traits are the ways in which a text can be written.
type traits struct{ plain, plainInFlow, single, block bool }

func traitsOf(s string) traits {
	if s == "" {
		return traits{plain: true, single: true}
	}
	special := strings.ContainsFunc(s, isSpecial)
	spaceBreak, breakSpace := spacesAtBreaks(s)
	inFlow, inBlock := indicators(s)
	t := traits{block: !special && !spaceBreak && !strings.HasSuffix(s, " ")}
	t.single = !special && !spaceBreak && !breakSpace && !strings.Contains(s, "\t")
	line := t.single && !strings.ContainsFunc(s, isBreak) && strings.Trim(s, " ") == s
	t.plain = line && !inBlock
	t.plainInFlow = line && !inFlow
	return t
}

// spacesAtBreaks tells whether a space is right before or right after a line break.
func spacesAtBreaks(s string) (before, after bool) {
	previous := rune(-1)
	for _, r := range s {
		before = before || previous == ' ' && isBreak(r)
		after = after || r == ' ' && isBreak(previous)
		previous = r
	}
	return before, after
}

// indicators tells whether a plain s, which is not empty, would be taken for a part of YAML's syntax.
func indicators(s string) (inFlow, inBlock bool) {
	if strings.HasPrefix(s, "---") || strings.HasPrefix(s, "...") || strings.IndexByte("#,[]{}&*!|>'\"%@`", s[0]) >= 0 {
		return true, true
	}
	before := rune(-1)
	for i, r := range s {
		rest := s[i+utf8.RuneLen(r):]
		apart := rest == "" || rest[0] == ' ' || rest[0] == '\t'
		switch {
		case r == '#' && strings.ContainsRune(" \t\x00"+breaks, before), i == 0 && r == '-' && apart:
			return true, true
		case r == ':', i == 0 && r == '?':
			inFlow, inBlock = true, inBlock || apart
		case strings.ContainsRune(",?[]{}", r):
			inFlow = true
		}
		before = r
	}
	return inFlow, inBlock
}

// isSpecial is for what has to be escaped, but tabs.
func isSpecial(r rune) bool { return r != '\t' && !isPrintable(r) }

// isPrintable leaves out what is beyond the first plane, as the library does.
func isPrintable(r rune) bool {
	return r == '\n' || ' ' <= r && r <= '~' || 0xa0 <= r && r < 0xfffe && r != 0xfeff
}
