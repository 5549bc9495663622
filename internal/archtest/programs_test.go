package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// starts are the places of the client that look for a program or start one, and how each
// keeps clear of what lies in the current directory. exec.Command and exec.LookPath refuse
// what they find there by a name without a slash (exec.ErrDot), on Windows as well;
// syscall.Exec and os.StartProcess take a path as it is.
func starts() map[string]string {
	return map[string]string{
		"cmd/tsh/alias_unix.go syscall.Exec":               "a path that runInstead has looked up",
		"cmd/tsh/alias_windows.go exec.Command":            "a path that runInstead has looked up",
		"cmd/tsh/browser.go exec.Command":                  "a path that openerFor has made absolute",
		"cmd/tsh/browser.go exec.LookPath":                 "what the person or the environment names; ErrDot is an error",
		"cmd/tsh/config_knownhost.go exec.LookPath":        "ssh; ErrDot counts as none",
		"cmd/tsh/config_knownhost.go exec.CommandContext":  "the path that was looked up",
		"cmd/tsh/detach_unix.go exec.Command":              "this program by os.Executable, or the person's $SHELL",
		"cmd/tsh/detach_windows.go exec.Command":           "the person's %COMSPEC%, or its absolute path",
		"cmd/tsh/forwardlocal.go exec.Command":             "what the person has typed behind --local",
		"cmd/tsh/settings.go exec.LookPath":                "the first word of an alias; ErrDot is an error",
		"cmd/tsh/x11.go exec.CommandContext":               "xauth, or what -o XAuthLocation names",
		"internal/fido2/run.go exec.LookPath":              "the programs of libfido2; what is not absolute counts as none",
		"internal/fido2/run.go exec.CommandContext":        "the path that was looked up",
		"cmd/tsh/browser.go import github.com/pkg/browser": "looks its programs up with exec.LookPath; on Windows the system opens the link",
		"cmd/tsh/ttywatch_unix.go exec.Cmd":                "this program by os.Executable",
	}
}

// programStarts finds these places in the client's source.
func programStarts(m *module, dirs []string) (found []string) {
	wanted := map[string]bool{
		"exec.Command": true, "exec.CommandContext": true, "exec.LookPath": true, "exec.Cmd": true, "os.StartProcess": true,
		"syscall.Exec": true, "syscall.ForkExec": true, "syscall.StartProcess": true, "unix.Exec": true, "windows.CreateProcess": true, "windows.ShellExecute": true,
	}
	for _, dir := range dirs {
		for _, f := range m.packages[dir].files {
			for _, imported := range f.imports() {
				if imported == "github.com/pkg/browser" {
					found = append(found, f.path+" import "+imported)
				}
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				if lit, ok := n.(*ast.StarExpr); ok { // *exec.Cmd starts nothing
					_, pointer := lit.X.(*ast.SelectorExpr)
					return !pointer
				}
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && wanted[x.Name+"."+sel.Sel.Name] {
						found = append(found, fmt.Sprintf("%s %s.%s", f.path, x.Name, sel.Sel.Name))
					}
				}
				return true
			})
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// case P03: every place that starts a program has been looked at.
func TestProgramsThatAreStarted(t *testing.T) {
	m := thisModule(t)
	found := programStarts(m, clientDirs(m))
	known := starts()
	for _, place := range found {
		if known[place] == "" {
			t.Errorf("%s: say in starts how it keeps clear of the current directory", place)
		}
		delete(known, place)
	}
	for place := range known {
		t.Errorf("%s is not there any more", place)
	}
	bad := madeUp(t, map[string]string{
		"cmd/tsh/a.go": "package main\nimport \"os/exec\"\nfunc f(c *exec.Cmd) { _ = exec.Cmd{}; exec.Command(`sh`) }\n",
	})
	if got := strings.Join(programStarts(bad, []string{"cmd/tsh"}), ","); got != "cmd/tsh/a.go exec.Cmd,cmd/tsh/a.go exec.Command" {
		t.Errorf("found %s", got)
	}
}
