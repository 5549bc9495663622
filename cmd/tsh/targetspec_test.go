package main

import (
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/seed-087d674e/tsh/sshclient"
)

func TestParseTargetSpec(t *testing.T) {
	for in, want := range map[string]targetSpec{
		"root@web-1:22": {Target: sshclient.Target{Login: "root", Host: "web-1", Port: 22}},
		"a@corp@web-1":  {Target: sshclient.Target{Login: "a@corp", Host: "web-1"}},
		"env=prod":      {labels: map[string]string{"env": "prod"}, text: "env=prod"},
		"root@env=prod; role = web,": {Target: sshclient.Target{Login: "root"}, text: "env=prod; role = web,",
			labels: map[string]string{"env": "prod", "role": "web"}},
		`a@corp@"owner=b@corp, c",x='a;b'`: {Target: sshclient.Target{Login: "a@corp"}, text: `"owner=b@corp, c",x='a;b'`,
			labels: map[string]string{"owner": "b@corp, c", "x": "a;b"}},
		"url=http://web:80/": {labels: map[string]string{"url": "http://web:80/"}, text: "url=http://web:80/"},
		"env=":               {labels: map[string]string{"env": ""}, text: "env="},
		"büro=ä b":           {labels: map[string]string{"büro": "ä b"}, text: "büro=ä b"},
	} {
		if got, err := parseTargetSpec(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

// case S17: what could pass for an option, a command or a terminal sequence is refused.
func TestParseTargetSpecRefuses(t *testing.T) {
	for _, in := range []string{
		"", "-oProxyCommand=id", "--x=y", "root@-x=y", "@env=prod", "=prod", "env=prod,role", "env=prod,env=dev", "env='prod", `"env=prod`,
		"env=pr\x1bod", "env=pr\nod", "env=pr\x00od", "env=\u202eprod", "env=\xff", "-l@env=prod", "ro`id`ot@env=prod", "ro;ot@env=prod", "ro\not@env=prod",
		`root\@env=prod`, "'a@b'@env=prod", "env=" + strings.Repeat("x", maxLabels), strings.Repeat("x", 600) + "@env=prod", "web;id", "$(id)",
	} {
		got, err := parseTargetSpec(in)
		if err == nil || !isUsage(err) {
			t.Errorf("%q: %+v, %v", in, got, err)
			continue
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: the message %q is not printable", in, err)
		}
	}
}

func FuzzParseTargetSpec(f *testing.F) {
	const corpus = "testdata/fuzz/FuzzParseTargetSpec"
	if entries, err := os.ReadDir(corpus); err != nil || len(entries) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTargetSpec(s)
		if err != nil {
			if !isUsage(err) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		odd := func(s string) bool {
			return strings.HasPrefix(s, "-") || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
		}
		if odd(got.Host) || odd(got.Login) || odd(got.text) || (got.Host == "") != (len(got.labels) > 0) || got.labels[""] != "" {
			t.Fatalf("%q: %+v", s, got)
		}
		if got.Host != "" {
			return
		}
		again := got.text
		if got.Login != "" {
			again = got.Login + "@" + again
		}
		if back, err := parseTargetSpec(again); err != nil || !maps.Equal(back.labels, got.labels) || back.Login != got.Login {
			t.Errorf("%q: %+v, then %+v, %v", s, got, back, err)
		}
	})
}
