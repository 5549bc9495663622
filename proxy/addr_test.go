package proxy

import (
	"strings"
	"testing"
)

func TestParseAddr(t *testing.T) {
	for input, want := range map[string]Addr{
		"tele.example.com":              {"tele.example.com", 3080, 3023, false},
		"tele.example.com:443":          {"tele.example.com", 443, 3023, true},
		"tele.example.com:443,2023":     {"tele.example.com", 443, 2023, true},
		"tele.example.com:,2023":        {"tele.example.com", 3080, 2023, false},
		"tele.example.com:":             {"tele.example.com", 3080, 3023, false},
		"https://tele.example.com:443":  {"tele.example.com", 443, 3023, true},
		"HTTPS://tele.example.com/":     {"tele.example.com", 3080, 3023, false},
		"localhost":                     {"localhost", 3080, 3023, false},
		"my_host-1.Example":             {"my_host-1.Example", 3080, 3023, false},
		"xn--bcher-kva.example":         {"xn--bcher-kva.example", 3080, 3023, false},
		"127.0.0.1:4080":                {"127.0.0.1", 4080, 3023, true},
		"2001:db8::1":                   {"2001:db8::1", 3080, 3023, false},
		"[2001:db8::1]":                 {"2001:db8::1", 3080, 3023, false},
		"[::1]:443,22":                  {"::1", 443, 22, true},
		"1.example":                     {"1.example", 3080, 3023, false},
		"a." + strings.Repeat("b", 63):  {"a." + strings.Repeat("b", 63), 3080, 3023, false},
		"https://[2001:db8::1]:65535,1": {"2001:db8::1", 65535, 1, true},
	} {
		if got, err := ParseAddr(input); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", input, got, err, want)
		}
	}
	a := Addr{Host: "::1", WebPort: 443, SSHPort: 22}
	if a.Web() != "[::1]:443" || a.SSH() != "[::1]:22" {
		t.Errorf("%s %s", a.Web(), a.SSH())
	}
}

// case N14
func TestParseAddrRefuses(t *testing.T) {
	for input, want := range map[string]string{
		"":                              "missing",
		":443":                          "missing",
		"https://":                      "missing",
		"http://tele.example.com":       `"http"`,
		"good.example@evil.example":     `the host would be "evil.example"`,
		"good:443@evil.example":         `the host would be "evil.example`,
		"https://a:b@evil.example":      `the host would be "evil.example"`,
		"evil.example/good.example":     `the host would be "evil.example"`,
		`evil.example\good.example`:     `the host would be "evil.example"`,
		"evil.example?good.example":     `the host would be "evil.example"`,
		"evil.example#@good.example":    `the host would be "evil.example"`,
		"tele.example.com//":            "path",
		"[fe80::1%25eth0]:443":          "zone",
		"fe80::1%eth0":                  "zone",
		"tele%2eexample.com":            "escape",
		"[::1":                          "IPv6",
		"::1]":                          "IPv6",
		"[::1]443":                      "IPv6",
		"[::1]]:443":                    "IPv6",
		"[[::1]]:443":                   "IPv6",
		"[127.0.0.1]:443":               "IPv6",
		"[tele.example.com]:443":        "IPv6",
		"[]:443":                        "IPv6",
		"a:b:c":                         "IPv6",
		"tele.exаmple.com":              `"tele.ex\u0430mple.com"`, // a Cyrillic letter
		"bücher.example":                "outside ASCII",
		"tele.example.com\n":            `\n`,
		"\x1b[31mtele.example.com":      `\x1b`,
		"tele.example.com\x00":          `\x00`,
		"tele example.com":              "no valid name",
		"-oProxyCommand=x":              "no valid name",
		"a..b":                          "no valid name",
		".example.com":                  "no valid name",
		"example.com.":                  "no valid name",
		"a-.b":                          "no valid name",
		strings.Repeat("a", 64):         "no valid name",
		strings.Repeat("a.", 127) + "b": "characters",
		"127.1":                         "IPv4",
		"0x7f.1":                        "IPv4",
		"2130706433":                    "IPv4",
		"0177.0.0.1":                    "IPv4",
		"1.2.3.4.5":                     "IPv4",
		"host:0":                        "port",
		"host:65536":                    "port",
		"host:99999":                    "port",
		"host:+443":                     "port",
		"host:-1":                       "port",
		"host:443x":                     "port",
		"host: 443":                     "port",
		"host:443,":                     "",
		"host:443,0":                    "port",
		"host:443,2023,1":               "port",
		"host:18446744073709551617":     "port",
	} {
		got, err := ParseAddr(input)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", input, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", input, got, err, want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b\x00") {
			t.Errorf("%q: the error has control characters: %q", input, err)
		}
	}
}

// The seeds are what people type and what the captured profiles and answers
// announce; they grow in testdata/fuzz/FuzzAddress.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"tele.example.com:443,2023", "https://[::1]:443/", "a@b", "[fe80::1%25eth0]:1", "127.1", "\x1b", "é", "::1", "h:,1"} {
		f.Add(seed)
	}
	for _, seed := range capturedAddrs(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		addr, err := ParseAddr(s)
		if err != nil {
			return
		}
		// What is accepted means the same when it is written down and read again.
		again, err := ParseAddr(addr.Web())
		if err != nil || again.Host != addr.Host || again.WebPort != addr.WebPort {
			t.Fatalf("%q: %+v became %+v, %v", s, addr, again, err)
		}
		// An announcement is read under the same rules.
		if host, port, err := splitAddr(addr.Web()); err != nil || host != addr.Host || port != addr.WebPort {
			t.Fatalf("%q: announced as %q %d, %v", s, host, port, err)
		}
		if strings.ContainsAny(addr.Host, "@/%\\ \x00") {
			t.Fatalf("%q: host %q", s, addr.Host)
		}
	})
}
