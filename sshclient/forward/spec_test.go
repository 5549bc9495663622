package forward_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-087d674e/tsh/sshclient/forward"
)

func tcp(host string, port int) forward.Endpoint { return forward.Endpoint{Host: host, Port: port} }
func socket(path string) forward.Endpoint        { return forward.Endpoint{Path: path} }

// good are specifications and what they mean; those of OpenSSH's manual are among them.
func good() map[string]forward.Spec {
	const L, R, D = forward.Local, forward.Remote, forward.Dynamic
	var none forward.Endpoint
	return map[string]forward.Spec{
		"L 8080:db:5432":             {L, tcp("", 8080), tcp("db", 5432)},
		"L 127.0.0.1:8080:db:5432":   {L, tcp("127.0.0.1", 8080), tcp("db", 5432)},
		"L localhost:8080:db:5432":   {L, tcp("localhost", 8080), tcp("db", 5432)},
		"L *:8080:db:5432":           {L, tcp("*", 8080), tcp("db", 5432)},
		"L :8080:db:5432":            {L, tcp("*", 8080), tcp("db", 5432)},
		"L [::1]:8080:[fd00::7]:80":  {L, tcp("::1", 8080), tcp("fd00::7", 80)},
		"L [fe80::1%eth0]:80:[db]:1": {L, tcp("fe80::1%eth0", 80), tcp("db", 1)},
		"L /tmp/s:db:5432":           {L, socket("/tmp/s"), tcp("db", 5432)},
		"L /tmp/s:/run/docker.sock":  {L, socket("/tmp/s"), socket("/run/docker.sock")},
		"L 2375:/run/docker.sock":    {L, tcp("", 2375), socket("/run/docker.sock")},
		"L *:2375:/run/docker.sock":  {L, tcp("*", 2375), socket("/run/docker.sock")},
		"L [/tmp/a:b]:/tmp/my files": {L, socket("/tmp/a:b"), socket("/tmp/my files")},
		"R 8080:localhost:80":        {R, tcp("", 8080), tcp("localhost", 80)},
		"R 0:localhost:80":           {R, tcp("", 0), tcp("localhost", 80)},
		"R *:0:[::1]:80":             {R, tcp("*", 0), tcp("::1", 80)},
		"R 8080:/run/app.sock":       {R, tcp("", 8080), socket("/run/app.sock")},
		"R /tmp/r:localhost:80":      {R, socket("/tmp/r"), tcp("localhost", 80)},
		"R /tmp/r:/tmp/l":            {R, socket("/tmp/r"), socket("/tmp/l")},
		"R 1080":                     {R, tcp("", 1080), none},
		"R 0":                        {R, tcp("", 0), none},
		"R localhost:1080":           {R, tcp("localhost", 1080), none},
		"R /tmp/socks":               {R, socket("/tmp/socks"), none},
		"D 1080":                     {D, tcp("", 1080), none},
		"D :1080":                    {D, tcp("*", 1080), none},
		"D [::1]:1080":               {D, tcp("::1", 1080), none},
		"D /tmp/socks":               {D, socket("/tmp/socks"), none},
	}
}

func TestParse(t *testing.T) {
	for text, want := range good() {
		spec, err := forward.Parse(forward.Kind(text[0]), text[2:])
		if err != nil || spec != want {
			t.Errorf("-%s: %+v, %v; want %+v", text, spec, err, want)
		}
		if again, err := forward.Parse(spec.Kind, spec.String()); err != nil || again != spec {
			t.Errorf("-%s is printed as %s, which is %+v, %v", text, spec, again, err)
		}
	}
}

// Every error quotes the specification.
func bad() map[string]string {
	return map[string]string{
		"L ":                      "where to connect to",
		"L 8080":                  "where to connect to",
		"L db:5432":               "where to connect to",
		"L 8080:db":               "where to connect to",
		"L /tmp/s":                "where to connect to",
		"L 8080:db:http":          `"http" is not a port`,
		"L 8080:db:65536":         `"65536" is not a port`,
		"L -1:db:80":              `"-1" is not a port`,
		"L 8080:db:":              `"" is not a port`,
		"L 0:db:80":               "port 0 is for -R",
		"L 8080:db:0":             "port 0",
		"L 8080::80":              "no host",
		"L 8080:/run/x:80":        "no host",
		"L a:/run/x:h:80":         "none of the forms",
		"L /run/x:1:h:80":         "none of the forms",
		"L ::1:8080:db:5432":      "too many colons",
		"L 8080:fd00::7:80":       "too many colons",
		"L 8080:[::1:80":          "not closed",
		"L 8080:[::1]80":          "follows a closing bracket",
		"L []:8080:db:80":         "nothing in the brackets",
		"L 8080:d b:80":           `contains ' '`,
		"L 8080:d\x1b[2Jb:80":     "contains",
		"L 8080:db\\:80":          "contains",
		"L 8080:\xff:80":          "not valid UTF-8",
		"R host:/tmp/x:":          "not a port",
		"R ":                      "not a port",
		"D 0":                     "port 0 is for -R",
		"D 1080:db:80":            "none of the forms",
		"D socks":                 "not a port",
		"D ":                      "not a port",
		"D /tmp/a:80":             "none of the forms",
		"D " + long():             "longer than",
		"L 1:2:3:4:5":             "too many colons",
		"L 8080:db:80:/tmp/x":     "none of the forms",
		"L 18446744073709551:h:1": "not a port",
	}
}

func long() string { return strings.Repeat("1", 2000) }

func TestParseRefuses(t *testing.T) {
	for text, want := range bad() {
		_, err := forward.Parse(forward.Kind(text[0]), text[2:])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-%.50q: %v, want %q", text, err, want)
			continue
		}
		if !strings.HasPrefix(err.Error(), "-"+text[:1]+` "`) || strings.Contains(err.Error(), "\x1b") || !utf8.ValidString(err.Error()) || len(err.Error()) > 300 {
			t.Errorf("-%.50q: %q does not name it, or as it is", text, err)
		}
	}
}

// case P06: what parses is printed as what parses to the same.
func FuzzParse(f *testing.F) {
	for text := range good() {
		f.Add(text[0], text[2:])
	}
	for text := range bad() {
		f.Add(text[0], text[2:])
	}
	f.Fuzz(func(t *testing.T, kind byte, text string) {
		kind = "LRD"[kind%3]
		spec, err := forward.Parse(forward.Kind(kind), text)
		if err != nil {
			return
		}
		again, err := forward.Parse(spec.Kind, spec.String())
		if err != nil || again != spec {
			t.Errorf("%q is %+v, printed %q, which is %+v, %v", text, spec, spec, again, err)
		}
		if spec.Listen.Path != "" && spec.Listen.Path[0] != '/' || spec.Connect.Path != "" && spec.Connect.Path[0] != '/' {
			t.Errorf("%q: %+v", text, spec)
		}
		if spec.SOCKS() && spec.Kind == forward.Local {
			t.Errorf("%q connects nowhere", text)
		}
	})
}
