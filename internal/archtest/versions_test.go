package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// floorsOfVersions are the first releases without a vulnerability that this code could
// reach, by the Go vulnerability database.
func floorsOfVersions() map[string]string {
	return map[string]string{
		"golang.org/x/crypto":    "v0.58.0",
		"golang.org/x/net":       "v0.53.0",
		"google.golang.org/grpc": "v1.82.1",
	}
}

const floorOfGo = "1.26.6"

// older reports whether version a comes before b: numbers with dots between.
func older(a, b string) bool {
	as, bs := strings.Split(strings.TrimPrefix(a, "v"), "."), strings.Split(strings.TrimPrefix(b, "v"), ".")
	for i := range bs {
		x, y := 0, 0
		if i < len(as) {
			x, _ = strconv.Atoi(as[i])
		}
		if y, _ = strconv.Atoi(bs[i]); x != y {
			return x < y
		}
	}
	return false
}

// case P01: nobody builds this with a Go, or goes back to a module, that is known to be
// vulnerable. "make vuln" looks for what has become known since.
func TestVersionsAreRecent(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for path, floor := range floorsOfVersions() {
		m := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(path) + ` (v[0-9.]+)`).FindSubmatch(mod)
		if m == nil || older(string(m[1]), floor) {
			t.Errorf("%s is required as %q, and has to be %s", path, m, floor)
		}
	}
	m := regexp.MustCompile(`(?m)^(?:toolchain go|go )([0-9.]+)$`).FindAllSubmatch(mod, -1)
	if m == nil || older(string(m[len(m)-1][1]), floorOfGo) {
		t.Errorf("go.mod asks for Go %q, and has to ask for %s", m, floorOfGo)
	}
	if v := strings.TrimPrefix(runtime.Version(), "go"); older(v, floorOfGo) {
		t.Errorf("this is Go %s, and has to be %s", v, floorOfGo)
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"1.26.0", "1.26.6", true}, {"1.26.10", "1.26.6", false}, {"v0.58.0", "v0.58.0", false}, {"v1.9.0", "v1.82.1", true}, {"1.27", "1.26.6", false}} {
		if older(tt.a, tt.b) != tt.want {
			t.Errorf("%s before %s: %v", tt.a, tt.b, !tt.want)
		}
	}
}
