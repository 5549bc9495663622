package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leastFuzzTargets is how many parsers there are at least of what comes from outside.
const leastFuzzTargets = 24

// fuzzTarget is a function that begins with Fuzz.
type fuzzTarget struct {
	dir, name string
	adds      bool // it adds seeds: made up, or from the fixtures
}

func fuzzTargets(t *testing.T, dir string) (targets []fuzzTarget) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range syntax.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") || len(f.Type.Params.List) != 1 {
				continue
			}
			target := fuzzTarget{dir: filepath.Dir(path), name: f.Name.Name}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				own := f.Type.Params.List[0].Names[0].Name
				isOwn := func(e ast.Expr) bool { id, ok := e.(*ast.Ident); return ok && id.Name == own }
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Add" && isOwn(sel.X) {
					target.adds = true
				}
				if _, ok := call.Fun.(*ast.Ident); ok && len(call.Args) > 0 && isOwn(call.Args[0]) {
					target.adds = true // a helper that is given f adds for it
				}
				return true
			})
			targets = append(targets, target)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// unseeded says why a target has nothing meaningful to start from, and which seeds no
// target takes any more.
func unseeded(targets []fuzzTarget, dir string) (findings []string, err error) {
	known := make(map[string]bool)
	for _, target := range targets {
		seeds := filepath.Join(target.dir, "testdata", "fuzz", target.name)
		known[seeds] = true
		if files, err := os.ReadDir(seeds); len(files) == 0 && !target.adds {
			findings = append(findings, target.dir+": "+target.name+" starts from nothing: it adds no seed, and "+seeds+" has none")
		} else if err == nil && len(files) == 0 {
			findings = append(findings, seeds+" is empty")
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || filepath.Base(filepath.Dir(path)) != "fuzz" || filepath.Base(filepath.Dir(filepath.Dir(path))) != "testdata" {
			return err
		}
		if !known[path] {
			findings = append(findings, path+" has seeds of no target")
		}
		return nil
	})
	return findings, err
}

// case P06: every parser of what comes from outside is fuzzed, from seeds that mean
// something.
func TestFuzzTargets(t *testing.T) {
	dir := filepath.Join("..", "..")
	targets := fuzzTargets(t, dir)
	if len(targets) < leastFuzzTargets {
		t.Errorf("%d targets, want %d", len(targets), leastFuzzTargets)
	}
	t.Logf("%d targets", len(targets))
	findings, err := unseeded(targets, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

func TestFuzzTargetsFindsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a/a_test.go", "package a\nfunc FuzzA(f *testing.F) { f.Fuzz(nil) }\nfunc FuzzB(f *testing.F) { f.Add(1) }\nfunc FuzzC(f *testing.F) { f.Fuzz(nil) }\nfunc FuzzD(f *testing.F) { seed(f) }\n")
	write("a/testdata/fuzz/FuzzC/1", "go test fuzz v1\n")
	write("a/testdata/fuzz/FuzzGone/1", "go test fuzz v1\n")
	targets := fuzzTargets(t, dir)
	findings, err := unseeded(targets, dir)
	if err != nil || len(targets) != 4 || len(findings) != 2 || !strings.Contains(findings[0], "FuzzA starts from nothing") || !strings.Contains(findings[1], "FuzzGone") {
		t.Errorf("%v, %v: %q", targets, err, findings)
	}
}
