package archtest

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// module is the source of a module without its tests, for every platform.
type module struct {
	path     string   // from go.mod
	requires []string // module paths
	fset     *token.FileSet
	packages map[string]*pkg // by directory, "." for the root
}

type pkg struct {
	dir   string
	name  string
	files []*file
}

type file struct {
	path      string
	lines     int
	generated bool
	syntax    *ast.File
}

// imports lists what a file imports.
func (f *file) imports() []string {
	var paths []string
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// imports lists what the files of a package import, once each.
func (p *pkg) imports() []string {
	var paths []string
	for _, f := range p.files {
		paths = append(paths, f.imports()...)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// own is the directory of a package of the module, or false.
func (m *module) own(importPath string) (dir string, ok bool) {
	if importPath == m.path {
		return ".", true
	}
	return strings.CutPrefix(importPath, m.path+"/")
}

// root is the directory of the module's go.mod.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}

func thisModule(t testing.TB) *module {
	t.Helper()
	return mustLoad(t, os.DirFS(root(t)))
}

// madeUp is a module out of file names and contents, for tests of the tests.
func madeUp(t testing.TB, files map[string]string) *module {
	t.Helper()
	fsys := fstest.MapFS{"go.mod": &fstest.MapFile{Data: []byte("module example.com/m\n\nrequire (\n\texample.com/dep v1.0.0\n\tgolang.org/x/net v0.1.0 // indirect\n)\n")}}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return mustLoad(t, fsys)
}

func mustLoad(t testing.TB, fsys fs.FS) *module {
	t.Helper()
	m, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func load(fsys fs.FS) (*module, error) {
	m := &module{fset: token.NewFileSet(), packages: make(map[string]*pkg)}
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, err
	}
	m.path, m.requires = parseMod(string(mod))
	if m.path == "" {
		return nil, errors.New("go.mod names no module")
	}
	return m, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		return m.add(fsys, name)
	})
}

func (m *module) add(fsys fs.FS, name string) error {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(m.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	p := m.packages[dir]
	if p == nil {
		p = &pkg{dir: dir, name: syntax.Name.Name}
		m.packages[dir] = p
	}
	p.files = append(p.files, &file{
		path: name, lines: bytes.Count(src, []byte("\n")), generated: ast.IsGenerated(syntax), syntax: syntax,
	})
	return nil
}

// parseMod reads module and require directives; replace and exclude do not matter here.
func parseMod(mod string) (modulePath string, requires []string) {
	block := false
	for line := range strings.Lines(mod) {
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == ")":
			block = false
		case block:
			requires = append(requires, words[0])
		case words[0] == "module" && len(words) == 2:
			modulePath = words[1]
		case words[0] == "require" && len(words) == 2 && words[1] == "(":
			block = true
		case words[0] == "require" && len(words) > 2:
			requires = append(requires, words[1])
		}
	}
	return modulePath, requires
}

// sortedDirs is the order in which findings are reported.
func (m *module) sortedDirs() []string {
	dirs := make([]string, 0, len(m.packages))
	for dir := range m.packages {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}
