package archtest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// maxDependencies is how many modules the client may import from directly.
const maxDependencies = 12

// lean are the packages that a program links to read a login; see heavy.
func lean() []string { return []string{"profile", "keystore", "credentials"} }

// heavy is what they must not bring along: every program that uses them would
// pay for it at each start.
func heavy(importPath string) bool {
	return under(importPath, "net/http") || under(importPath, "google.golang.org/grpc") || under(importPath, "google.golang.org/protobuf")
}

// foreign reports what the client must not import although the module requires
// it, for the dev cluster and for tests.
func foreign(importPath string) bool {
	if importPath == "google.golang.org/protobuf/encoding/protowire" {
		return false
	}
	return slices.ContainsFunc([]string{
		"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto", "golang.org/x/net", "go.etcd.io/bbolt",
		"github.com/pquerna/otp", "github.com/google/uuid", "github.com/go-webauthn/webauthn", "github.com/skip2/go-qrcode", "github.com/creack/pty", "github.com/rogpeppe/go-internal",
		"github.com/chromedp", "github.com/pkg/sftp",
	}, func(banned string) bool { return under(importPath, banned) })
}

// flags reports what only programs may import.
func flags(importPath string) bool {
	return under(importPath, "github.com/spf13") || importPath == "flag"
}

// under reports whether a package is in a module or directory.
func under(importPath, dir string) bool {
	return importPath == dir || strings.HasPrefix(importPath, dir+"/")
}

// clientDirs are the packages that end up in tsh.
func clientDirs(m *module) []string {
	table := rooms()
	return slices.DeleteFunc(m.sortedDirs(), func(dir string) bool {
		name, ok := roomOf(table, dir)
		return !ok || table[name].part != client && table[name].part != program
	})
}

// closure is a package with all packages of the module that it links.
func closure(m *module, dir string) []string {
	seen := []string{dir}
	for i := 0; i < len(seen); i++ {
		p := m.packages[seen[i]]
		if p == nil {
			continue
		}
		for _, imported := range p.imports() {
			if next, own := m.own(imported); own && !slices.Contains(seen, next) {
				seen = append(seen, next)
			}
		}
	}
	return seen
}

// checkImports reports the imports of the client that are bad by name.
func checkImports(m *module) (findings []string) {
	for _, dir := range clientDirs(m) {
		for _, imported := range m.packages[dir].imports() {
			if foreign(imported) {
				findings = append(findings, dir+" imports "+imported+", which is for the dev cluster and for tests")
			}
			if flags(imported) && !strings.HasPrefix(dir, "cmd/") {
				findings = append(findings, dir+" imports "+imported+", which is for programs")
			}
		}
	}
	for _, dir := range lean() {
		for _, linked := range closure(m, dir) {
			if p := m.packages[linked]; p != nil {
				for _, imported := range p.imports() {
					if heavy(imported) {
						findings = append(findings, dir+" links "+imported+" through "+linked)
					}
				}
			}
		}
	}
	return findings
}

// dependencies are the modules that the client imports from.
func dependencies(m *module) (modules []string, unknown []string) {
	for _, dir := range clientDirs(m) {
		for _, imported := range m.packages[dir].imports() {
			if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			if _, own := m.own(imported); own {
				continue
			}
			best := ""
			for _, r := range m.requires {
				if under(imported, r) && len(r) > len(best) {
					best = r
				}
			}
			if best == "" {
				unknown = append(unknown, imported)
				continue
			}
			modules = append(modules, best)
		}
	}
	slices.Sort(modules)
	return slices.Compact(modules), unknown
}

func TestImportsOfTheClient(t *testing.T) {
	m := thisModule(t)
	for _, f := range checkImports(m) {
		t.Errorf("not allowed: %s", f)
	}
	modules, unknown := dependencies(m)
	if len(modules) > maxDependencies {
		t.Errorf("the client imports from %d modules, allowed are %d: %v", len(modules), maxDependencies, modules)
	}
	if len(unknown) > 0 {
		t.Errorf("go.mod does not require %v", unknown)
	}
}

func TestImportsFindsWhatIsWrong(t *testing.T) {
	m := madeUp(t, map[string]string{
		"credentials/a.go":       `package credentials; import _ "example.com/m/profile"`,
		"profile/a.go":           `package profile; import (_ "example.com/m/internal/durable"; _ "example.com/dep/sub"; _ "github.com/spf13/pflag")`,
		"internal/durable/a.go":  `package durable; import _ "net/http/httptrace"`,
		"proxy/a.go":             `package proxy; import (_ "net/http"; _ "golang.org/x/net/http2"; _ "google.golang.org/protobuf/encoding/protowire")`,
		"cmd/tsh/main.go":        `package main; import (_ "github.com/spf13/pflag"; _ "google.golang.org/protobuf/proto")`,
		"internal/devcluster.go": `package internal`,
	})
	want := []string{
		"cmd/tsh imports google.golang.org/protobuf/proto, which is for the dev cluster and for tests",
		"profile imports github.com/spf13/pflag, which is for programs",
		"proxy imports golang.org/x/net/http2, which is for the dev cluster and for tests",
		"profile links net/http/httptrace through internal/durable",
		"credentials links net/http/httptrace through internal/durable",
	}
	if got := checkImports(m); !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	modules, unknown := dependencies(m)
	if !slices.Equal(modules, []string{"example.com/dep", "golang.org/x/net"}) || len(unknown) != 4 {
		t.Errorf("dependencies %v, unknown %v", modules, unknown)
	}
}

// What the lean packages link through modules of others, as the go command sees
// it, on every system that tsh runs on.
func TestLeanPackagesLinkLittle(t *testing.T) {
	goCommand := testenv.Program(t, "go")
	m := thisModule(t)
	args := []string{"list", "-deps", "-f", "{{.ImportPath}}"}
	for _, dir := range lean() {
		args = append(args, m.path+"/"+dir)
	}
	for _, system := range []string{"linux", "darwin", "windows"} {
		cmd := exec.CommandContext(t.Context(), goCommand, args...)
		cmd.Dir = root(t)
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0", "GOFLAGS=")
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, errs.String())
		}
		for _, linked := range strings.Fields(string(out)) {
			if heavy(linked) {
				t.Errorf("%s link %s on %s", strings.Join(lean(), ", "), linked, system)
			}
		}
	}
}
