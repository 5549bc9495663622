package credentials

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// Closing waits for the watch; a hook of that which closes as well is not held up by it.
func TestCloseFromHookMeanwhile(t *testing.T) {
	d := &DynamicIdentityFile{notices: new(notices), stop: make(chan struct{}), done: make(chan struct{})}
	d.notices.apply([]Option{WithReport(func(error) { _ = d.Close() })})
	go func() { // the watch, which was about to report when somebody closed
		defer close(d.done)
		<-d.stop
		d.notices.reloaded(errBeingWritten)
		d.notices.deliver()
	}()
	closed := make(chan struct{})
	go func() {
		_ = d.Close()
		<-d.done
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("closing does not end")
	}
}
