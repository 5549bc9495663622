package sdktest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Budgets of a program that loads a login and asks the cluster's API something.
const (
	maxProgram  = 10_000_000 // bytes, stripped
	maxPackages = 240        // linked, the standard library's included
	maxLoading  = 200        // of what only loads the login
	maxCommand  = 20         // lines to a command on a server, from the login
)

func TestProgramIsSmall(t *testing.T) {
	info, err := os.Stat(program(t, "whoami"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("whoami: %d bytes", info.Size())
	if info.Size() > maxProgram {
		t.Errorf("a program that loads the profile and pings has %d bytes, the limit is %d", info.Size(), maxProgram)
	}
}

func TestProgramLinksFewPackages(t *testing.T) {
	for _, tt := range []struct {
		pkg   string
		limit int
	}{
		{"../../examples/whoami", maxPackages},
		{"../../credentials", maxLoading},
	} {
		out, err := exec.Command("go", "list", "-deps", tt.pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(string(out), "\n")
		t.Logf("%s: %d packages", tt.pkg, n)
		if n > tt.limit {
			t.Errorf("%s links %d packages, the limit is %d", tt.pkg, n, tt.limit)
		}
	}
}

// What it takes to run a command on a server is a function without helpers, and short.
func TestCommandTakesFewLines(t *testing.T) {
	files := token.NewFileSet()
	program, err := parser.ParseFile(files, "../../examples/sshcommand/main.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]int)
	for _, d := range program.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			lines[f.Name.Name] = files.Position(f.Body.End()).Line - files.Position(f.Body.Pos()).Line - 1
		}
	}
	if n := lines["run"]; n == 0 || n > maxCommand || len(lines) != 2 {
		t.Errorf("functions of these lengths: %v; run has %d lines at most, and main calls it", lines, maxCommand)
	}
}
