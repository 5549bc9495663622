package tshconfig

import (
	"strings"
	"testing"
	"unicode"
)

func TestTemplates(t *testing.T) {
	nested := Template{Pattern: `^(\w+)\.(\w+):([0-9]+)$`, Proxy: "$2.example.com:443", Cluster: "$2", Host: "$1:$3", Where: "f:1"}
	tests := []struct {
		name      string
		templates []Template
		host      string
		port      int
		want      Expanded
		matched   bool
	}{
		{"the example of the documentation", []Template{nested}, "web.leaf", 3022, Expanded{Proxy: "leaf.example.com:443", Cluster: "leaf", Host: "web", Port: 3022}, true},
		{"a missing port is 0", []Template{nested}, "web.leaf", 0, Expanded{Proxy: "leaf.example.com:443", Cluster: "leaf", Host: "web"}, true},
		{"none fits", []Template{nested}, "web", 22, Expanded{}, false},
		{"none there", nil, "web", 22, Expanded{}, false},
		{"the first one counts", []Template{{Pattern: `^x`, Host: "wrong"}, {Pattern: `web`, Host: "first"}, {Pattern: `web`, Host: "second"}}, "web", 22, Expanded{Host: "first", Port: 22}, true},
		{"a host without a port keeps the port", []Template{{Pattern: `^(.*):22$`, Host: "$1.example.com"}}, "web", 22, Expanded{Host: "web.example.com", Port: 22}, true},
		{"names of groups", []Template{{Pattern: `^(?P<who>\w+)-x:`, Host: "${who}x"}}, "web-x", 0, Expanded{Host: "webx"}, true},
		{"host before query before search", []Template{{Pattern: `.`, Query: `name == "q"`, Search: "s", Host: "h"}}, "web", 0, Expanded{Host: "h"}, true},
		{"query before search", []Template{{Pattern: `^(\w+)`, Query: `labels.env == "$1"`, Search: "s"}}, "prod", 0, Expanded{Query: `labels.env == "prod"`}, true},
		{"search", []Template{{Pattern: `^(\w+)`, Search: "$1,x"}}, "prod", 0, Expanded{Search: "prod,x"}, true},
		{"dollars", []Template{{Pattern: `^(\w+)`, Search: "$$1 $ ${} $1"}}, "web", 0, Expanded{Search: "$1 $ ${} web"}, true},
		{"a group that found nothing", []Template{{Pattern: `^web(-x)?:`, Cluster: "$1", Host: "h"}}, "web", 0, Expanded{Host: "h"}, true},
		{"IPv6", []Template{{Pattern: `^\[(.*)\]:(\d+)$`, Host: "[$1]:$2"}}, "::1", 22, Expanded{Host: "::1", Port: 22}, true},
		{"not anchored", []Template{{Pattern: `b`, Proxy: "p:443"}}, "abc", 0, Expanded{Proxy: "p:443"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, matched, err := Expand(tt.templates, tt.host, tt.port)
			if err != nil || matched != tt.matched || got != tt.want {
				t.Errorf("%+v, %v, %v\nwant %+v, %v", got, matched, err, tt.want, tt.matched)
			}
		})
	}
}

// case S17
func TestTemplatesThatCannotBeUsed(t *testing.T) {
	tests := []struct {
		template Template
		host     string
		want     string
	}{
		{Template{Host: "x"}, "web", "needs a template"},
		{Template{Pattern: "x"}, "web", "needs one of"},
		{Template{Pattern: "(", Host: "x"}, "web", "missing closing"},
		{Template{Pattern: `^(\w+)`, Host: "$1x"}, "web", "no such group"},
		{Template{Pattern: `^(\w+)`, Host: "$2"}, "web", "no such group"},
		{Template{Pattern: `^(\w+)`, Host: "${who}"}, "web", "no such group"},
		{Template{Pattern: `^(.*):`, Host: "$1"}, "-oProxyCommand=x", "no name"},
		{Template{Pattern: `^x(.*):`, Proxy: "$1:1"}, "x-oProxyCommand=x", "no name"},
		{Template{Pattern: `^x(.*):`, Cluster: "$1"}, "x-l", "no name"},
		{Template{Pattern: `^(.*):`, Host: "$1"}, "a b", "no name"},
		{Template{Pattern: `(?s)^(.*):`, Host: "$1"}, "a\nb", "control characters"},
		{Template{Pattern: `^(.*):`, Query: "$1"}, "a\x1b[2Jb", "control characters"},
		{Template{Pattern: `^(.*):`, Host: "$1"}, "", "no host:port"},
		{Template{Pattern: `.`, Host: "x:99999"}, "web", "no host:port"},
		{Template{Pattern: `.`, Host: "x:ssh"}, "web", "no host:port"},
		{Template{Pattern: `^(.*):`, Host: strings.Repeat("$1", 100)}, strings.Repeat("a", 200), "longer than"},
	}
	for _, tt := range tests {
		tt.template.Where = "/etc/tsh.yaml:7"
		_, matched, err := Expand([]Template{tt.template}, tt.host, 0)
		if err == nil || matched || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "/etc/tsh.yaml:7: ") {
			t.Errorf("%+v with %q: %v, %v", tt.template, tt.host, matched, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add(`^(\w+)\.(\w+):([0-9]+)$`, "$1:$3", "$2.example.com:443", "web.leaf", 22)
	f.Add(`^(?P<who>\w+)`, "${who}x", "", "web", 0)
	f.Add(`(?s)(.*)`, "$1$$", "${1}", "-a\nb", 70000)
	f.Fuzz(func(t *testing.T, pattern, host, proxy, target string, port int) {
		e, matched, err := Expand([]Template{{Pattern: pattern, Host: host, Proxy: proxy, Where: "x:1"}}, target, port)
		if (err != nil || !matched) && e != (Expanded{}) {
			t.Fatalf("%+v of what does not match: %v", e, err)
		}
		for _, s := range []string{e.Host, e.Proxy} {
			if strings.HasPrefix(s, "-") || len(s) > maxExpanded || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q", s)
			}
		}
		if matched && host != "" && (e.Host == "" || e.Port < 0 || e.Port > 65535) {
			t.Fatalf("%+v", e)
		}
	})
}
