package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// The budgets of the design. Generated files have none.
const (
	maxFileLines = 400
	maxFuncLines = 60
	maxBranches  = 15 // cyclomatic complexity
	maxParams    = 4  // besides a context
	maxExported  = 30 // names at the top level of a package
)

// exceptions are findings that are meant to be, each with its reason. One that
// no longer applies fails the test, too.
func exceptions() map[string]string {
	return map[string]string{}
}

// budgets collects what exceeds a budget, by a stable name.
type budgets struct {
	m        *module
	findings map[string]string
}

func (b *budgets) add(key, format string, args ...any) {
	b.findings[key] = fmt.Sprintf(format, args...)
}

func checkBudgets(m *module) map[string]string {
	b := &budgets{m: m, findings: make(map[string]string)}
	for _, dir := range m.sortedDirs() {
		p := m.packages[dir]
		exported := 0
		for _, f := range p.files {
			if f.generated {
				continue
			}
			if f.lines > maxFileLines {
				b.add("lines "+f.path, "%d lines", f.lines)
			}
			for _, decl := range f.syntax.Decls {
				exported += b.decl(p, decl)
			}
		}
		if exported > maxExported {
			b.add("exported "+dir, "%d names", exported)
		}
	}
	return b.findings
}

// decl checks one declaration and returns how many names it exports.
func (b *budgets) decl(p *pkg, decl ast.Decl) (exported int) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		b.function(p, d)
		if d.Recv == nil && d.Name.IsExported() && p.name != "main" {
			return 1
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				exported += b.exportedNames(p, []*ast.Ident{s.Name}, d.Doc, s.Doc, s.Comment)
			case *ast.ValueSpec:
				exported += b.exportedNames(p, s.Names, d.Doc, s.Doc, s.Comment)
				if d.Tok == token.VAR {
					b.variables(p, d, s)
				}
			}
		}
	}
	return exported
}

func (b *budgets) exportedNames(p *pkg, names []*ast.Ident, docs ...*ast.CommentGroup) (exported int) {
	if p.name == "main" {
		return 0
	}
	for _, name := range names {
		if !name.IsExported() {
			continue
		}
		exported++
		if !slices.ContainsFunc(docs, func(doc *ast.CommentGroup) bool { return doc.Text() != "" }) {
			b.add("doc "+p.dir+"."+name.Name, "no comment")
		}
	}
	return exported
}

func (b *budgets) function(p *pkg, d *ast.FuncDecl) {
	name, receiver := d.Name.Name, ""
	if d.Recv != nil {
		receiver = receiverName(d.Recv.List[0].Type)
		name = receiver + "." + name
	}
	key := p.dir + "." + name
	if d.Recv == nil && d.Name.Name == "init" {
		b.add("init "+p.dir, "an init function")
	}
	lines := b.m.fset.Position(d.End()).Line - b.m.fset.Position(d.Pos()).Line + 1
	if lines > maxFuncLines {
		b.add("length "+key, "%d lines", lines)
	}
	if n := branches(d); n > maxBranches {
		b.add("branches "+key, "%d ways through it", n)
	}
	if n := parameters(d.Type); n > maxParams {
		b.add("params "+key, "%d parameters", n)
	}
	if p.name != "main" && d.Name.IsExported() && (receiver == "" || ast.IsExported(receiver)) && d.Doc.Text() == "" && !speaksForItself(d) {
		b.add("doc "+key, "no comment")
	}
}

// speaksForItself reports methods whose contract is that of a well-known interface.
func speaksForItself(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{
		"Error", "Unwrap", "Is", "String", "GoString", "Format", "LogValue", "Read", "Write", "Close", "Len", "Less", "Swap",
		"LocalAddr", "RemoteAddr", "SetDeadline", "SetReadDeadline", "SetWriteDeadline", "MarshalJSON", "UnmarshalJSON", "Timeout", "Temporary",
	}, d.Name.Name)
}

func receiverName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiverName(t.X)
	case *ast.IndexExpr:
		return receiverName(t.X)
	case *ast.IndexListExpr:
		return receiverName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}

func parameters(t *ast.FuncType) (n int) {
	for i, field := range t.Params.List {
		if sel, ok := field.Type.(*ast.SelectorExpr); ok && i == 0 && sel.Sel.Name == "Context" {
			continue
		}
		n += max(1, len(field.Names))
	}
	return n
}

// branches is the cyclomatic complexity of a function with the functions in it.
func branches(d *ast.FuncDecl) int {
	n := 1
	ast.Inspect(d, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if node.List != nil {
				n++
			}
		case *ast.CommClause:
			if node.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// variables allows package-level variables that are no state: sentinel errors,
// what tests replace, the version set by the linker, embedded files, and proofs
// that a type has the methods of an interface.
func (b *budgets) variables(p *pkg, d *ast.GenDecl, s *ast.ValueSpec) {
	for i, name := range s.Names {
		lower := strings.ToLower(name.Name)
		switch {
		case name.Name == "_", strings.HasPrefix(name.Name, "testOnly"):
		case strings.HasPrefix(lower, "err") && i < len(s.Values) && makesError(s.Values[i]):
		case p.name == "main" && name.Name == "version":
		case embeds(d.Doc), embeds(s.Doc):
		default:
			b.add("var "+p.dir+"."+name.Name, "a package-level variable")
		}
	}
}

// makesError accepts errors.New, fmt.Errorf, a value of an error type and a
// sentinel of another package.
func makesError(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CallExpr:
		sel, ok := e.Fun.(*ast.SelectorExpr)
		return ok && (sel.Sel.Name == "New" || sel.Sel.Name == "Errorf")
	case *ast.UnaryExpr:
		_, ok := e.X.(*ast.CompositeLit)
		return ok && e.Op == token.AND
	case *ast.CompositeLit:
		return true
	case *ast.SelectorExpr: // another package's, under this package's name
		return strings.HasPrefix(e.Sel.Name, "Err")
	}
	return false
}

func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

func TestBudgets(t *testing.T) {
	findings := checkBudgets(thisModule(t))
	allowed := exceptions()
	for _, key := range sortedKeys(findings) {
		if allowed[key] == "" {
			t.Errorf("%s: %s", key, findings[key])
		}
	}
	for _, key := range sortedKeys(allowed) {
		if findings[key] == "" {
			t.Errorf("the exception %q is not needed any more", key)
		}
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestBudgetsFindsWhatIsWrong(t *testing.T) {
	names := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "// N is.\nconst N%d = 1\n", i)
		}
		return b.String()
	}
	m := madeUp(t, map[string]string{
		"a/long.go":      "package a\n" + strings.Repeat("// x\n", 400),
		"a/generated.go": "// Code generated by hand. DO NOT EDIT.\n\npackage a\n" + strings.Repeat("// x\n", 500) + "var state int\nfunc init() {}\n",
		"a/funcs.go": "package a\nfunc init() {}\n" +
			"func long() {\n" + strings.Repeat("_ = 1\n", 59) + "}\n" +
			"func fits(ctx context.Context, a, b int, c string, d ...any) {\n" + strings.Repeat("_ = 1\n", 58) + "}\n" +
			"func (t *T[K]) wide(a, b int, c string, d bool, e byte) {}\n" +
			"func forked(a bool) { " + strings.Repeat("if a && a { _ = func() { for range a { } } };", 5) + " }\n",
		"a/vars.go": "package a\nvar ErrGood = errors.New(\"x\") // documented\nvar errToo, errs = &E{}, 1\nvar ErrTheirs = io.ErrClosed\nvar Err = state\nvar testOnlyClock = 1\n" +
			"var _ I = T{}\nvar (\n\t//go:embed x\n\tfiles embed.FS\n\ttable = map[int]int{}\n)\nvar version string\n",
		"a/docs.go": "package a\ntype T struct{}\nfunc (T) Error() string { return \"\" }\nfunc (T) Do() {}\nfunc (u) Do() {}\n" +
			"// Known.\nconst (\n\tA = 1\n\tB = 2\n)\nfunc F() {}\n// G is fine.\nfunc G() {}\n",
		"b/names.go":        "package b\n" + names(31),
		"c/names.go":        "package c\n" + names(30),
		"cmd/tsh/main.go":   "package main\nvar version = \"x\"\nfunc Exported() {}\n" + names(31),
		"a/ignored_test.go": "package a\nfunc init() {}\nvar x = 1\n",
	})
	want := []string{
		"branches a.forked", "doc a.Err", "doc a.ErrTheirs", "doc a.F", "doc a.T", "doc a.T.Do", "exported b", "init a",
		"length a.long", "lines a/long.go", "params a.T.wide", "var a.Err", "var a.errs", "var a.table", "var a.version",
	}
	got := checkBudgets(m)
	if !slices.Equal(sortedKeys(got), want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(sortedKeys(got), "\n"), strings.Join(want, "\n"))
	}
}
