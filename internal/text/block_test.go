package text

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// case T01: what Unicode calls printable and nobody sees.
func TestInvisibleCharacters(t *testing.T) {
	for r := range utf8.MaxRune + 1 {
		hidden := r == 0x34f || r == 0x115f || r == 0x1160 || r == 0x17b4 || r == 0x17b5 || r >= 0x180b && r <= 0x180f ||
			r == 0x2800 || r == 0x3164 || r == 0xffa0 || r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef
		if !hidden {
			continue
		}
		want := fmt.Sprintf(`a\u%04xb`, r)
		if r > 0xffff {
			want = fmt.Sprintf(`a\U%08xb`, r)
		}
		if in := "a" + string(r) + "b"; Clean(in) != want || Line(in) != want {
			t.Errorf("Clean(%+q) = %q, Line %q, want %q", in, Clean(in), Line(in), want)
		}
	}
	marks := strings.Repeat("\u0301", 8)
	for in, want := range map[string]string{
		"❤\ufe0f ☺\ufe0f!":                    "❤\ufe0f ☺\ufe0f!",
		"❤\ufe0e":                             `❤\ufe0e`,
		"❤\ufe0f\ufe0f":                       "❤\ufe0f" + `\ufe0f`,
		"\u2800\ufe0f":                        `\u2800\ufe0f`,
		"\ufe0f":                              `\ufe0f`,
		"#\ufe0f":                             `#\ufe0f`,
		"e" + marks + "x":                     "e" + marks + "x",
		"e" + marks + "\u0302x":               "e" + marks + `\u0302x`,
		"e" + marks + "\u0302\u0301y" + marks: "e" + marks + `\u0302\u0301y` + marks,
		"e" + marks + "\xff" + marks:          "e" + marks + `\xff` + marks,
		marks + "\n" + marks + "\u20dd":       marks + "\n" + marks + `\u20dd`,
	} {
		if got := Clean(in); got != want || Clean(got) != want {
			t.Errorf("Clean(%+q) = %+q, want %+q", in, got, want)
		}
	}
}

// case T05: text from elsewhere starts no line.
func TestBlock(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, tc := range []struct{ in, want string }{
		{"", ""}, {"\n\n", ""}, {"no", "no"}, {"no\n\n", "no"},
		{"\nWARNING: run rm", "WARNING: run rm"},
		{"denied\nWARNING: run rm\r\nhint: x\n", "denied\n    WARNING: run rm\n    hint: x"},
		{"a\n\tb  \n  c", "a\n    \tb\n      c"}, {"a\n \n\tb", "a\n\n    \tb"},
		{"a\rb\x1b[2J\u2028c", `a\rb\x1b[2J\u2028c`},
		{"1\n2\n3\n4", "1\n    2\n    3..."},
		{long, long[:1021] + "..."},
		{strings.Repeat("é", 600), strings.Repeat("é", 510) + "..."},
		{strings.Repeat("\x00", 1000), strings.Repeat(`\x00`, 256)[:1021] + "..."},
		{long + "\nWARNING", long[:1021] + "..."},
	} {
		got := Block(tc.in, 3)
		if got != tc.want {
			t.Errorf("Block(%.40q) = %q, want %q", tc.in, got, tc.want)
		}
		if again := Block(got, 3); again != got {
			t.Errorf("Block(%.40q) a second time = %q", tc.in, again)
		}
	}
}

func FuzzBlock(f *testing.F) {
	for _, s := range []string{"a\nb", "\r\n\r\n", strings.Repeat("a\n", 700), strings.Repeat("\xff", 1025), "❤\ufe0f\n\u0301", strings.Repeat("\u0301\n ", 400)} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, lines int) {
		got := Block(s, lines)
		if !utf8.ValidString(got) || len(got) > maxBlock || strings.Count(got, "\n") >= max(lines, 1) || strings.ContainsAny(got, "\r\x1b") {
			t.Fatalf("Block(%q, %d) = %q", s, lines, got)
		}
		for i, line := range strings.Split(got, "\n") {
			if i > 0 && line != "" && !strings.HasPrefix(line, "    ") {
				t.Fatalf("line %q of Block(%q)", line, s)
			}
		}
		if again := Block(got, lines); again != got {
			t.Fatalf("Block(%q) = %q, a second time %q", s, got, again)
		}
	})
}
