package sshclient_test

import (
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/seed-087d674e/tsh/sshclient"
)

func TestParseTarget(t *testing.T) {
	const uuid = "f2f1a8c6-0001-4b3a-9a52-6f6c5c4f3e21"
	for in, want := range map[string]sshclient.Target{
		"web-1":                    {Host: "web-1"},
		"alice@web-1":              {Login: "alice", Host: "web-1"},
		"alice@corp.example@web-1": {Login: "alice@corp.example", Host: "web-1"},
		`CORP\alice smith@web-1`:   {Login: `CORP\alice smith`, Host: "web-1"},
		"root@" + uuid:             {Login: "root", Host: uuid},
		"::1":                      {Host: "::1"},
		"[2001:db8::1]":            {Host: "2001:db8::1"},
		"root@[::1]":               {Login: "root", Host: "::1"},
		"10.0.0.1":                 {Host: "10.0.0.1"},
		"web_1.example.com":        {Host: "web_1.example.com"},
		"büro-1":                   {Host: "büro-1"},
		"web-1:22":                 {Host: "web-1", Port: 22},
		"alice@10.0.0.1:65535":     {Login: "alice", Host: "10.0.0.1", Port: 65535},
		"root@[::1]:2222":          {Login: "root", Host: "::1", Port: 2222},
		"root@" + uuid + ":0":      {Login: "root", Host: uuid},
	} {
		if got, err := sshclient.ParseTarget(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

// case S17: a name that could be taken for an option, a command or a terminal
// sequence is refused before anything is done with it.
func TestParseTargetRefuses(t *testing.T) {
	for _, in := range []string{
		"", "@", "@web-1", "alice@", "a b@", "[]", "[::1", "[web-1]", "[10.0.0.1]", "[::1]x",
		"-oProxyCommand=id", "-web", "-l@web", "alice@-web", "-web:22",
		"web\n1", "web\x00", "web\x1b[2J", "web\u202e1", "web 1", "web\t", "\xff", "al\x00ice@web", "al\nice@web",
		"web;id", "$(id)", "`id`", "a|b", "a&b", "a>b", "a/b", "..\\x", "*", "web?", "!web", "~", "web,db",
		"al`id`ice@web", "al;ice@web", `alice\@web`,
		"fe80::1%eth0", "1:2:3", "env=prod", "alice@env=prod,x=y",
		strings.Repeat("x", 600), strings.Repeat("x", 600) + "@web",
		"alice@web:ssh", "web:", ":22", "[::1]:", "web:-1", "web:+1", "web:0x16", "web:65536", "web:22;id", "web:2\n2", "[::1]:22:22", "web:٢٢",
	} {
		got, err := sshclient.ParseTarget(in)
		if err == nil {
			t.Errorf("%q: %+v, want an error", in, got)
			continue
		}
		printable(t, err)
		if e := as[*sshclient.TargetError](t, err); e.Target != in || e.Reason == "" {
			t.Errorf("%q: %+v", in, e)
		}
	}
}

func TestHostPort(t *testing.T) {
	for want, target := range map[string]sshclient.Target{
		"web-1:0": {Host: "web-1"}, "web-1:22": {Host: "web-1", Port: 22}, "[::1]:0": {Host: "::1"},
	} {
		if got := target.HostPort(); got != want {
			t.Errorf("%+v: %q, want %q", target, got, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	entries, err := os.ReadDir("testdata/fuzz/FuzzParseTarget")
	if err != nil || len(entries) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := sshclient.ParseTarget(s)
		if err != nil {
			printable(t, err)
			return
		}
		for _, name := range []string{got.Host, got.Login} {
			if strings.HasPrefix(name, "-") || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q: %+v", s, got)
			}
		}
		// What was accepted is found again in what was typed.
		again := got.HostPort()
		if got.Login != "" {
			again = got.Login + "@" + again
		}
		if back, err := sshclient.ParseTarget(again); err != nil || back != got || got.Host == "" {
			t.Errorf("%q: %+v, then %+v, %v", s, got, back, err)
		}
	})
}
