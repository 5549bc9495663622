package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestSplitOption(t *testing.T) {
	for in, want := range map[string][2]string{
		"User=root":          {"User", "root"},
		"User root":          {"User", "root"},
		" User = root ":      {"User", "root"},
		"User\troot":         {"User", "root"},
		"SetEnv=A=b C=d":     {"SetEnv", "A=b C=d"},
		"SetEnv A=b C=d":     {"SetEnv", "A=b C=d"},
		`User="my name"`:     {"User", "my name"},
		`SetEnv="A=b" "C=d"`: {"SetEnv", `"A=b" "C=d"`},
		"User":               {"User", ""},
		"User==":             {"User", "="},
		"":                   {"", ""},
	} {
		if name, value := splitOption(in); name != want[0] || value != want[1] {
			t.Errorf("%q is %q and %q", in, name, value)
		}
	}
}

func TestSeconds(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "15": 15 * time.Second, "90s": 90 * time.Second, "1h30M": 90 * time.Minute, "2d1w": 9 * 24 * time.Hour, "1m30": 90 * time.Second,
		"-1": -1, "x": -1, "1x": -1, "s": -1, "99999999999": -1, "999999999w": -1, "99999999999999999999": -1,
	} {
		got, err := seconds(in)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %v, %v", in, got, err)
		}
	}
}

func TestSplitWords(t *testing.T) {
	for in, want := range map[string]string{
		`A=b C=d`: "A=b|C=d", `"A=b c" d`: "A=b c|d", `A="b 'c'"'"'`: `A=b 'c'"`, `A=\ b\"`: `A= b"`, `A=\n`: `A=\n`, `""`: "", "  \t": "", `"a`: "error", `'`: "error",
	} {
		words, err := splitWords(in)
		got := strings.Join(words, "|")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
}

func TestWildcard(t *testing.T) {
	for pair, want := range map[string]bool{
		"LC_* LC_ALL": true, "LC_* LANG": false, "* X": true, "?? AB": true, "?? A": false, "A A": true, "A AB": false, "*B*D ABCD": true, "*B*D ABC": false,
	} {
		pattern, name, _ := strings.Cut(pair, " ")
		if wildcard(pattern, name) != want {
			t.Errorf("%s: %t", pair, !want)
		}
	}
}

func TestParseDisplay(t *testing.T) {
	for in, want := range map[string]string{
		":0":                 "unix /tmp/.X11-unix/X0 :0 0",
		":1.2":               "unix /tmp/.X11-unix/X1 :1.2 2",
		"unix:3":             "unix /tmp/.X11-unix/X3 unix:3 0",
		"localhost:10.0":     "tcp localhost:6010 unix:10.0 0",
		"far.example:1":      "tcp far.example:6001 far.example:1 0",
		"[::1]:2":            "tcp [::1]:6002 [::1]:2 0",
		"/private/x.y/org:0": "unix /private/x.y/org:0 /private/x.y/org:0 0",
		"":                   "", "x": "", ":": "", ":a": "", ":99999": "", ":0.x": "", "-f:0": "", "a b:0": "", ":-1": "",
	} {
		d, err := parseDisplay(in)
		got := ""
		if err == nil {
			got = strings.Join([]string{d.network, d.addr, d.name, string(rune('0' + d.screen))}, " ")
		}
		if got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// Each name is in one place only, and the page about them names all that have an effect.
func TestOptionTables(t *testing.T) {
	page, err := os.ReadFile("../../docs/ssh-options.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	o := new(sessionOptions)
	for _, option := range o.effective() {
		seen[option.name] = true
		if !strings.Contains(strings.ToLower(string(page)), "`"+option.name+"`") {
			t.Errorf("docs/ssh-options.md says nothing of %s", option.name)
		}
	}
	for name := range strings.FieldsSeq(withoutEffect) {
		if seen[name] || name != strings.ToLower(name) {
			t.Errorf("%s is listed twice, or not in small letters", name)
		}
		seen[name] = true
	}
	for pair := range strings.FieldsSeq(satisfied) {
		if name, _, _ := strings.Cut(pair, "="); !seen[name] {
			t.Errorf("%s is no option", name)
		}
	}
}
