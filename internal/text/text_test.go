package text

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// case T01: what an attacker upstream may send becomes visible text.
func TestHostileTextBecomesVisible(t *testing.T) {
	for _, tc := range []struct{ name, in, clean, line string }{
		{"plain", "hello, wörld", "hello, wörld", "hello, wörld"},
		{"layout", "a\tb\nc", "a\tb\nc", `a\tb\nc`},
		{"dos line end", "a\r\nb", "a\nb", `a\r\nb`},
		{"carriage return overwrite", "safe\revil", `safe\revil`, `safe\revil`},
		{"csi", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`, `\x1b[31mred\x1b[0m`},
		{"osc title", "\x1b]0;pwned\x07", `\x1b]0;pwned\a`, `\x1b]0;pwned\a`},
		{"osc 8 link", "\x1b]8;;http://e\x1b\\x", `\x1b]8;;http://e\x1b\x`, `\x1b]8;;http://e\x1b\x`},
		{"osc 52 clipboard", "\x1b]52;c;aGk=\x07", `\x1b]52;c;aGk=\a`, `\x1b]52;c;aGk=\a`},
		{"c1 csi", "\u009b31m", `\u009b31m`, `\u009b31m`},
		{"delete and backspace", "ab\b\x7f", `ab\b\x7f`, `ab\b\x7f`},
		{"bidi override", "a\u202eb", `a\u202eb`, `a\u202eb`},
		{"isolates", "\u2066x\u2069", `\u2066x\u2069`, `\u2066x\u2069`},
		{"zero width", "a\u200bb\ufeff", `a\u200bb\ufeff`, `a\u200bb\ufeff`},
		{"line separator", "a\u2028b", `a\u2028b`, `a\u2028b`},
		{"tag characters", "\U000e0041", `\U000e0041`, `\U000e0041`},
		{"nul", "a\x00b", `a\x00b`, `a\x00b`},
		{"not utf-8", "a\xffb\x9b", `a\xffb\x9b`, `a\xffb\x9b`},
		{"replacement character itself", "a\ufffdb", "a\ufffdb", "a\ufffdb"},
		{"wide and combining stay", "日本 e\u0301 \u3000", "日本 e\u0301 \u3000", "日本 e\u0301 \u3000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Clean(tc.in); got != tc.clean {
				t.Errorf("Clean(%q) = %q, want %q", tc.in, got, tc.clean)
			}
			if got := Line(tc.in); got != tc.line {
				t.Errorf("Line(%q) = %q, want %q", tc.in, got, tc.line)
			}
		})
	}
}

// case T03: columns are counted as a terminal shows them.
func TestWidthAndCut(t *testing.T) {
	for _, tc := range []struct {
		s     string
		width int
	}{{"", 0}, {"abc", 3}, {"日本", 4}, {"e\u0301", 1}, {"🙂", 2}, {"é", 1}} {
		if got := Width(tc.s); got != tc.width {
			t.Errorf("Width(%q) = %d, want %d", tc.s, got, tc.width)
		}
	}
	for _, tc := range []struct {
		s       string
		columns int
		want    string
	}{
		{"abcdef", 6, "abcdef"}, {"abcdefg", 6, "abc..."}, {"日本語日本", 8, "日本..."},
		{"abc", 2, "ab"}, {"abc", 0, ""}, {"abc", -1, ""},
	} {
		if got := Cut(tc.s, tc.columns); got != tc.want || Width(got) > max(tc.columns, 0) {
			t.Errorf("Cut(%q, %d) = %q, want %q", tc.s, tc.columns, got, tc.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J", "a\u202eb", "\xff\xfe", "日本\r\n", strings.Repeat("\x00", 9)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{Clean(s), Line(s)} {
			if !utf8.ValidString(got) {
				t.Fatalf("%q is not UTF-8", got)
			}
			for _, r := range got {
				if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
					t.Fatalf("%q still holds %U", got, r)
				}
			}
		}
		if strings.ContainsAny(Line(s), "\n\t") {
			t.Fatalf("Line(%q) has more than one line", s)
		}
	})
}
