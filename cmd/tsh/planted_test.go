package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// plant makes a directory with a program of every name that something here looks for, and
// returns it with what says which of them have run.
func plant(t *testing.T) (dir string, ran func() string) {
	t.Helper()
	dir = t.TempDir()
	marks := filepath.Join(t.TempDir(), "ran")
	for _, name := range []string{
		"xauth", "ssh", "xdg-open", "x-www-browser", "www-browser", "wslview", "open", "security", "dbus-launch", "dbus-daemon", "sh", "bash", "evil",
		"fido2-token", "fido2-assert", "fido2-cred", "ssh-agent", "ssh-add", "gnome-keyring-daemon", "tsh", "uname", "git",
	} {
		script, ext := "#!/bin/sh\necho "+name+" \"$@\" >> '"+marks+"'\n", ""
		if runtime.GOOS == "windows" {
			script, ext = "@echo "+name+" %*>>\""+marks+"\"\r\n", ".bat"
		}
		if err := os.WriteFile(filepath.Join(dir, name+ext), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func() string {
		data, err := os.ReadFile(marks)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(data)
	}
}

// treacherous are values of PATH in which the current directory has a part; rest is what
// comes after.
func treacherous(rest string) []string {
	sep := string(os.PathListSeparator)
	return []string{".", "", "." + sep + rest, sep + rest, "./" + sep + rest, rest + sep + "." + sep}
}

// case P03: a program of the current directory is never run by its name alone, whatever
// the PATH says: not for a browser, nor a cookie, nor an alias.
func TestPlantedPrograms(t *testing.T) {
	dir, ran := plant(t)
	t.Chdir(dir)
	t.Setenv("DISPLAY", ":1")
	for _, path := range treacherous(t.TempDir()) {
		t.Setenv("PATH", path)
		for _, choice := range []string{"evil", "evil --flag %s"} {
			if o := openerFor(choice); o.err == nil {
				t.Errorf("PATH=%q: %s opens with %q", path, choice, o.command)
			}
		}
		if runtime.GOOS == "linux" {
			if err := systemBrowser(); err == nil {
				t.Errorf("PATH=%q: there is a browser", path)
			}
			if err := (opener{}).open("https://proxy.test/", os.Stderr); err == nil {
				t.Errorf("PATH=%q: a browser has opened", path)
			}
		}
		if err := checkSSHVersion(context.Background()); err != nil {
			t.Errorf("PATH=%q: %v", path, err)
		}
		if _, err := (x11Options{xauth: "xauth"}).run(context.Background(), "list"); err == nil {
			t.Errorf("PATH=%q: xauth has run", path)
		}
		err := runInstead(context.Background(), []string{"evil"}, "")
		if err == nil || !errors.Is(err, exec.ErrDot) && !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("PATH=%q: an alias: %v", path, err)
		}
	}
	if names := ran(); names != "" {
		t.Errorf("these have run:\n%s", names)
	}
}

// The whole program, in such a directory: a login, a session with the display, what
// writes a configuration for OpenSSH.
func TestPlantedProgramsAroundCommands(t *testing.T) {
	c := startFarCluster(t, "off")
	c.net.SetDelay(0)
	dir, ran := plant(t)
	c.env = slices.DeleteFunc(c.env, func(v string) bool {
		return strings.HasPrefix(v, "PATH=") || strings.HasPrefix(v, "DISPLAY=") || strings.HasPrefix(v, "BROWSER=") || strings.HasPrefix(v, "SSH_AUTH_SOCK=")
	})
	// The node is this process, whose sessions find their shell by its path.
	c.env = append(c.env, "DISPLAY=:1", "PATH=.:"+os.Getenv("PATH"))
	for _, args := range [][]string{
		{"login", "--proxy=" + c.PublicAddr(), "--user=alice", "--password-stdin", "--keystore=keyring,file"},
		{"status"}, {"ls"}, {"version"}, {"doctor"}, {"config", "--suffix=.dev"},
		{"ssh", "-X", "root@node-1", "true"}, {"scp", "planted", "root@node-1:/nowhere/"}, {"logout"},
	} {
		cmd := exec.Command(releasedTsh(t), args...)
		cmd.Dir, cmd.Env, cmd.Stdin = dir, c.env, strings.NewReader(farPassword+"\n")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "panic") || args[0] == "login" && err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
		if names := ran(); names != "" {
			t.Fatalf("%q has run:\n%s", args, names)
		}
	}
}
