package credentials

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// Where something has to be watched so that no change of what a path leads to is missed.
func TestDirectoriesTowardAFile(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(names ...string) string { return filepath.Join(append([]string{base}, names...)...) }
	testenv.Write(t, at("plain", "id"), "x")
	testenv.Write(t, at("k8s", "..2027", "id"), "x")
	testenv.Write(t, at("far", "deep", "id"), "x")
	for from, to := range map[string]string{
		at("k8s", "..data"): "..2027", at("k8s", "id"): filepath.Join("..data", "id"), at("chain"): filepath.Join("k8s", "id"),
		at("jump"): at("far", "deep"), at("up"): filepath.Join("plain", "..", "far", "deep", "id"), at("loop"): "loop", at("dangling"): filepath.Join("none", "id"),
	} {
		if err := os.Symlink(to, from); err != nil {
			t.Skip(err)
		}
	}
	for path, want := range map[string][]string{
		at("plain", "id"):       {"plain"},
		at("k8s", "id"):         {"k8s", "k8s/..2027"},
		at("chain"):             {"", "k8s", "k8s/..2027"},
		at("jump", "id"):        {"", "far/deep"},
		at("up"):                {"", "far/deep"},
		at("loop"):              {""},
		at("dangling"):          {""},
		at("plain", "none"):     {"plain"},
		at("no", "where", "id"): {""},
	} {
		got := dirsToward(path)
		for i := range got {
			got[i] = strings.TrimPrefix(strings.TrimPrefix(filepath.ToSlash(got[i]), filepath.ToSlash(base)), "/")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
	}
}
