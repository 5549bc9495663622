package tshconfig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

const example = `
add_headers:
  - proxy: "*.example.com"
    headers: {X-One: mine, X-Two: 2}
proxy_templates:
  - template: '^(\w+)\.(\w+):([0-9]+)$'
    proxy: "$2.example.com:443"
    cluster: "$2"
    host: "$1:$3"
aliases:
  "l": "tsh login --auth=okta"
key_of_a_later_version: [1, 2]
`

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheExampleOfTheDocumentation(t *testing.T) {
	path := writeFile(t, example)
	c, err := Load(path, filepath.Join(t.TempDir(), "missing"), "")
	if err != nil {
		t.Fatal(err)
	}
	want := []Template{{`^(\w+)\.(\w+):([0-9]+)$`, "$2.example.com:443", "$2", "$1:$3", "", "", path + ":6"}}
	if !reflect.DeepEqual(c.Templates, want) {
		t.Errorf("%+v, want %+v", c.Templates, want)
	}
	if a, ok := c.Alias("l"); !ok || a.Command != "tsh login --auth=okta" || a.Where != path+":11" {
		t.Errorf("%+v", a)
	}
	if h := c.Headers("a.example.com:443"); !reflect.DeepEqual(h, [][2]string{{"X-One", "mine"}, {"X-Two", "2"}}) {
		t.Errorf("%q", h)
	}
	if h := c.Headers("a.example.org:443"); h != nil {
		t.Errorf("headers for another proxy: %q", h)
	}
}

// The file of the person comes before that of the machine.
func TestTwoFiles(t *testing.T) {
	global := writeFile(t, "add_headers: [{proxy: 'p:443', headers: {x-one: theirs, X-Three: '3'}}]\naliases: {l: other, m: more}\nproxy_templates: [{template: second, host: x}]\n")
	c, err := Load(writeFile(t, strings.Replace(example, "*.example.com", "p", 1)), global)
	if err != nil {
		t.Fatal(err)
	}
	if h := c.Headers("p:443"); !reflect.DeepEqual(h, [][2]string{{"X-One", "mine"}, {"X-Two", "2"}, {"X-Three", "3"}}) {
		t.Errorf("%q", h)
	}
	l, _ := c.Alias("l")
	m, _ := c.Alias("m")
	if l.Command != "tsh login --auth=okta" || m.Command != "more" || len(c.Templates) != 2 || c.Templates[1].Pattern != "second" {
		t.Errorf("%+v", c)
	}
}

func TestFilesThatSayNothing(t *testing.T) {
	for _, content := range []string{"", "\n# nothing\n", "---\n", "aliases:\nproxy_templates:\nadd_headers:\n", "a: 1", "null"} {
		if c, err := Load(writeFile(t, content)); err != nil || len(c.Aliases)+len(c.Templates) > 0 {
			t.Errorf("%q: %+v, %v", content, c, err)
		}
	}
}

func TestYAMLAliases(t *testing.T) {
	c, err := Load(writeFile(t, "x: &x {template: a, host: b}\nproxy_templates: [*x, *x]\naliases: {a: &y tsh ls, b: *y}\n"))
	if err != nil || len(c.Templates) != 2 || c.Templates[1].Host != "b" || c.Aliases[1].Command != "tsh ls" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestMalformedFiles(t *testing.T) {
	tests := map[string]struct {
		content string
		line    int
		want    string
	}{
		"no YAML":            {"aliases:\n  a: 'x\n", 0, ""},
		"a tab":              {"aliases:\n\ta: x\n", 2, ""},
		"a list at the top":  {"- a\n", 1, "a mapping"},
		"templates no list":  {"a: 1\nproxy_templates:\n  template: x\n", 3, "a list"},
		"template no map":    {"proxy_templates: [x]\n", 1, "a mapping"},
		"pattern no text":    {"proxy_templates:\n- template: [x]\n", 2, "a text"},
		"aliases a list":     {"aliases: [x]\n", 1, "a mapping"},
		"alias no text":      {"aliases:\n  a:\n    b: c\n", 3, "a text"},
		"alias with a space": {"aliases: {a b: c}\n", 1, "cannot be the word"},
		"alias as an option": {"aliases: {--a: c}\n", 1, "cannot be the word"},
		"headers a list":     {"add_headers:\n- proxy: x\n  headers: [a]\n", 3, "a mapping"},
		"header for nobody":  {"add_headers:\n- headers: {a: b}\n", 2, "needs a proxy"},
		"header pattern":     {"add_headers:\n- proxy: '[x'\n", 2, "no pattern"},
		"header name":        {"add_headers:\n- proxy: x\n  headers: {'a b': c}\n", 3, "no name of a header"},
		"header Host":        {"add_headers:\n- proxy: x\n  headers: {HOST: c}\n", 3, "not for a file"},
		"header of content":  {"add_headers:\n- proxy: x\n  headers: {Content-Length: 1}\n", 3, "not for a file"},
		"header of upgrade":  {"add_headers:\n- proxy: x\n  headers: {sec-websocket-key: 1}\n", 3, "not for a file"},
		"header injection":   {"add_headers:\n- proxy: x\n  headers: {a: \"canary-b\\r\\nHost: c\"}\n", 3, "control characters"},
		"too long":           {strings.Repeat("# comment\n", maxFile/10+1), 0, "more than 65536"},
		"binary":             {"a: b\x00c\n", 0, "not a text file"},
		"too many":           {"aliases:\n" + aliases(maxEntries+1), 2, "more than 1000"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, tt.content)
			_, err := Load(path)
			var malformed *FileError
			if !errors.As(err, &malformed) || malformed.Path != path || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v", err)
			}
			if malformed.Line != tt.line && name != "no YAML" {
				t.Errorf("line %d, want %d: %v", malformed.Line, tt.line, err)
			}
			if strings.Contains(err.Error(), "canary-") {
				t.Errorf("the value of a header is shown: %v", err)
			}
		})
	}
}

func aliases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  a%d: x\n", i)
	}
	return b.String()
}

// One bad file does not hide the other.
func TestTheOtherFileCounts(t *testing.T) {
	c, err := Load(writeFile(t, "["), writeFile(t, "aliases: {a: b}"))
	if _, ok := c.Alias("a"); !ok || err == nil {
		t.Errorf("%+v, %v", c, err)
	}
}

// case F10
func TestHostileYAML(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 9), ","))
	}
	for _, content := range []string{bomb + "proxy_templates: *j\n", strings.Repeat("[", maxFile-1), strings.Repeat("- ", maxFile/2-1), "a: &a [*a]\nproxy_templates: *a\n"} {
		path := writeFile(t, content)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begun := time.Now()
		_, err := Load(path)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%.40q is taken", content)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 || time.Since(begun) > 5*time.Second {
			t.Errorf("%.40q: %d bytes, %v", content, used, time.Since(begun))
		}
	}
}

func TestHeadersOfASecretFile(t *testing.T) {
	c, err := Load(writeFile(t, "add_headers:\n- proxy: '10.*:3080'\n  headers: {CF-Access-Client-Secret: canary-secret}\n- proxy: '*'\n  headers: {All: a}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]int{"10.0.0.1:3080": 2, "10.0.0.1:443": 1, "[::1]:443": 1} {
		if got := c.Headers(addr); len(got) != want {
			t.Errorf("%s: %d headers, want %d", addr, len(got), want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("aliases: {a: *b}"))
	f.Add([]byte("add_headers: [{proxy: '*', headers: {a: b}}]"))
	path := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		var malformed *FileError
		if err != nil && !errors.As(err, &malformed) {
			t.Fatal(err)
		}
		for _, a := range c.Aliases {
			_, _ = a.Expand("/bin/tsh", []string{"x", "$0"})
		}
		for _, h := range c.Headers("proxy.example:443") {
			if strings.ContainsAny(h[0]+h[1], "\r\n\x00") || h[0] == "" {
				t.Fatalf("%q", h)
			}
		}
	})
}
