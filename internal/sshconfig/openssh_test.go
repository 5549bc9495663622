//go:build unix

package sshconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// openSSH are the versions that read what is written here.
func openSSH(t *testing.T) map[string][]string {
	return map[string][]string{"new": {testenv.Program(t, "ssh")}, "7.5": {testenv.Program(t, "ssh1"), "-2"}}
}

// sample is a configuration whose paths are in dir, where a program notes its arguments.
func sample(t *testing.T, dir string, guarded bool) *File {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "tsh")
	script := "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$NOTES\"\nexit 1\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return &File{
		Program: program, Proxy: "proxy.example.com", ProxyAddr: "proxy.example.com:443",
		Clusters:   []Cluster{{"dev.example", "dev.example"}, {"sub.dev.example", "sub.dev.example"}, {"leaf", "leaf"}},
		KnownHosts: filepath.Join(dir, "known_hosts"), IdentityFile: filepath.Join(dir, "alice"),
		CertificateFile: filepath.Join(dir, "alice-ssh", "dev.example-cert.pub"), Login: "root", Guarded: guarded,
	}
}

func written(t *testing.T, f *File) string {
	t.Helper()
	rendered, err := f.Render()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(rendered), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// settings is what ssh -G makes of a configuration, by keyword.
func settings(t *testing.T, ssh []string, config, host string) map[string]string {
	t.Helper()
	out, err := exec.Command(ssh[0], append(ssh[1:], "-G", "-F", config, host)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(out)) {
		keyword, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		all[keyword] = value
	}
	return all
}

// case S18
func TestPathsSurviveOpenSSH(t *testing.T) {
	for version, ssh := range openSSH(t) {
		for _, name := range []string{"plain", "with space", "it's", "100% %h%%d %", "#hash # x", "é中", "a;b&c", "$HOME `id` !x", "~root", "(a)*[b]{c}", "-F"} {
			for _, guarded := range []bool{false, true} {
				t.Run(version+"/"+name, func(t *testing.T) {
					dir := filepath.Join(t.TempDir(), name)
					f := sample(t, dir, guarded)
					config := written(t, f)
					got := settings(t, ssh, config, "root@web-1.dev.example")
					if got["user"] != "root" || got["identitiesonly"] != "yes" {
						t.Errorf("%v", got)
					}
					notes := filepath.Join(t.TempDir(), "notes")
					cmd := exec.Command(ssh[0], append(ssh[1:], "-v", "-F", config, "web-1.dev.example")...)
					cmd.Env = append(os.Environ(), "NOTES="+notes)
					out, _ := cmd.CombinedOutput() // the program connects nowhere
					args, err := os.ReadFile(notes)
					if want := "proxy\nssh\n--cluster=dev.example\n--proxy=proxy.example.com:443\nroot@web-1.dev.example:22\n"; string(args) != want {
						t.Errorf("the program got %q, %v\n%s", args, err, out)
					}
					for _, file := range []string{f.IdentityFile, f.CertificateFile} {
						if !strings.Contains(strings.ReplaceAll(string(out), "\\303\\251\\344\\270\\255", "é中"), " "+file+" type") {
							t.Errorf("it does not look for %s:\n%s", file, out)
						}
					}
				})
			}
		}
	}
}

// Which block a host gets: a cluster whose name ends in another's is another cluster.
func TestBlocks(t *testing.T) {
	for version, ssh := range openSSH(t) {
		for _, guarded := range []bool{false, true} {
			config := written(t, sample(t, t.TempDir(), guarded))
			for host, want := range map[string]string{
				"web.dev.example":     "--cluster=dev.example ",
				"web.sub.dev.example": "--cluster=sub.dev.example ",
				"web.leaf":            "--cluster=leaf ",
				"web.edge":            "",
				"proxy.example.com":   "",
				"example.org":         "",
			} {
				got := settings(t, ssh, config, host)
				if command := got["proxycommand"]; want == "" && command != "" || !strings.Contains(command, want) {
					t.Errorf("%s: %s is reached by %q, want %q", version, host, command, want)
				}
				if ours := strings.Contains(got["userknownhostsfile"], "/known_hosts") && got["identitiesonly"] == "yes"; ours != (want != "" || host == "proxy.example.com") {
					t.Errorf("%s: %s: %v", version, host, got)
				}
			}
		}
	}
}

// What cannot be said so that all versions understand it is refused.
// case S18
func TestPathsThatCannotBeSaid(t *testing.T) {
	for _, name := range []string{"new\nline", "a\"b", `back\slash`, "${HOME}", "a\rb", "a\x00b", "\xff", "a\tb"} {
		f := sample(t, t.TempDir(), true)
		f.KnownHosts = "/home/" + name + "/known_hosts"
		if rendered, err := f.Render(); err == nil {
			t.Errorf("%q:\n%s", name, rendered)
		}
	}
	f := sample(t, t.TempDir(), true)
	f.Program = `/opt/a"b/tsh`
	if _, err := f.Render(); err == nil {
		t.Error("a quote ends the command of Match exec")
	}
}

// case S17
func TestNamesThatAreNone(t *testing.T) {
	for _, name := range []string{"a b", "a\nProxyCommand x", "a'b", `a"b`, "a,b", "-x", "%h", "a#b", "", "a$b", "a\\b", "a;b"} {
		for field, set := range map[string]func(*File){
			"cluster":    func(f *File) { f.Clusters[0] = Cluster{name, "x"} },
			"suffix":     func(f *File) { f.Clusters[0] = Cluster{"x", name} },
			"proxy":      func(f *File) { f.Proxy = name },
			"proxy addr": func(f *File) { f.ProxyAddr = name },
			"login":      func(f *File) { f.Login = name },
		} {
			if field == "login" && strings.Contains("a,b a#b a\\b a;b", name) {
				continue // between quotes these are what they are
			}
			f := sample(t, t.TempDir(), false)
			set(f)
			if rendered, err := f.Render(); err == nil {
				t.Errorf("%s %q:\n%s", field, name, rendered)
			}
		}
	}
}

// What somebody has a person connect to runs nothing.
// case S17
func TestHostileTargetsRunNothing(t *testing.T) {
	for version, ssh := range openSSH(t) {
		for _, guarded := range []bool{false, true} {
			f := sample(t, t.TempDir(), guarded)
			f.Login = "" // or the account that is typed would not count
			config := written(t, f)
			marker := filepath.Join(t.TempDir(), "marker")
			run := "touch " + marker
			for _, target := range []string{
				"$(" + run + ")@web.dev.example", "`" + run + "`@web.dev.example", "';" + run + ";'@web.dev.example", "x;" + run + ";@web.dev.example",
				"x@$(touch${IFS}" + marker + ").dev.example", "x@';touch${IFS}" + marker + ";'.dev.example", "x@`touch${IFS}" + marker + "`.dev.example",
				"'$(" + run + ")'@web.dev.example", "x@'$(touch${IFS}" + marker + ")'.dev.example",
			} {
				cmd := exec.Command(ssh[0], append(ssh[1:], "-F", config, target, "true")...)
				cmd.Env = append(os.Environ(), "NOTES=/dev/null")
				out, err := cmd.CombinedOutput()
				if _, there := os.Stat(marker); there == nil || err == nil {
					t.Fatalf("%s: %q ran something: %s", version, target, out)
				}
			}
		}
	}
}

// A suffix of one's own takes a command that versions before 8.5 do not know.
func TestSuffix(t *testing.T) {
	f := sample(t, filepath.Join(t.TempDir(), "it's 100% #1"), false)
	f.Clusters[2].Suffix = "edge"
	config := written(t, f)
	got := settings(t, []string{testenv.Program(t, "ssh")}, config, "web.edge")
	if !strings.HasSuffix(got["proxycommand"], " proxy ssh --cluster=leaf --proxy=proxy.example.com:443 --host-suffix=edge '%r@%h:%p'") {
		t.Errorf("%q", got["proxycommand"])
	}
	if !strings.HasSuffix(got["knownhostscommand"], `/tsh" config known-host --cluster=leaf --proxy=proxy.example.com:443 --host-suffix=edge %H %K`) {
		t.Errorf("%q", got["knownhostscommand"])
	}
	if got = settings(t, []string{testenv.Program(t, "ssh")}, config, "web.dev.example"); got["knownhostscommand"] != "" {
		t.Errorf("%q", got["knownhostscommand"])
	}
}
